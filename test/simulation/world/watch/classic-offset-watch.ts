import { pageFromAttributes } from '../../../../shared/broker/groups/offsets/pages.ts';
import { EMPTY_SLOT, type SlotState } from '../../../../shared/log/group/offset-page.ts';
import { GROUP_PAGE_PARTITIONS } from '../../../../shared/log/group/partition-set.ts';
import { parseOffsetPageSortKey } from '../../../../shared/storage/group-keys.ts';
import type { ClassicBelief } from './classic-watch.ts';
import type { GroupWatchOptions, Place } from './group-watch.ts';
import type { ArrivedWrite } from './storage-watch.ts';

/** A commit that a member has sent; its name is the metadata of the offset. */
export interface ClassicCommit {
  readonly name: string;
  readonly key: string;
  readonly memberId: string;
  readonly generation: number;
  readonly place: Place;
  readonly offset: number;
  /** The same member sent a later commit before this one was answered. */
  wasOvertaken: boolean;
}

interface WatchedSlot {
  state: SlotState;
  /** The newest generation of which a member was told to read the partition. */
  toldIn: number;
  readTo: number;
  /** What was committed, and until when; latest last. `undefined`: nothing. */
  readonly committed: { readonly atMs: number; readonly offset: number | undefined }[];
}

/**
 * Looks at the offsets of a classic group: once a member of a generation was told to read a partition, no commit of an older one is
 * accepted there; none of a former user of an instance id after the newer one has claimed; what was acknowledged is there, and is
 * found by whoever reads next; nothing goes back or changes but by a commit.
 */
export class ClassicOffsetWatch {
  readonly #options: GroupWatchOptions;
  readonly #pages = new Set<string>();
  readonly #slots = new Map<Place, WatchedSlot>();
  readonly #sent = new Map<string, ClassicCommit>();
  readonly #written = new Set<string>();

  readonly #isMember: (key: string, memberId: string) => boolean;

  constructor(options: GroupWatchOptions, isMember: (key: string, memberId: string) => boolean) {
    this.#options = options;
    this.#isMember = isMember;
  }

  get pages(): string[] {
    return [...this.#pages];
  }

  committedOf(place: Place): number | undefined {
    return this.#slotOf(place).state.committed?.offset;
  }

  told({ key, memberId, generation, places }: ClassicBelief): void {
    for (const place of places) {
      const slot = this.#slotOf(place);
      const { fence, owner } = slot.state;
      if (fence < generation)
        this.#broken(
          'R11',
          `${memberId} was told to read ${place} in generation ${generation}, and its fence is ${fence}.`,
        );
      if (fence === generation && owner?.memberKey !== key)
        this.#broken('R11', `${memberId} was told to read ${place}, which ${owner?.memberId} owns.`);
      slot.toldIn = Math.max(slot.toldIn, generation);
    }
  }

  read(place: Place, from: number, to: number): void {
    const slot = this.#slotOf(place);
    if (from <= slot.readTo) slot.readTo = Math.max(slot.readTo, to);
  }

  /** An offset that a member was told where it asked at this time. */
  fetched(place: Place, offset: number | undefined, askedAtMs: number): void {
    const { committed } = this.#slotOf(place);
    const isTrue = committed.some((each, i) => {
      const untilMs = committed[i + 1]?.atMs ?? Number.POSITIVE_INFINITY;
      return each.offset === offset && untilMs >= askedAtMs;
    });
    if (!isTrue)
      this.#broken('R12', `The offset of ${place} was told to be ${offset}, and was ${committed.at(-1)?.offset}.`);
  }

  sending(commit: ClassicCommit): void {
    this.#sent.set(commit.name, commit);
  }

