import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import type { StoredFacts } from './stored-facts.ts';

/**
 * All records that a partition has ever had, from the data of its entries as it was written: what its reads are held
 * against, whatever retention and compaction have removed.
 */
export function trueLog(facts: StoredFacts, topicId: string, headNumber: number, slot: number): ReadRecord[] {
  const log: ReadRecord[] = [];
  for (const { entry, dataName, parts } of facts.head(topicId, headNumber).entries) {
    const content = dataName === undefined ? undefined : facts.data.get(dataName)?.content;
    entry.parts.forEach((part, i) => {
      const { baseOffset } = parts[i] as (typeof parts)[number];
      if (part.slot !== slot || content === undefined) return;
      let offset = baseOffset;
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
  return log;
}
