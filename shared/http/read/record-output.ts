import type { ReadResult } from '../../broker/read/read.ts';
import type { StoredRecord } from '../../log/batch/record.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import type { Encoding } from '../records/contract.ts';
import { jsonOfRecord } from '../records/json-values.ts';

/**
 * Prints records as text, in pieces of about 64 KB that are made only when they are read. An answer is never in memory as a
 * whole.
 */
const PIECE_LENGTH = 64 * 1024;
const UTF8 = new TextEncoder();

export interface OutputLimits {
  readonly records: number;
  /** The maximum size of keys, values and headers. At least one record is always returned. */
  readonly bytes: number;
}

/** Yields the records of a read from its offset on, up to the limits. Returns the offset of the next read. */
async function* limited(result: ReadResult, limits: OutputLimits): AsyncGenerator<StoredRecord[], number> {
  let count = 0;
  let bytes = 0;
  for await (const batch of result.batches) {
    if (batch.header.control) continue;
    const taken: StoredRecord[] = [];
    for (const record of recordsOf(batch)) {
      if (record.offset < result.offset) continue;
      if (count === limits.records || (count > 0 && bytes >= limits.bytes)) {
        yield taken;
        return record.offset;
      }
      taken.push(record);
      count++;
      bytes += sizeOf(record);
    }
    yield taken;
    // The limit is reached exactly at the end of a batch: the next offset is known without fetching the next batch.
    if (count > 0 && (count >= limits.records || bytes >= limits.bytes)) return batch.endOffset;
  }
  return result.nextOffset;
}

function sizeOf({ key, value, headers }: StoredRecord): number {
  let size = (key?.length ?? 0) + (value?.length ?? 0);
  for (const header of headers) size += header.key.length + (header.value?.length ?? 0);
  return size;
}

/** `{"records": […], "nextOffset": …}` */
export function jsonOutput(result: ReadResult, limits: OutputLimits, encoding: Encoding): AsyncGenerator<Uint8Array> {
  return output(result, limits, encoding, {
    begin: '{"records":[',
    between: ',',
    end: (positions) => `],${positions}}`,
  });
}

/** One record a line, then `{"end": {"nextOffset": …}}`. */
export function ndjsonOutput(result: ReadResult, limits: OutputLimits, encoding: Encoding): AsyncGenerator<Uint8Array> {
  return output(result, limits, encoding, {
    begin: '',
    between: '\n',
    end: (positions, empty) => `${empty ? '' : '\n'}{"end":{${positions}}}\n`,
  });
}

interface Frame {
  readonly begin: string;
  readonly between: string;
  readonly end: (positions: string, empty: boolean) => string;
}

async function* output(
  result: ReadResult,
  limits: OutputLimits,
  encoding: Encoding,
  frame: Frame,
): AsyncGenerator<Uint8Array> {
  let text = frame.begin;
  let empty = true;
  const records = limited(result, limits);
  for (;;) {
    const next = await records.next();
    if (next.done) {
      const positions = `"nextOffset":${next.value},"logStartOffset":${result.logStartOffset},"highWatermark":${result.highWatermark}`;
      yield UTF8.encode(text + frame.end(positions, empty));
      return;
    }
    for (const record of next.value) {
      if (!empty) text += frame.between;
      empty = false;
      text += jsonOfRecord(record, encoding);
      if (text.length >= PIECE_LENGTH) {
        yield UTF8.encode(text);
        text = '';
      }
    }
  }
}

/** Whole batches, as they are stored, with their offsets. */
export async function* rawOutput(result: ReadResult): AsyncGenerator<Uint8Array> {
  for await (const batch of result.batches) yield batch.bytes;
}