  accepted({ name, place, offset, memberId }: ClassicCommit, sentAtMs: number): void {
    if (this.#written.has(name)) return;
    const { committed } = this.#slotOf(place);
    const isCovered = committed.some((each, i) => {
      const untilMs = committed[i + 1]?.atMs ?? Number.POSITIVE_INFINITY;
      return (each.offset ?? 0) >= offset && untilMs >= sentAtMs;
    });
    if (!isCovered)
      this.#broken('R12', `The commit ${offset} of ${memberId} in ${place} was accepted, and is not there.`);
  }

  /** A commit was refused for its generation. */
  refused({ place, generation, memberId }: ClassicCommit, code: string): void {
    this.#options.mark(`classic commit: ${code}`);
    const { fence } = this.#slotOf(place).state;
    if (code === 'illegal_generation' && fence < generation)
      this.#broken('R18', `A commit of ${memberId} in generation ${generation} was refused for an older one.`);
  }

  wrotePage({ key, kind, result }: ArrivedWrite): void {
    const name = parseOffsetPageSortKey(key.sk);
    if (name === undefined || !result.ok) return;
    if (kind === 'delete') this.#pages.delete(key.sk);
    else this.#pages.add(key.sk);
    const page = kind === 'delete' ? undefined : pageFromAttributes(result.attributes);
    for (let i = 0; i < GROUP_PAGE_PARTITIONS; i++) {
      const place: Place = `${name.topicId}/${name.page * GROUP_PAGE_PARTITIONS + i}`;
      const known = this.#slots.get(place)?.state ?? EMPTY_SLOT;
      const next = page?.slots[i] ?? EMPTY_SLOT;
      if (next.tag !== known.tag) this.#slotChanged(place, known, next, page === undefined);
    }
  }

  #slotChanged(place: Place, before: SlotState, after: SlotState, isDeleted: boolean): void {
    const slot = this.#slotOf(place);
    const nowMs = this.#options.nowMs();
    slot.state = after;
    if (isDeleted) {
      this.#options.mark('classic page deleted');
      slot.readTo = 0;
      slot.committed.push({ atMs: nowMs, offset: undefined });
      return;
    }
    if (after.fence < before.fence)
      this.#broken('R12', `The fence of ${place} went from ${before.fence} to ${after.fence}.`);
    const [was, is] = [before.committed, after.committed];
    const isClaim = after.owner !== undefined && was?.offset === is?.offset && was?.metadata === is?.metadata;
    if (isClaim) this.#claimed(place, before, after);
    else this.#committed(place, slot, before, after);
  }

  #claimed(place: Place, before: SlotState, after: SlotState): void {
    const [was, is] = [before.owner, after.owner];
    if (was !== undefined && was.memberKey !== is?.memberKey) this.#options.mark('classic partition moved');
    if (was === undefined || is === undefined || after.fence !== before.fence) return;
    const isTakenBack = this.#isMember(was.memberKey, was.memberId) && was.memberId !== is.memberId;
    if (was.memberKey !== is.memberKey || isTakenBack)
      this.#broken('R11', `${place} went from ${was.memberId} to ${is.memberId} in generation ${after.fence}.`);
  }

  #committed(place: Place, slot: WatchedSlot, before: SlotState, after: SlotState): void {
    const { offset = 0, metadata = '' } = after.committed ?? {};
    const sent = this.#sent.get(metadata);
    slot.committed.push({ atMs: this.#options.nowMs(), offset });
    this.#written.add(metadata);
    if (sent === undefined) {
      this.#broken('R12', `${place} has the offset ${offset}, which nobody has sent.`);
      return;
    }
    const { generation, memberId, key } = sent;
    if (sent.place !== place || sent.offset !== offset)
      this.#broken('R12', `The commit ${sent.offset} in ${sent.place} became ${offset} in ${place}.`);
    if (generation < slot.toldIn || generation < before.fence)
      this.#broken(
        'R12',
        `A commit of ${memberId} in generation ${generation} was accepted in ${place}, which generation ${Math.max(slot.toldIn, before.fence)} reads.`,
      );
    if (after.fence !== generation)
      this.#broken('R12', `A commit in generation ${generation} left the fence of ${place} at ${after.fence}.`);
    const { owner, fence } = before;
    if (fence === generation && owner?.memberKey === key && owner.memberId !== memberId)
      this.#broken('R12', `A commit of ${memberId} was accepted in ${place}, whose instance is ${owner.memberId} now.`);
    if (offset < (before.committed?.offset ?? 0)) {
      if (sent.wasOvertaken) this.#options.mark('classic commit overtaken by a larger one took it back');
      else this.#broken('R12', `The offset of ${place} went back from ${before.committed?.offset} to ${offset}.`);
    }
    if (offset > slot.readTo)
      this.#broken('R13', `${offset} was committed in ${place}, of which members have read up to ${slot.readTo} only.`);
  }

  #slotOf(place: Place): WatchedSlot {
    let slot = this.#slots.get(place);
    if (slot === undefined) {
      slot = { state: EMPTY_SLOT, toldIn: 0, readTo: 0, committed: [{ atMs: 0, offset: undefined }] };
      this.#slots.set(place, slot);
    }
    return slot;
  }

  #broken(promise: string, message: string): void {
    this.#options.broken(promise, message);
  }
}
