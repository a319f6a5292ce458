import { checkAppends, checkFinalLog } from './checks/check-final-log.ts';
import { checkKeys } from './checks/check-keys.ts';
import { layOutKnown } from './checks/check-lives.ts';
import { Report, Topic } from './checks/check-model.ts';
import { checkOrder } from './checks/check-order.ts';
import { checkPipelines } from './checks/check-pipelines.ts';
import { checkReads } from './checks/check-reads.ts';
import { gatherRequests } from './checks/check-requests.ts';
import { checkSettings } from './checks/check-settings.ts';
import type { FinalLog, HistoryEvent, Violation } from './history.ts';

const EMPTY: FinalLog = new Map();

/**
 * Judges what clients were told by what the log has in the end: topic -> all its records, read after everything was over.
 * Answers the first violations, at most 20. What can't be decided is not reported. In time O(n log n).
 *
 * - R1: an acknowledged record is in the final log at its offset, and every record there is as it was sent.
 * - R2: a record of which every try has failed, or that no one sent, is neither there nor in any read. An append with a
 *   producer sequence or an idempotency key is not rejected for its expected offset once it has been appended.
 * - R3: the offsets of a partition begin at 0 and have no gap.
 * - R4: the records of a request keep their order in each partition, and stand together where they are one commit; what
 *   was acknowledged before another append began has the lower offset; the sequences of a producer follow each other;
 *   appends that a process was given one after the other are in that order.
 * - R5: a record is there once, all acknowledgements of it agree, and an expected offset is the one that was got. Of the
 *   appends under one idempotency key one is there, unless a day lies between them.
 * - R6: the epochs of a producer never go back in a partition; other partitions may take an older one meanwhile.
 * - R9: appends, reads, ends and refusals of an expected offset are linearizable (`checkOrder`).
 * - R10: a read gives every record from its offset to its next offset, below its high watermark, as the final log has
 *   it; it is not empty below its high watermark, and misses nothing that was acknowledged before it began.
 * - settings: a setting of a topic is as it was set last, or as it is being set; its number of partitions never falls.
 * - atomic: what is one commit is there wholly or not at all; an atomic append is so in all its partitions, and at one
 *   moment.
 * - deletion: what was settled before a deletion that succeeded is not read after it, and not in the final log.
 *
 * Deleted topics: the time of a topic is cut into lives by its deletions, each of which takes from its invocation to its
 * `ok`, or for ever if it did not end so. A request that began and ended within one life is certain to be about it. The
 * final log is that of the last life: its records are judged in full, and so are the acknowledgements, reads and other
 * observations of that life. Of an earlier life, what was acknowledged and read must agree (R1, R5, R10), and what is
 * known of it must be linearizable. A request that overlaps a deletion is held to no log: what it reads was sent (R2) and
 * is as it was sent (R1), without a gap (R10), and had not been deleted before it began.
 *
 * Not checked: that records of one key without a partition of their own are in the same one, since partitions may be
 * added; and what is read by time.
 *
 * @throws Error where the history itself makes no sense: nothing can be judged by it then
 */
export function checkHistory(events: readonly HistoryEvent[], final: ReadonlyMap<string, FinalLog>): Violation[] {
  const report = new Report();
  const { topics, appends, sent, reads } = gatherRequests(events, report);
  for (const name of final.keys()) if (!topics.has(name)) topics.set(name, new Topic(name));
  for (const [name, topic] of topics) checkFinalLog(report, topic, final.get(name) ?? EMPTY, sent);
  checkAppends(report, appends);
  checkReads(report, reads, sent);
  checkKeys(report, appends, events);
  checkPipelines(report, events);
  checkSettings(report, events);
  for (const { lives } of topics.values()) {
    for (const life of lives) {
      if (!life.isLast) layOutKnown(life);
      checkOrder(report, life);
    }
  }
  return report.violations;
}
