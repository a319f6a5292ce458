import { readClassicGroup } from '../../../shared/broker/groups/classic/state/items.ts';
import { readRoster } from '../../../shared/broker/groups/classic/state/stored-parts.ts';
import { memberFromAttributes } from '../../../shared/broker/groups/items.ts';
import { pageFromAttributes } from '../../../shared/broker/groups/offsets/pages.ts';
import { makeContext } from '../../../shared/broker/make-context.ts';
import { hasGeneration } from '../../../shared/log/group/classic/classic-group.ts';
import { isClassicKey } from '../../../shared/log/group/classic/classic-member.ts';
import type { OffsetPage, SlotState } from '../../../shared/log/group/offset-page.ts';
import { memberItemKey, parseOffsetPageSortKey } from '../../../shared/storage/group-keys.ts';
import type { ItemKey, ItemStore } from '../../../shared/storage/ports.ts';
import { GROUP } from '../../support/classic-world.ts';
import type { MemoryStores } from '../../support/memory-broker.ts';
import { SeededRandom } from '../../support/memory-broker.ts';

/** What a consumer believes to read, under its present member id. */
export interface Belief {
  readonly life: number;
  key: string;
  memberId: string;
  has: Set<string>;
}

/** What every run of the model must keep to, judged at each answer and at each write. */
export class Judge {
  readonly problems: string[] = [];
  readonly #stores: MemoryStores;
  readonly #beliefs = new Map<number, Belief>();
  /** By partition: who was told last to read it. */
  readonly #told = new Map<string, { readonly life: number; readonly epoch: number; readonly turn: number }>();
  /** By partition: the last turn of which a commit was acknowledged. */
  readonly #acknowledged = new Map<string, number>();
  /** Offsets are never sent twice, so each tells in which turn it was sent. */
  readonly #sent: { readonly partition: string; readonly life: number; readonly turn: number }[] = [];
  readonly #pages = new Map<string, OffsetPage>();
  readonly #topics: ReadonlyMap<string, string>;
  #turns = 0;

  /** `topics`: id -> name. */
  constructor(stores: MemoryStores, topics: ReadonlyMap<string, string>) {
    this.#stores = stores;
    this.#topics = topics;
    this.#watch(stores.items);
  }

  begin(belief: Belief): void {
    this.#beliefs.set(belief.life, belief);
  }

  end({ life }: Belief): void {
    this.#beliefs.delete(life);
  }

