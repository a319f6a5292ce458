import type { JoinClassicResult } from '../../../shared/broker/groups/classic/join-classic-group.ts';
import { pageFromAttributes } from '../../../shared/broker/groups/offsets/pages.ts';
import type { OffsetPage } from '../../../shared/log/group/offset-page.ts';
import { parseOffsetPageSortKey } from '../../../shared/storage/group-keys.ts';
import type { ItemKey, ItemStore } from '../../../shared/storage/ports.ts';

/** What every run of the model must keep to, judged at each answer and each write. */
export class Judge {
  readonly problems: string[] = [];
  readonly #isStatic: boolean;
  readonly #generations = new Map<number, { leader: string; members: string | undefined }>();
  readonly #assignments = new Map<string, string>();
  /** By generation and partition: who was told to read it. */
  readonly #owners = new Map<string, string>();
  /** By partition: the newest generation that was told to read it. */
  readonly #told = new Map<string, number>();
  /** By partition: the newest generation of which a commit was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  /** Offsets are never sent twice, so each tells under which generation it was sent. */
  readonly #sent: { readonly generation: number; readonly partition: string }[] = [];
  readonly #pages = new Map<string, OffsetPage>();

  constructor({ isStatic }: { readonly isStatic: boolean }) {
    this.#isStatic = isStatic;
  }

  /** A new offset, to be committed for the partition. */
  offsetFor(generation: number, partition: string): number {
    this.#sent.push({ generation, partition });
    return this.#sent.length;
  }

  joined({ generation, memberId, leader, members }: JoinClassicResult): void {
    if (this.#isStatic) return;
    const ids = members.length === 0 ? undefined : members.map((member) => member.memberId).join();
    const known = this.#generations.get(generation) ?? { leader, members: undefined };
    this.#generations.set(generation, known);
    if (known.leader !== leader) this.#bad(`generation ${generation} is led by ${known.leader} and ${leader}`);
    if ((ids !== undefined) !== (leader === memberId)) this.#bad(`${memberId} has members, and ${leader} leads`);
    if (ids !== undefined && known.members !== undefined && ids !== known.members)
      this.#bad(`generation ${generation} has the members ${ids} and ${known.members}`);
    known.members ??= ids;
    if (ids !== undefined && !members.some((member) => member.memberId === memberId))
      this.#bad(`${memberId} is not in generation ${generation}`);
  }

  synced(generation: number, memberId: string, user: string, partitions: readonly string[]): void {
    if (!this.#isStatic) {
      const members = this.#generations.get(generation)?.members;
      if (!members?.split(',').includes(memberId))
        this.#bad(`${memberId} syncs in generation ${generation} of ${members}`);
    }
    const name = `${generation} ${user}`;
    const given = [...partitions].sort().join();
    if ((this.#assignments.get(name) ?? given) !== given)
      this.#bad(`${memberId} gets ${given} and ${this.#assignments.get(name)} in generation ${generation}`);
    this.#assignments.set(name, given);
    for (const partition of partitions) {
      const place = `${generation} ${partition}`;
      const other = this.#owners.get(place) ?? user;
      if (other !== user) this.#bad(`${user} and ${other} both have ${partition} in generation ${generation}`);
      this.#owners.set(place, user);
      this.#told.set(partition, Math.max(generation, this.#told.get(partition) ?? 0));
      const offset = this.#committed(partition);
      const present = offset === undefined ? 0 : (this.#sent[offset - 1]?.generation ?? 0);
      if (present < Math.min(generation, this.#acknowledged.get(partition) ?? 0))
        this.#bad(`${user} begins ${partition} without a commit that was acknowledged`);
    }
  }

  acknowledged(generation: number, partition: string): void {
    this.#acknowledged.set(partition, Math.max(generation, this.#acknowledged.get(partition) ?? 0));
  }

  /** The store, whose writes of offsets are judged as they take effect. */
  watch(items: ItemStore, topics: ReadonlyMap<string, string>): void {
    const update = items.update.bind(items);
    items.update = async (key, updates, conditions) => {
      const result = await update(key, updates, conditions);
      if (result.ok && key.pk.startsWith('offsets#')) this.#wrote(key, pageFromAttributes(result.attributes), topics);
      return result;
    };
  }

  #wrote(key: ItemKey, page: OffsetPage, topics: ReadonlyMap<string, string>): void {
    const name = parseOffsetPageSortKey(key.sk);
    const topic = topics.get(name?.topicId ?? '');
    if (name === undefined || topic === undefined) return;
    const before = this.#pages.get(`${topic}#${name.page}`);
    this.#pages.set(`${topic}#${name.page}`, page);
    page.slots.forEach((slot, i) => {
      const seen = before?.slots[i];
      const partition = `${topic}/${16 * name.page + i}`;
      if (slot.fence < (seen?.fence ?? 0))
        this.#bad(`the fence of ${partition} falls from ${seen?.fence} to ${slot.fence}`);
      const offset = slot.committed?.offset;
      if (offset === undefined || offset === seen?.committed?.offset) return;
      const sent = this.#sent[offset - 1];
      if (sent?.partition !== partition) this.#bad(`${partition} gets an offset of ${sent?.partition}`);
      const told = this.#told.get(partition) ?? 0;
      if ((sent?.generation ?? 0) < told)
        this.#bad(`generation ${sent?.generation} commits for ${partition}, which generation ${told} reads`);
    });
  }

  #committed(partition: string): number | undefined {
    const [topic, number] = partition.split('/');
    return this.#pages.get(`${topic}#${Math.floor(Number(number) / 16)}`)?.slots[Number(number) % 16]?.committed
      ?.offset;
  }

  #bad(what: string): void {
    this.problems.push(what);
  }
}
