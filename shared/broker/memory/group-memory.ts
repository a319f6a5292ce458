import { LRUCache } from 'lru-cache';
import type { HeartbeatResult } from '../../log/group/heartbeat-result.ts';
import type { Member } from '../../log/group/member.ts';
import type { OffsetPage } from '../../log/group/offset-page.ts';
import type { TargetAssignment } from '../../log/group/target.ts';

const TARGET_BYTES_MAX = 16 * 1024 * 1024;
const PAGE_BYTES_MAX = 16 * 1024 * 1024;
const RECONCILING_MAX = 10_000;
const ANSWERS_MAX = 10_000;
const EPOCHS_MAX = 10_000;
const TOPICS_CHECKED_MAX = 10_000;

interface KnownAnswer {
  readonly answer: HeartbeatResult;
  /** When the request was sent. */
  readonly atMs: number;
  /** From when the member's lease counts: the last heartbeat, or the last extension of the lease. */
  readonly leasedAtMs: number;
}

/** What a process remembers of consumer groups. It only saves requests. */
export class GroupMemory {
  /** Targets never change. */
  readonly #targets = new LRUCache<string, TargetAssignment>({
    maxSize: TARGET_BYTES_MAX,
    sizeCalculation: ({ members, topics }) => {
      let size = 64;
      for (const { key } of members) size += 64 + 2 * key.length;
      for (const owners of topics.values()) size += 128 + 3 * owners.byteLength;
      return size;
    },
  });
  /** The pages of offsets as they were last seen. Changes require the state that was seen, so an old one does no harm. */
  readonly #pages = new LRUCache<string, OffsetPage>({
    maxSize: PAGE_BYTES_MAX,
    sizeCalculation: ({ slots }) => {
      let size = 128;
      for (const slot of slots) if (slot !== undefined) size += 512 + 2 * (slot.committed?.metadata.length ?? 0);
      return size;
    },
  });
  readonly #reconciling = new LRUCache<string, true>(ofEntries(RECONCILING_MAX));
  readonly #answers = new LRUCache<string, KnownAnswer>(ofEntries(ANSWERS_MAX));
  /** Epochs that members have reached. They do not fall while a member is kept, and slots decide who owns what in any case. */
  readonly #epochs = new LRUCache<string, number>(ofEntries(EPOCHS_MAX));
  readonly #topicsCheckedAt = new LRUCache<string, number>(ofEntries(TOPICS_CHECKED_MAX));
  readonly #computing = new Map<string, Promise<readonly Member[]>>();

  getTarget(group: string, name: string): TargetAssignment | undefined {
    return this.#targets.get(keyOf(group, name));
  }

  putTarget(group: string, name: string, target: TargetAssignment): void {
    this.#targets.set(keyOf(group, name), target);
  }

  getPage(group: string, topicId: string, page: number): OffsetPage | undefined {
    return this.#pages.get(keyOf(group, `${topicId}#${page}`));
  }

  putPage(group: string, topicId: string, page: number, seen: OffsetPage): void {
    this.#pages.set(keyOf(group, `${topicId}#${page}`), seen);
  }

  /** Whether the member still had partitions to get after its last heartbeat here. */
  isReconciling(group: string, memberKey: string): boolean {
    return this.#reconciling.has(keyOf(group, memberKey));
  }

  noteReconciling(group: string, memberKey: string, isReconciling: boolean): void {
    if (isReconciling) this.#reconciling.set(keyOf(group, memberKey), true);
    else this.#reconciling.delete(keyOf(group, memberKey));
  }

  /** Whether it is known here that the member has been given this epoch. */
  hasReached(group: string, memberKey: string, memberEpoch: number): boolean {
    return memberEpoch <= (this.#epochs.get(keyOf(group, memberKey)) ?? 0);
  }

  noteEpoch(group: string, memberKey: string, memberEpoch: number): void {
    if (!this.hasReached(group, memberKey, memberEpoch)) this.#epochs.set(keyOf(group, memberKey), memberEpoch);
  }

  noteAnswer(group: string, memberKey: string, answer: HeartbeatResult, atMs: number): void {
    const leasedAtMs = Math.max(atMs, this.leasedAtMs(group, memberKey));
    this.#answers.set(keyOf(group, memberKey), { answer, atMs, leasedAtMs });
  }

  /**
   * The lease of a member was extended. Its next heartbeat is due when it was: only a heartbeat tells the member of partitions
   * that come and go.
   */
  noteLease(group: string, memberKey: string, leasedAtMs: number): void {
    const key = keyOf(group, memberKey);
    const known = this.#answers.get(key);
    if (known !== undefined) this.#answers.set(key, { ...known, leasedAtMs: Math.max(known.leasedAtMs, leasedAtMs) });
  }

  /** From when a lease of the member was last promised here; negative infinity if that is not known. */
  leasedAtMs(group: string, memberKey: string): number {
    return this.#answers.get(keyOf(group, memberKey))?.leasedAtMs ?? Number.NEGATIVE_INFINITY;
  }

  /** The last answer to a settled member that is at this epoch, while its next heartbeat is not due. */
  recentAnswer(group: string, memberKey: string, memberEpoch: number, nowMs: number): KnownAnswer | undefined {
    const known = this.#answers.get(keyOf(group, memberKey));
    const ageMs = nowMs - (known?.atMs ?? Number.NEGATIVE_INFINITY);
    if (known === undefined || known.answer.memberEpoch !== memberEpoch) return undefined;
    return ageMs >= 0 && ageMs < known.answer.heartbeatIntervalMs ? known : undefined;
  }

  /** True at most once in `everyMs` for a member: the caller then looks whether its topics have changed. */
  mustCheckTopics(group: string, memberKey: string, nowMs: number, everyMs: number): boolean {
    const key = keyOf(group, memberKey);
    const ageMs = nowMs - (this.#topicsCheckedAt.get(key) ?? Number.NEGATIVE_INFINITY);
    if (ageMs >= 0 && ageMs < everyMs) return false;
    this.#topicsCheckedAt.set(key, nowMs);
    return true;
  }

  /** Runs `compute` unless it is running for this group in this process; then it waits for that run. */
  async computingOnce(group: string, compute: () => Promise<readonly Member[]>): Promise<readonly Member[]> {
    const running = this.#computing.get(group);
    if (running !== undefined) return running;
    const run = compute().finally(() => this.#computing.delete(group));
    this.#computing.set(group, run);
    return run;
  }
}

/** A bound by size, because a bound by number takes up memory for all entries at once. */
function ofEntries(max: number): { readonly maxSize: number; readonly sizeCalculation: () => number } {
  return { maxSize: max, sizeCalculation: () => 1 };
}

/** No id contains a control character. */
function keyOf(group: string, name: string): string {
  return `${group}\n${name}`;
}
