import { ByteWriter } from '../bytes.ts';

/**
 * Once keys are short, exact byte strings. A commit leaves them in the head's list `once` and demands that they are absent.
 * A writer's knowledge is true as of the entry it observed. Every later entry is still in the tail, so an entry that
 * contradicts this knowledge shows as a key. Once keys are persisted; the first byte is the kind.
 */
const KIND_BATCH = 1;
const KIND_FENCE = 2;
const KIND_IDEMPOTENCY_KEY = 3;
const KIND_FIRST_BATCH = 4;
const KIND_MARKER = 5;
const KIND_NEW_SLOT = 6;

/** The key of one batch of an idempotent producer. Every attempt to append the batch, under any batch id, uses this key. */
export function batchOnceKey(
  slot: number,
  producerId: number,
  producerEpoch: number,
  baseSequence: number,
): Uint8Array {
  return keyOf(KIND_BATCH, slot, producerId, producerEpoch, baseSequence);
}

/**
 * The key of a producer's first batch in a slot that knows nothing of the producer; such a batch may have any sequence. The
 * commit leaves the key and demands its absence, so that the second of two such batches is decided again.
 */
export function firstBatchOnceKey(slot: number, producerId: number): Uint8Array {
  return keyOf(KIND_FIRST_BATCH, slot, producerId);
}

/**
 * The key of a transaction's marker. The marker leaves the key, and demands its absence. Every batch of the transaction
 * demands its absence too, so no batch lands behind the marker.
 */
export function markerOnceKey(producerId: number, transaction: number): Uint8Array {
  return keyOf(KIND_MARKER, producerId, transaction);
}

/**
 * The key of a transaction's first batch in a slot, if `slots` slots of the head have data of the transaction so far. The
 * batch leaves the key, and demands its absence. So does the marker, with the number of slots that it marks: a batch that
 * adds a slot in between has left the same key, whichever slot it is.
 */
export function newSlotOnceKey(producerId: number, transaction: number, slots: number): Uint8Array {
  return keyOf(KIND_NEW_SLOT, producerId, transaction, slots);
}

/** The key of an append under an idempotency key; `use` names this use of the idempotency key. */
export function idempotencyOnceKey(use: Uint8Array): Uint8Array {
  const key = new Uint8Array(use.length + 1);
  key[0] = KIND_IDEMPOTENCY_KEY;
  key.set(use, 1);
  return key;
}

/** The use that an idempotency key's once key names; `undefined` for a once key of another kind. */
export function useOfOnceKey(key: Uint8Array): Uint8Array | undefined {
  return key[0] === KIND_IDEMPOTENCY_KEY ? key.subarray(1) : undefined;
}

/**
 * The fences of a producer in one slot. The first batch of a newer epoch must shut out every older epoch in the slot, but a
 * condition can only check exact keys. Other slots are not fenced: after a lost batch, Kafka's clients raise the epoch
 * themselves and let their other partitions finish under the old epoch.
 *
 * Epochs (15 bits) are therefore split into three digits of 5 bits. A fence below E leaves, at each digit, a key for every
 * smaller digit under the same higher digits: at most 93 keys, and one key if the epoch rises by one. An epoch is below E
 * exactly if one of its own three keys is among the keys of the fence.
 */
const DIGIT = 32;
const DIGITS = 3;

/** The keys that a batch of this epoch demands absent. */
export function fenceKeysOf(slot: number, producerId: number, epoch: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let level = 0; level < DIGITS; level++)
    keys.push(fenceKey(slot, producerId, level, Math.floor(epoch / DIGIT ** level)));
  return keys;
}

/** The keys that the slot's first batch of epoch `below` leaves. `from`: the oldest epoch that can still write there. */
export function fenceKeysBelow(slot: number, producerId: number, from: number, below: number): Uint8Array[] {
  const keys: Uint8Array[] = [];
  for (let level = 0; level < DIGITS; level++) {
    const end = Math.floor(below / DIGIT ** level);
    const start = Math.max(Math.floor(from / DIGIT ** level), end - (end % DIGIT));
    for (let prefix = start; prefix < end; prefix++) keys.push(fenceKey(slot, producerId, level, prefix));
  }
  return keys;
}

function fenceKey(slot: number, producerId: number, level: number, prefix: number): Uint8Array {
  return keyOf(KIND_FENCE, slot, producerId, level, prefix);
}

/** Each batch has several keys, so all are written in one place. */
const writer = new ByteWriter(32);

function keyOf(kind: number, ...numbers: readonly number[]): Uint8Array {
  // A key whose number could not be written has left its beginning.
  writer.length = 0;
  writer.uint8(kind);
  for (const number of numbers) writer.varuint(number);
  return writer.take();
}
