import type { ReadResult } from '../../broker/read/read.ts';
import { type RecordLimits, takeRecords } from '../../broker/read/read-records.ts';
import type { Encoding } from '../records/contract.ts';
import { jsonOfRecord } from '../records/json-values.ts';

/**
 * Prints records as text, in pieces of about 64 KB that are made only when they are read. An answer is never in memory as a
 * whole.
 */
const PIECE_LENGTH = 64 * 1024;
const UTF8 = new TextEncoder();

/** `{"records": […], "nextOffset": …}` */
export function jsonOutput(result: ReadResult, limits: RecordLimits, encoding: Encoding): AsyncGenerator<Uint8Array> {
  return output(result, limits, encoding, {
    begin: '{"records":[',
    between: ',',
    end: (positions) => `],${positions}}`,
  });
}

/** One record a line, then `{"end": {"nextOffset": …}}`. */
export function ndjsonOutput(result: ReadResult, limits: RecordLimits, encoding: Encoding): AsyncGenerator<Uint8Array> {
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
  limits: RecordLimits,
  encoding: Encoding,
  frame: Frame,
): AsyncGenerator<Uint8Array> {
  let text = frame.begin;
  let empty = true;
  const records = takeRecords(result, limits);
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
