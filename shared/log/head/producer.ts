import { NO_SEQUENCE } from '../batch/write-batch.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX, PRODUCER_BATCHES_KEPT, SEQUENCE_MAX } from '../limits.ts';
import type { EntryMarker, EntryPart } from './entry.ts';

/**
 * A head's knowledge of one idempotent producer (Kafka's producer id, epoch and sequence; KIP-98). For each slot separately
 * it holds the newest epoch that has written to the slot, and the last five batches of this epoch. A producer may write to
 * several slots under different epochs at once, as Kafka's clients do after a lost batch.
 */
export interface ProducerState {
  /** By slot. Heads have few slots, and a state is copied for every batch: an array copies much faster than a map. */
  readonly slots: readonly (SlotBatches | undefined)[];
  /** The number of its newest transaction that has ended in this head; `undefined` if none has. */
  readonly ended?: number | undefined;
}

interface SlotBatches {
  readonly epoch: number;
  /** The last batches, oldest first. */
  readonly batches: readonly ProducerBatch[];
  /** The transaction that has data here and no marker. */
  readonly open?: OpenTransaction | undefined;
}

interface OpenTransaction {
  readonly number: number;
  readonly firstOffset: number;
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
  /** The number of the batch's transaction, if it belongs to one. */
  readonly transaction?: number | undefined;
}

export type ProducerDecision =
  | { readonly type: 'accepted' }
  | { readonly type: 'duplicate'; readonly baseOffset: number }
  | { readonly type: 'fenced'; readonly currentEpoch: number }
  | { readonly type: 'out_of_order'; readonly expectedSequence: number }
  /** The batch's transaction has ended in this head. */
  | { readonly type: 'transaction_ended' }
  /** The producer has an open transaction, which the batch does not belong to. */
  | { readonly type: 'other_transaction' };

/**
 * Decides as Kafka's brokers do (`ProducerAppendInfo`), from the state of the slot. A batch of an older epoch is fenced. A
 * batch that equals one of the last five is a duplicate. Any other batch must follow the last one, and a new epoch begins
 * at 0.
 *
 * A slot that does not know the producer accepts any sequence from an old id, because the id's state may have expired
 * (`mustBeginAtZero` false). A young id must begin at 0: its state cannot have expired, so any other sequence belongs to a batch
 * that overtook the first one. Kafka has no such rule; in Kafka, the first batch would then be out of order forever.
 *
 * A batch that was appended is a duplicate also after its transaction has ended, like any other.
 *
 * A batch of a transaction can have no sequence. Then only its commit knows whether it was appended, and whoever gets no answer
 * must abort the transaction.
 */
export function decideProducer(
  state: ProducerState | undefined,
  batch: ProducedBatch,
  mustBeginAtZero: boolean,
): ProducerDecision {
  const slot = state?.slots[batch.slot];
  if (slot !== undefined && batch.producerEpoch < slot.epoch) return { type: 'fenced', currentEpoch: slot.epoch };
  const bySequence = decideSequence(slot, batch, mustBeginAtZero);
  if (bySequence.type === 'duplicate') return bySequence;
  if (batch.transaction !== undefined && batch.transaction <= (state?.ended ?? -1))
    return { type: 'transaction_ended' };
  if (slot?.open !== undefined && slot.open.number !== batch.transaction) return { type: 'other_transaction' };
  return bySequence;
}

function decideSequence(
  slot: SlotBatches | undefined,
  batch: ProducedBatch,
  mustBeginAtZero: boolean,
): ProducerDecision {
  if (batch.baseSequence === NO_SEQUENCE) return { type: 'accepted' };
  if (slot === undefined) return mustBeginAtZero ? beginsAtZero(batch) : { type: 'accepted' };
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
  const { baseSequence, records } = batch;
  const batches =
    baseSequence === NO_SEQUENCE
      ? kept
      : [...kept.slice(-(PRODUCER_BATCHES_KEPT - 1)), { baseSequence, records, baseOffset }];
  const begins = batch.transaction !== undefined && was?.open === undefined;
  const open = begins ? { number: batch.transaction, firstOffset: baseOffset } : was?.open;
  slots[batch.slot] = { epoch: batch.producerEpoch, batches, ...(open && { open }) };
  return { slots, ...(state?.ended === undefined ? {} : { ended: state.ended }) };
}

/**
 * Returns the state after a transaction has ended in the head. A marker with a newer epoch than the slot's begins that epoch,
 * so the producer's next sequence there is 0 (KIP-890).
 */
export function applyMarker(
  state: ProducerState | undefined,
  { slots: marked, producerEpoch, transaction }: Omit<EntryMarker, 'producerId' | 'outcome'>,
): ProducerState {
  const slots = state?.slots.slice() ?? [];
  for (const slot of marked) {
    const was = slots[slot];
    slots[slot] =
      was === undefined || producerEpoch > was.epoch
        ? { epoch: producerEpoch, batches: [] }
        : { epoch: was.epoch, batches: was.batches };
  }
  return { slots, ended: Math.max(transaction, state?.ended ?? 0) };
}

/** The slots with data of an open transaction, ascending. */
export function openSlots(state: ProducerState | undefined, transaction: number): number[] {
  const open: number[] = [];
  for (const [slot, known] of state?.slots.entries() ?? []) if (known?.open?.number === transaction) open.push(slot);
  return open;
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
  const { producerEpoch, baseSequence, transaction } = part.producer;
  return { slot: part.slot, producerEpoch, baseSequence, records: part.records, transaction };
}

/** Adds to a sequence; sequences wrap from 2^31 − 1 to 0. */
export function addSequence(sequence: number, by: number): number {
  return (sequence + by) % (SEQUENCE_MAX + 1);
}

/**
 * Packed: version uint8 = 1 · ended transaction varuint, plus 1 (0: none) · slots varuint · per slot: slot varuint · epoch
 * varuint · open transaction varuint, plus 1 (0: none) · if open: its first offset varuint · batches varuint · per batch:
 * baseSequence varuint · records varuint · baseOffset varuint. Persisted in producer items.
 */
const VERSION = 1;

export function packProducer(state: ProducerState): Uint8Array {
  const writer = new ByteWriter(64);
  writer.uint8(VERSION);
  writer.varuint(state.ended === undefined ? 0 : state.ended + 1);
  writer.varuint(state.slots.filter((known) => known !== undefined).length);
  for (const [slot, known] of state.slots.entries()) {
    if (known === undefined) continue;
    const { epoch, batches, open } = known;
    writer.varuint(slot);
    writer.varuint(epoch);
    writer.varuint(open === undefined ? 0 : open.number + 1);
    if (open !== undefined) writer.varuint(open.firstOffset);
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
    const endedPlusOne = reader.varuint();
    for (let left = reader.varuint(); left > 0; left--) {
      const slot = reader.varuint();
      invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
      const slotEpoch = reader.varuint();
      const openPlusOne = reader.varuint();
      const open = openPlusOne === 0 ? undefined : { number: openPlusOne - 1, firstOffset: reader.varuint() };
      const batches: ProducerBatch[] = [];
      for (let count = reader.varuint(); count > 0; count--) {
        batches.push({ baseSequence: reader.varuint(), records: reader.varuint(), baseOffset: reader.varuint() });
      }
      slots[slot] = { epoch: slotEpoch, batches, ...(open && { open }) };
    }
    invariant(reader.remaining === 0, 'a producer state ends with its last slot');
    return { slots, ...(endedPlusOne === 0 ? {} : { ended: endedPlusOne - 1 }) };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'A producer item cannot be read.', { cause });
  }
}
