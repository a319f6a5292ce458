import { fromHex, toHex } from '../bytes.ts';

/**
 * Names the data that one append (or one group commit) wrote: 6 random bytes, then the time of writing in milliseconds as
 * 6 bytes. The time gives the hour in the object's key, and the age of the data; the random bytes come first to spread keys.
 * Two ids of the same millisecond collide with a probability of 2^-48. A put succeeds only if the key is free, so a
 * collision is noticed and a new id is drawn.
 */
export type BatchId = Uint8Array;

export const BATCH_ID_BYTES = 12;
const RANDOM_BYTES = 6;

export function makeBatchId(random: Uint8Array, nowMs: number): BatchId {
  const id = new Uint8Array(BATCH_ID_BYTES);
  id.set(random.subarray(0, RANDOM_BYTES));
  let rest = nowMs;
  for (let i = BATCH_ID_BYTES - 1; i >= RANDOM_BYTES; i--) {
    id[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return id;
}

export function batchIdRandomBytes(): number {
  return RANDOM_BYTES;
}

export function batchTimeMs(id: BatchId): number {
  let time = 0;
  for (let i = RANDOM_BYTES; i < BATCH_ID_BYTES; i++) time = time * 256 + (id[i] as number);
  return time;
}

/** The time, then the random bytes, in hex: in this form ids sort by time. */
export function batchIdByTime(id: BatchId): string {
  return toHex(id.subarray(RANDOM_BYTES)) + toHex(id.subarray(0, RANDOM_BYTES));
}

/** The id of a text that `batchIdByTime` has made. */
export function batchIdOfTimeText(text: string): BatchId {
  const timeDigits = 2 * (BATCH_ID_BYTES - RANDOM_BYTES);
  return fromHex(text.slice(timeDigits) + text.slice(0, timeDigits));
}

export function batchIdText(id: BatchId): string {
  return toHex(id);
}
