import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import type { HeadFacts, StoredFacts } from './stored-facts.ts';

/** What stands for a marker of a transaction, which takes up an offset. */
export const MARKER = '(marker)';

/**
 * All records that partitions have ever had, from the data of their entries as it was written: what reads are held against,
 * whatever retention and compaction have removed.
 */
export class TrueLogs {
  private readonly facts: StoredFacts;
  private readonly logs = new Map<string, { records: ReadRecord[]; entries: number }>();

  constructor(facts: StoredFacts) {
    this.facts = facts;
  }

  /** By offset. */
  of(head: HeadFacts, slot: number): readonly ReadRecord[] {
    const name = `${head.topicId}#${head.headNumber}/${slot}`;
    let log = this.logs.get(name);
    if (log === undefined) {
      log = { records: [], entries: 0 };
      this.logs.set(name, log);
    }
    for (; log.entries < head.entries.length; log.entries++) this.add(log.records, head, slot, log.entries);
    return log.records;
  }

  private add(log: ReadRecord[], head: HeadFacts, slot: number, entryNumber: number): void {
    const { entry, dataName, parts } = head.entries[entryNumber] as HeadFacts['entries'][number];
    const content = dataName === undefined ? undefined : this.facts.data.get(dataName)?.content;
    entry.parts.forEach((part, i) => {
      if (part.slot !== slot) return;
      let { baseOffset: offset } = parts[i] as (typeof parts)[number];
      if (part.marker !== undefined) log.push({ offset, value: MARKER, timestampMs: part.maxTimestampMs });
      if (part.marker !== undefined || content === undefined) return;
      for (let at = part.position; at < part.position + part.bytes; ) {
        const header = readBatchHeader(content, at);
        const bytes = content.subarray(at, at + header.bytes);
        const endOffset = offset + header.lastOffsetDelta + 1;
        log.push(...readRecords({ bytes, header, baseOffset: offset, endOffset }, offset));
        offset = endOffset;
        at += header.bytes;
      }
    });
  }
}
