import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, equalBytes } from '../../../log/bytes.ts';
import { EventLogError, invariant } from '../../../log/errors.ts';
import { hashRecords } from '../../append/idempotency-key.ts';
import type { AppendedRecord, RecordsOfTopic } from '../append/append-records.ts';
import type { TransactionRequest } from './request.ts';

/**
 * What is kept of a transaction under an idempotency key: whether a repeated request is the same, and its answer.
 *
 *   version uint8 = 1 · fingerprint 16 bytes · runs varuint · runs
 *   run: partition varuint · offset varuint · timestamp varint (after that of the run before) · records varuint
 *
 * A run is of records with one partition, consecutive offsets and one time, in the order of the request.
 */
const VERSION = 1;
const FINGERPRINT_BYTES = 16;
/** The item of a transactional id has 400 KB at most, of which its participants can take 30. */
const ANSWER_BYTES_MAX = 256 * 1024;

/** Depends on the caller's request alone, not on the time of an attempt. */
export function fingerprintOf({ entries, offsets = [] }: TransactionRequest): Uint8Array {
  const hash = createHash('sha256');
  hash.update(JSON.stringify([entries.map(({ topic, records }) => [topic, records.length]), offsets]));
  for (const { records } of entries) hashRecords(hash, records);
  return hash.digest().subarray(0, FINGERPRINT_BYTES);
}

/** @throws EventLogError `request_too_large` */
export function packAnswer(fingerprint: Uint8Array, entries: readonly (readonly AppendedRecord[])[]): Uint8Array {
  const runs: (AppendedRecord & { records: number })[] = [];
  for (const record of entries.flat()) {
    const last = runs.at(-1);
    if (
      last?.partition === record.partition &&
      last.offset + last.records === record.offset &&
      last.timestampMs === record.timestampMs
    )
      last.records++;
    else runs.push({ ...record, records: 1 });
  }
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.write(fingerprint);
  writer.varuint(runs.length);
  let timeMs = 0;
  for (const { partition, offset, timestampMs, records } of runs) {
    writer.varuint(partition);
    writer.varuint(offset);
    writer.varint(timestampMs - timeMs);
    writer.varuint(records);
    timeMs = timestampMs;
  }
  const packed = writer.finish().slice();
  if (packed.length <= ANSWER_BYTES_MAX) return packed;
  throw new EventLogError(
    'request_too_large',
    `The answer to this transaction takes ${packed.length} bytes; under an idempotency key ${ANSWER_BYTES_MAX} are kept. Order its records by partition, or send fewer.`,
    { details: { bytes: packed.length, bytesMax: ANSWER_BYTES_MAX } },
  );
}

/** The answer to the request with this fingerprint, entry by entry. @throws EventLogError `idempotency_key_reused` */
export function unpackAnswer(
  packed: Uint8Array,
  fingerprint: Uint8Array,
  entries: readonly RecordsOfTopic[],
): AppendedRecord[][] {
  const reader = new ByteReader(packed);
  const version = reader.uint8();
  invariant(version === VERSION, () => `answer version ${version} is not ${VERSION}`);
  if (!equalBytes(reader.view(FINGERPRINT_BYTES), fingerprint))
    throw new EventLogError(
      'idempotency_key_reused',
      'This idempotency key was used with another transaction. Use a new key for new content.',
    );
  const records: AppendedRecord[] = [];
  let timeMs = 0;
  for (let runs = reader.varuint(); runs > 0; runs--) {
    const [partition, offset] = [reader.varuint(), reader.varuint()];
    timeMs += reader.varint();
    for (let i = 0, count = reader.varuint(); i < count; i++)
      records.push({ partition, offset: offset + i, timestampMs: timeMs });
  }
  return entries.map((entry) => records.splice(0, entry.records.length));
}