  /** The partitions that are read, of all consumers. */
  read(): string[] {
    return [...this.#beliefs.values()].flatMap(({ has }) => [...has]).sort();
  }

  /**
   * The consumer has been told to read these, and may still read others that it lets go of. `byLeader`: another classic consumer has
   * assigned them.
   */
  async told(
    belief: Belief,
    partitions: readonly string[],
    { byLeader = false }: { readonly byLeader?: boolean } = {},
  ): Promise<void> {
    const fresh = partitions.filter((partition) => !belief.has.has(partition));
    belief.has = new Set([...belief.has, ...partitions]);
    for (const partition of fresh) {
      const slot = this.#slot(partition);
      const { memberKey, memberId, memberEpoch: epoch = 0 } = slot?.owner ?? {};
      const isOut = await this.#isOut(belief);
      if (!isOut) await this.#mustBeAlone(belief, partition, byLeader);
      if (memberKey !== belief.key || memberId !== belief.memberId) {
        if (!isOut) this.#bad(`${belief.memberId} is told to read ${partition}, which ${memberId} owns`);
        continue;
      }
      const before = this.#sent[(slot?.committed?.offset ?? 0) - 1]?.turn ?? 0;
      if (before < (this.#acknowledged.get(partition) ?? 0))
        this.#bad(`${belief.memberId} begins ${partition} without a commit that was acknowledged`);
      const last = this.#told.get(partition);
      // Of two commits under one claim, a late one may be the last.
      if (last?.life === belief.life && last.epoch === epoch) continue;
      this.#told.set(partition, { life: belief.life, epoch, turn: ++this.#turns });
    }
  }

  /** The consumer has let go of these. */
  letGo(belief: Belief, partitions: Iterable<string>): void {
    for (const partition of partitions) belief.has.delete(partition);
  }

  /** A new offset, to be committed for the partition. */
  offsetFor({ life }: Belief, partition: string): number {
    const told = this.#told.get(partition);
    this.#sent.push({ partition, life, turn: told?.life === life ? told.turn : 0 });
    return this.#sent.length;
  }

  acknowledged(offset: number): void {
    const { partition, turn } = this.#sent[offset - 1] as { readonly partition: string; readonly turn: number };
    this.#acknowledged.set(partition, Math.max(turn, this.#acknowledged.get(partition) ?? 0));
  }

  async #mustBeAlone(belief: Belief, partition: string, byLeader: boolean): Promise<void> {
    for (const other of this.#beliefs.values()) {
      if (other.life === belief.life || !other.has.has(partition)) continue;
      // A classic group may go on without a member that did not join in time, and a late copy of a join may tell its leader that a
      // member owns nothing. That one has lost what it had.
      if ((await this.#isOut(other)) || (byLeader && isClassicKey(other.key))) other.has.delete(partition);
      else this.#bad(`${belief.memberId} and ${other.memberId} both have ${partition}`);
    }
  }

  /** The group goes on without the member: it is gone, has a follower, or is not of the present generation. */
  async #isOut({ key, memberId }: Belief): Promise<boolean> {
    const { items } = this.#stores;
    const { attributes } = await items.get(memberItemKey(GROUP, key));
    if (attributes === undefined) return true;
    const member = memberFromAttributes(key, attributes);
    if (member.isGone || member.memberId !== memberId) return true;
    const group = await readClassicGroup(items, GROUP);
    if (!isClassicKey(key) || !hasGeneration(group)) return false;
    const context = makeContext({ ...this.#stores, random: new SeededRandom(1) });
    const roster = await readRoster(context, items, GROUP, group);
    return roster !== undefined && !roster.members.some((each) => each.key === key);
  }

  #watch(items: ItemStore): void {
    const update = items.update.bind(items);
    items.update = async (key, updates, conditions) => {
      const result = await update(key, updates, conditions);
      if (result.ok && key.pk.startsWith('offsets#')) this.#wrote(key, pageFromAttributes(result.attributes));
      return result;
    };
  }

  #wrote(key: ItemKey, page: OffsetPage): void {
    const name = parseOffsetPageSortKey(key.sk);
    const topic = this.#topics.get(name?.topicId ?? '');
    if (name === undefined || topic === undefined) return;
    const before = this.#pages.get(`${topic}#${name.page}`);
    this.#pages.set(`${topic}#${name.page}`, page);
    page.slots.forEach((slot, i) => {
      const seen = before?.slots[i];
      const partition = `${topic}/${16 * name.page + i}`;
      if (slot.fence < (seen?.fence ?? 0))
        this.#bad(`the fence of ${partition} falls from ${seen?.fence} to ${slot.fence}`);
      const offset = slot.committed?.offset;
      if (offset === seen?.committed?.offset) return;
      if (offset === undefined) {
        this.#bad(`the offset of ${partition} is lost`);
        return;
      }
      const sent = this.#sent[offset - 1];
      const told = this.#told.get(partition);
      if (sent?.partition !== partition) this.#bad(`${partition} gets an offset of ${sent?.partition}`);
      else if (told !== undefined && told.life !== sent.life && told.turn > sent.turn)
        this.#bad(`a commit of turn ${sent.turn} takes effect for ${partition}, which turn ${told.turn} reads`);
    });
  }

  #slot(partition: string): SlotState | undefined {
    const [topic, number] = partition.split('/');
    return this.#pages.get(`${topic}#${Math.floor(Number(number) / 16)}`)?.slots[Number(number) % 16];
  }

  #bad(what: string): void {
    this.problems.push(what);
  }
}
