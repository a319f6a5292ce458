import { isMergeDue } from '../../log/segment/merge-policy.ts';

/** A head with tail nodes that this process has moved and that no merge has taken yet. */
export interface BusyHead {
  readonly topicId: string;
  readonly headNumber: number;
  /** The nodes that were moved since the last merge that began here. */
  readonly nodes: number;
  readonly bytes: number;
  /** When the oldest data of these nodes was written. */
  readonly oldestMs: number;
  /** Whether a due item names a time by which a job looks at the head, even if this process ends before. */
  readonly isScheduled: boolean;
  /** It is not tried again before this time. */
  readonly notBeforeMs: number;
}

export interface MovedNode {
  readonly topicId: string;
  readonly headNumber: number;
  readonly bytes: number;
  /** When the node's oldest data was written. */
  readonly writtenAtMs: number;
}

/** A head that is not merged by then is scheduled: busy heads, which are merged each minute, never cost that. */
export const SCHEDULE_AFTER_MS = 5 * 60_000;
/** Some hundred bytes each. A head that finds no place is merged when its due item comes, an hour later at most. */
const HEADS_MAX = 10_000;

/**
 * The heads that this process has moved tail nodes of, so that busy heads are merged without a look at the storage. Only a
 * hint: what is lost when the process ends, and what other processes move, is found by the due items.
 */
export class BusyHeads {
  readonly #heads = new Map<string, BusyHead>();

  get size(): number {
    return this.#heads.size;
  }

  moved({ topicId, headNumber, bytes, writtenAtMs }: MovedNode): void {
    const key = `${topicId}#${headNumber}`;
    const known = this.#heads.get(key);
    if (known === undefined && this.#heads.size >= HEADS_MAX) return;
    this.#heads.set(key, {
      topicId,
      headNumber,
      nodes: (known?.nodes ?? 0) + 1,
      bytes: (known?.bytes ?? 0) + bytes,
      oldestMs: Math.min(known?.oldestMs ?? writtenAtMs, writtenAtMs),
      isScheduled: known?.isScheduled ?? false,
      notBeforeMs: known?.notBeforeMs ?? Number.NEGATIVE_INFINITY,
    });
  }

  /** When the oldest data of all these heads was written; `undefined` if there is none. */
  oldestMs(): number | undefined {
    let oldest: number | undefined;
    for (const { oldestMs } of this.#heads.values()) oldest = Math.min(oldest ?? oldestMs, oldestMs);
    return oldest;
  }

  /** Takes the heads that must be looked at, the longest waiting first. The caller puts back what it does not merge. */
  takeDue(nowMs: number): BusyHead[] {
    const due = [...this.#heads].filter(([, head]) => isDue(head, nowMs));
    for (const [key] of due) this.#heads.delete(key);
    return due.map(([, head]) => head).sort((a, b) => a.oldestMs - b.oldestMs);
  }

  /** Puts back a head that was not merged, together with what was moved since. */
  putBack(head: BusyHead): void {
    const key = `${head.topicId}#${head.headNumber}`;
    const since = this.#heads.get(key);
    this.#heads.set(key, {
      ...head,
      nodes: head.nodes + (since?.nodes ?? 0),
      bytes: head.bytes + (since?.bytes ?? 0),
    });
  }
}

function isDue(head: BusyHead, nowMs: number): boolean {
  if (nowMs < head.notBeforeMs) return false;
  return isMergeDue(head, nowMs) || (!head.isScheduled && nowMs - head.oldestMs >= SCHEDULE_AFTER_MS);
}
