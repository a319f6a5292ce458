import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX, PRODUCER_BATCHES_KEPT, SEQUENCE_MAX } from '../limits.ts';
import type { EntryPart } from './entry.ts';

/**
 * A head's knowledge of one idempotent producer (Kafka's producer id, epoch and sequence; KIP-98). For each slot separately
 * it holds the newest epoch that has written to the slot, and the last five batches of this epoch. A producer may write to
 * several slots under different epochs at once, as Kafka's clients do after a lost batch.
 */
export interface ProducerState {
  /** By slot. Heads have few slots, and a state is copied for every batch: an array copies much faster than a map. */
  readonly slots: readonly (SlotBatches | undefined)[];
}

interface SlotBatches {
  readonly epoch: number;
  /** The last batches, oldest first. */
  readonly batches: readonly ProducerBatch[];
}

interface ProducerBatch {
  readonly baseSequence: number;
  readonly records: number;
  readonly baseOffset: number;
}

export interface ProducedBatch {
  readonly slot: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly records: number;
}

export type ProducerDecision =
  | { readonly type: 'accepted' }
  | { readonly type: 'duplicate'; readonly baseOffset: number }
  | { readonly type: 'fenced'; readonly currentEpoch: number }
  | { readonly type: 'out_of_order'; readonly expectedSequence: number };

/**
 * Decides as Kafka's brokers do (`ProducerAppendInfo`), from the state of the slot. A batch of an older epoch is fenced. A
 * batch that equals one of the last five is a duplicate. Any other batch must follow the last one, and a new epoch begins
 * at 0.
 *
 * A slot that does not know the producer accepts any sequence from an old id, because the id's state may have expired. A
 * young id must begin at 0: its state cannot have expired, so any other sequence belongs to a batch that overtook the first
 * one. Kafka has no such rule; in Kafka, the first batch would then be out of order forever.
 */
export function decideProducer(
  state: ProducerState | undefined,
  batch: ProducedBatch,
  isYoung: boolean,
): ProducerDecision {
  const slot = state?.slots[batch.slot];
  if (slot === undefined) return isYoung ? beginsAtZero(batch) : { type: 'accepted' };
  if (batch.producerEpoch < slot.epoch) return { type: 'fenced', currentEpoch: slot.epoch };
  if (batch.producerEpoch > slot.epoch) return beginsAtZero(batch);
  const same = slot.batches.find((kept) => kept.baseSequence === batch.baseSequence && kept.records === batch.records);
  if (same !== undefined) return { type: 'duplicate', baseOffset: same.baseOffset };
  const last = slot.batches.at(-1);
  const expectedSequence = last === undefined ? 0 : addSequence(last.baseSequence, last.records);
  return batch.baseSequence === expectedSequence ? { type: 'accepted' } : { type: 'out_of_order', expectedSequence };
}

function beginsAtZero({ baseSequence }: ProducedBatch): ProducerDecision {
  return baseSequence === 0 ? { type: 'accepted' } : { type: 'out_of_order', expectedSequence: 0 };
}

/** Returns the state after a batch was appended at `baseOffset`. */
export function applyBatch(state: ProducerState | undefined, batch: ProducedBatch, baseOffset: number): ProducerState {
  const slots = state?.slots.slice() ?? [];
  const was = slots[batch.slot];
  const kept = was?.epoch === batch.producerEpoch ? was.batches : [];
  const batches = kept.slice(-(PRODUCER_BATCHES_KEPT - 1));
  batches.push({ baseSequence: batch.baseSequence, records: batch.records, baseOffset });
  slots[batch.slot] = { epoch: batch.producerEpoch, batches };
  return { slots };
}

/** The newest epoch of the producer in a slot, and the sequence of its last record there; `undefined` if it wrote nothing there. */
export function lastWritten(
  state: ProducerState,
  slot: number,
): { readonly epoch: number; readonly sequence: number } | undefined {
  const known = state.slots[slot];
  const last = known?.batches.at(-1);
  if (known === undefined || last === undefined) return undefined;
  return { epoch: known.epoch, sequence: addSequence(last.baseSequence, last.records - 1) };
}

/** Returns the batch of an entry's part, if an idempotent producer made the batch. */
export function producedBatch(part: EntryPart): ProducedBatch | undefined {
  if (part.producer === undefined) return undefined;
  const { producerEpoch, baseSequence } = part.producer;
  return { slot: part.slot, producerEpoch, baseSequence, records: part.records };
}

/** Adds to a sequence; sequences wrap from 2^31 − 1 to 0. */
export function addSequence(sequence: number, by: number): number {
  return (sequence + by) % (SEQUENCE_MAX + 1);
}

/**
 * Packed: version uint8 = 1 · slots varuint · per slot: slot varuint · epoch varuint · batches varuint
 * · per batch: baseSequence varuint · records varuint · baseOffset varuint. Persisted in producer items.
 */
const VERSION = 1;

export function packProducer(state: ProducerState): Uint8Array {
  const writer = new ByteWriter(64);
  writer.uint8(VERSION);
  writer.varuint(state.slots.filter((known) => known !== undefined).length);
  for (const [slot, known] of state.slots.entries()) {
    if (known === undefined) continue;
    const { epoch, batches } = known;
    writer.varuint(slot);
    writer.varuint(epoch);
    writer.varuint(batches.length);
    for (const batch of batches) {
      writer.varuint(batch.baseSequence);
      writer.varuint(batch.records);
      writer.varuint(batch.baseOffset);
    }
  }
  return writer.finish().slice();
}

/** @throws EventLogError `corrupt_data` */
export function unpackProducer(packed: Uint8Array): ProducerState {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    invariant(version === VERSION, () => `producer version ${version} is not ${VERSION}`);
    const slots: (SlotBatches | undefined)[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const slot = reader.varuint();
      invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
      const slotEpoch = reader.varuint();
      const batches: ProducerBatch[] = [];
      for (let count = reader.varuint(); count > 0; count--) {
        batches.push({ baseSequence: reader.varuint(), records: reader.varuint(), baseOffset: reader.varuint() });
      }
      slots[slot] = { epoch: slotEpoch, batches };
    }
    invariant(reader.remaining === 0, 'a producer state ends with its last slot');
    return { slots };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'A producer item cannot be read.', { cause });
  }
}
