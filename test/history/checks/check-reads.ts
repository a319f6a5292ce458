import type { ReadRecord } from '../history.ts';
import { identify } from './check-final-log.ts';
import { learn } from './check-lives.ts';
import { isSameContent, type Lane, type Report, type SentRecord, shown } from './check-model.ts';
import type { ReadRequest } from './check-requests.ts';

/**
 * Holds reads against the final log (R10). What a read gave of a topic that has been deleted since, or that was being
 * deleted, is held against what was sent and what others read.
 */
export function checkReads(report: Report, reads: readonly ReadRequest[], sent: ReadonlyMap<string, SentRecord>): void {
  for (const read of reads) {
    if (report.isFull) return;
    const { topic, invocation, invokedAt, completedAt } = read;
    const life = topic.lifeOf(invokedAt, completedAt);
    // A read whose life is not certain still gives no record that no one sent.
    const lane = (life ?? topic.last).lane(invocation.partition);
    const records = checkRange(report, lane, read);
    if (life?.isLast) {
      if (!lane.isBroken) checkAgainstFinalLog(report, lane, read, records, sent);
      continue;
    }
    const goneBefore = topic.goneBefore(invokedAt);
    for (const found of records) {
      const record = identify(report, lane, found, sent);
      if (record === undefined) continue;
      if (record.settledAt < goneBefore) {
        report.add('deletion', `${readOf(read, lane, found)}, which had been deleted with its topic.`);
      }
      if (life === undefined) continue;
      const known = learn(report, life, invocation.partition, found.offset, record);
      if (known === undefined) continue;
      if (known.read !== undefined && !isSameContent(known.read, found)) {
        report.add('R10', `${readOf(read, lane, found)}, otherwise than it was read before.`);
      }
      known.read ??= found;
    }
  }
}

function readOf({ invocation }: ReadRequest, lane: Lane, found: ReadRecord): string {
  return `Read ${invocation.op} gave ${shown(found.value)} for ${lane.at(found.offset)}`;
}

/** Checks that a read gives all records from where it began to where it says that it ends, below its high watermark. */
function checkRange(report: Report, lane: Lane, { invocation, completion }: ReadRequest): readonly ReadRecord[] {
  const { records = [], nextOffset = 0, highWatermark = 0, logStartOffset = 0 } = completion;
  const start = invocation.offset ?? records[0]?.offset ?? nextOffset;
  const gap = records.findIndex(({ offset }, i) => offset !== start + i);
  const range = `Read ${invocation.op} of ${lane.name} from ${start} on`;
  if (gap >= 0) report.add('R10', `${range} gave offset ${records[gap]?.offset} where ${start + gap} comes next.`);
  else if (start + records.length !== nextOffset)
    report.add('R10', `${range} gave ${records.length} records and said to go on at ${nextOffset}.`);
  else if (nextOffset > highWatermark)
    report.add('R10', `${range} went to ${nextOffset}, past its end ${highWatermark}.`);
  else if (records.length === 0 && start < highWatermark)
    report.add('R10', `${range} gave nothing, though the partition ended at ${highWatermark}.`);
  if (logStartOffset !== 0) {
    report.add('R3', `${range} said that the log starts at ${logStartOffset}, and nothing raises its start.`);
  }
  return records;
}

function checkAgainstFinalLog(
  report: Report,
  lane: Lane,
  read: ReadRequest,
  records: readonly ReadRecord[],
  sent: ReadonlyMap<string, SentRecord>,
): void {
  for (const found of records) {
    const kept = lane.final[found.offset];
    if (kept !== undefined && kept.value === found.value && isSameContent(kept, found)) continue;
    const before = report.violations.length;
    const record = identify(report, lane, found, sent);
    if (record === undefined || report.violations.length > before) continue;
    const other = kept === undefined ? 'nothing' : kept.value === found.value ? 'it otherwise' : shown(kept.value);
    report.add('R10', `${readOf(read, lane, found)}, where the final log has ${other}.`);
  }
}
