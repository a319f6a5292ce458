import type { RecordToAppend } from '../../shared/broker/append/outcomes.ts';
import { recordsOf, type StoredBatch } from '../../shared/log/batch/stored-batch.ts';
import type { AppendedRecord, ReadRecord } from './history.ts';

/** Records between the broker, which has bytes, and a history, which has text. */

export function toRecord({ value, key, headers, timestampMs, partition }: AppendedRecord): RecordToAppend {
  return {
    value: encoded(value),
    key: key === undefined ? null : encoded(key),
    headers: Object.entries(headers ?? {}).map(([name, content]) => ({ key: name, value: encoded(content) })),
    timestampMs,
    partition,
  };
}

/** The records of a batch from an offset on; what a record does not have is absent. */
export function readRecords(batch: StoredBatch, offset: number): ReadRecord[] {
  const records: ReadRecord[] = [];
  for (const record of recordsOf(batch)) {
    if (record.offset < offset) continue;
    const headers = record.headers.map((header) => [header.key, text(header.value)] as const);
    records.push({
      offset: record.offset,
      value: text(record.value),
      timestampMs: record.timestampMs,
      ...(record.key === null ? {} : { key: text(record.key) }),
      ...(headers.length === 0 ? {} : { headers: Object.fromEntries(headers) }),
    });
  }
  return records;
}

const UTF8 = new TextEncoder();
const FROM_UTF8 = new TextDecoder();

/** Nearly all texts are short and ASCII, where this is quicker than an encoder. */
function encoded(content: string): Uint8Array {
  const bytes = new Uint8Array(content.length);
  for (let i = 0; i < content.length; i++) {
    const unit = content.charCodeAt(i);
    if (unit >= 0x80) return UTF8.encode(content);
    bytes[i] = unit;
  }
  return bytes;
}

/** No client writes a null: one that is read must not pass for what was written. */
function text(bytes: Uint8Array | null): string {
  return bytes === null ? 'null' : FROM_UTF8.decode(bytes);
}
