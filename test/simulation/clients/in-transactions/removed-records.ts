import type { ReadRecord } from '../../../history/history.ts';
import type { JobWatch } from '../../world/watch/job-watch.ts';
import type { HeadFacts } from '../../world/watch/stored-facts.ts';
import type { SlotName } from '../../world/watch/transaction-watch.ts';

/** What has become of the records of a partition that retention, clients or compaction remove some of. */
export interface RemovedRecords {
  /** The log start offset. */
  startOf(slot: SlotName): number;
  isCompactedAway(slot: SlotName, offset: number): boolean;
  /** All that the partition ever had, by offset. */
  allOf(slot: SlotName): readonly ReadRecord[];
}

export function removedRecords({ facts, compaction, logs }: JobWatch): RemovedRecords {
  const placeOf = (name: SlotName): { head: HeadFacts; slot: number } => {
    const [, topicId, headNumber, slot] = /^(.*)#(\d+)\/(\d+)$/.exec(name) as unknown as [
      string,
      string,
      string,
      string,
    ];
    return { head: facts.head(topicId, Number(headNumber)), slot: Number(slot) };
  };
  return {
    startOf: (name) => {
      const { head, slot } = placeOf(name);
      return head.start[slot] ?? 0;
    },
    isCompactedAway: (name, offset) => {
      const { head, slot } = placeOf(name);
      return compaction.isGone(head, slot, offset);
    },
    allOf: (name) => {
      const { head, slot } = placeOf(name);
      return logs.of(head, slot);
    },
  };
}
