import { NO_SEQUENCE } from '../batch/write-batch.ts';
import { equalBytes } from '../bytes.ts';
import { EventLogError } from '../errors.ts';
import { OFFSET_MAX, OPEN_TRANSACTIONS_MAX } from '../limits.ts';
import { type BatchId, batchIdRandomBytes, batchTimeMs, makeBatchId } from './batch-id.ts';
import {
  type Entry,
  type EntryMarker,
  type EntryPart,
  type EntryProducer,
  type Location,
  markerParts,
  packEntry,
  type Share,
} from './entry.ts';
import { type Head, partitionState } from './head.ts';
import type { BatchOutcome, HeadAppend, PlacedBatch, TransactionEnd } from './head-append.ts';
import {
  batchOnceKey,
  fenceKeysBelow,
  fenceKeysOf,
  firstBatchOnceKey,
  idempotencyOnceKey,
  markerOnceKey,
  newSlotOnceKey,
} from './once-key.ts';
import {
  applyBatch,
  applyMarker,
  decideProducer,
  openSlots,
  type ProducerDecision,
  type ProducerState,
} from './producer.ts';

/** The planner's knowledge of idempotent producers, as of the observed head. */
export interface KnownProducers {
  stateOf(producerId: number): ProducerState | undefined;
  /** Whether the id was given out so recently that no head can have forgotten its state. */
  isYoung(producerId: number): boolean;
  /** Whether the head has as many open transactions as it can have. */
  readonly hasNoRoom?: boolean | undefined;
}

/** A batch with its position in the written data. */
export interface LaidOutBatch {
  readonly append: HeadAppend;
  /** The batch's index in `append.batches`. */
  readonly index: number;
  readonly position: number;
}

export interface WrittenData {
  readonly batchId: BatchId;
  readonly location: Location;
  readonly share?: Share;
}

/** A plan for some appends, decided from the known state of the head. */
export interface CommitPlan {
  /** Appends that are settled without a commit. */
  readonly settled: Map<HeadAppend, BatchOutcome[]>;
  /** Appends that must wait for the next entry: the first depends on this entry, and the others come after the first. */
  readonly deferred: HeadAppend[];
  /** The entry to commit, if any append is left. */
  readonly commit: PlannedCommit | undefined;
}

/**
 * One entry to append, and the conditions that the head must meet. An entry without parts only leaves its once keys: from
 * then on, every commit that demands one of these keys absent is rejected.
 */
export interface PlannedCommit {
  readonly entry: Entry;
  readonly packed: Uint8Array;
  /** Once keys to leave. Except for fence keys, the commit also demands them absent. */
  readonly leave: readonly Uint8Array[];
  /** Once keys that must not be in the head. */
  readonly demandAbsent: readonly Uint8Array[];
  /** Slot -> the offset that must be the partition's next offset. */
  readonly expected: ReadonlyMap<number, number>;
  /** Slot -> the number of offsets taken up. */
  readonly recordsBySlot: ReadonlyMap<number, number>;
  /** The outcomes of the appends in the entry. */
  readonly appends: ReadonlyMap<HeadAppend, readonly PlannedOutcome[]>;
}

/** `pending`: appended by this commit, at an offset counted from the entry's first offset in the slot. */
export type PlannedOutcome =
  | { readonly type: 'pending'; readonly slot: number; readonly offsetInEntry: number }
  | BatchOutcome;

/** The content of an entry so far, and its conditions. */
interface Gathered {
  /** Producer id -> its state after the batches of this entry, whose base offsets are `PENDING`. */
  readonly states: Map<number, ProducerState>;
  readonly recordsBySlot: Map<number, number>;
  readonly expected: Map<number, number>;
  readonly leave: Uint8Array[];
  readonly demandAbsent: Uint8Array[];
  readonly markers: EntryMarker[];
  /** The producers with batches of a transaction in this entry, which demands the absence of its marker once. */
  readonly inTransaction: Set<number>;
}

type Decided = BatchOutcome | { readonly type: 'accepted' };
const ACCEPTED: Decided = { type: 'accepted' };

type AppendDecision =
  /** The entry takes some batches, or only the append's once key. `adds`: their content and conditions. */
  | { readonly type: 'accepted'; readonly outcomes: readonly Decided[]; readonly adds: Gathered }
  | { readonly type: 'settled'; readonly outcomes: BatchOutcome[] }
  /** The append depends on an append that is already gathered, or one of its batches depends on another. */
  | { readonly type: 'depends' };

/**
 * Decides which batches are rejected, which are duplicates, and which entry appends the others. The appends are given in
 * order, with their data laid out. The function is pure: `head` and `producers` may be stale, and the plan's conditions
 * make the result exact.
 */
export function planCommit(
  head: Head,
  producers: KnownProducers,
  appends: readonly HeadAppend[],
  layout: readonly LaidOutBatch[],
  written: WrittenData,
): CommitPlan {
  const settled = new Map<HeadAppend, BatchOutcome[]>();
  const deferred: HeadAppend[] = [];
  const accepted = new Map<HeadAppend, readonly Decided[]>();
  const keyed = new Map<HeadAppend, number>();
  const gathered = nothingGathered();
  for (const append of appends) {
    // Appends keep their order, so an append that waits also delays the appends after it.
    if (deferred.length > 0) {
      deferred.push(append);
      continue;
    }
    const useKey = append.idempotency === undefined ? undefined : idempotencyOnceKey(append.idempotency.use);
    if (useKey !== undefined && gathered.leave.some((left) => equalBytes(left, useKey))) {
      // This is a second attempt of the same append; it will find this entry.
      deferred.push(append);
      continue;
    }
    const decision = decideAppend(head, producers, gathered, append);
    if (decision.type === 'depends') {
      if (accepted.size > 0) deferred.push(append);
      else
        settled.set(
          append,
          append.batches.map(() => failed(repeatsItself())),
        );
    } else if (decision.type === 'settled') {
      settled.set(append, decision.outcomes);
    } else {
      accepted.set(append, decision.outcomes);
      gather(gathered, decision.adds);
      if (useKey === undefined) continue;
      keyed.set(append, gathered.leave.length);
      gathered.leave.push(useKey);
      gathered.demandAbsent.push(useKey);
    }
  }
  const isLast = deferred.length === 0;
  const commit = accepted.size === 0 ? undefined : buildCommit(accepted, layout, written, keyed, gathered, isLast);
  return { settled, deferred, commit };
}

/** The base offset, in a producer's state, of a batch that belongs to this plan. */
const PENDING = -1;

function nothingGathered(): Gathered {
  return {
    states: new Map(),
    recordsBySlot: new Map(),
    expected: new Map(),
    leave: [],
    demandAbsent: [],
    markers: [],
    inTransaction: new Set(),
  };
}

function gather(gathered: Gathered, adds: Gathered): void {
  for (const [id, state] of adds.states) gathered.states.set(id, state);
  for (const [slot, records] of adds.recordsBySlot) addRecords(gathered, slot, records);
  for (const [slot, offset] of adds.expected) gathered.expected.set(slot, offset);
  for (const key of adds.leave) gathered.leave.push(key);
  for (const key of adds.demandAbsent) gathered.demandAbsent.push(key);
  for (const marker of adds.markers) gathered.markers.push(marker);
  for (const id of adds.inTransaction) gathered.inTransaction.add(id);
}

function addRecords({ recordsBySlot }: Gathered, slot: number, records: number): void {
  recordsBySlot.set(slot, (recordsBySlot.get(slot) ?? 0) + records);
}

/** Decides one append, given the gathered content, which it does not change. */
function decideAppend(head: Head, producers: KnownProducers, gathered: Gathered, append: HeadAppend): AppendDecision {
  if (append.marker !== undefined) return decideMarker(producers, gathered, append.marker);
  const adds = nothingGathered();
  const outcomes: Decided[] = [];
  for (const batch of append.batches) {
    const outcome = decideBatch(head, producers, gathered, adds, batch);
    if (outcome === undefined) return { type: 'depends' };
    outcomes.push(outcome);
  }
  if (append.atomic && outcomes.some(({ type }) => type === 'failed')) {
    const refused = outcomes.map((outcome) => (outcome.type === 'failed' ? outcome : failed(atomicRefused())));
    return { type: 'settled', outcomes: refused };
  }
  if (outcomes.length === 0 || outcomes.includes(ACCEPTED)) return { type: 'accepted', outcomes, adds };
  return { type: 'settled', outcomes: outcomes as BatchOutcome[] };
}

/** Decides the end of a transaction: if it has ended in this head before, nothing is left to do. */
function decideMarker(producers: KnownProducers, gathered: Gathered, end: TransactionEnd): AppendDecision {
  const { producerId, transaction } = end;
  if (isMarked(gathered, producerId)) return { type: 'depends' };
  const state = gathered.states.get(producerId) ?? producers.stateOf(producerId);
  if (state?.ended !== undefined && state.ended >= transaction) return { type: 'settled', outcomes: [] };
  const marker = { ...end, slots: openSlots(state, transaction) };
  const adds = nothingGathered();
  adds.markers.push(marker);
  adds.states.set(producerId, applyMarker(state, marker));
  for (const slot of marker.slots) addRecords(adds, slot, 1);
  const key = markerOnceKey(producerId, transaction);
  adds.leave.push(key);
  adds.demandAbsent.push(key, newSlotOnceKey(producerId, transaction, marker.slots.length));
  return { type: 'accepted', outcomes: [], adds };
}

/** All markers of an entry come after its parts, so what a producer does after its marker needs another entry. */
function isMarked({ markers }: Gathered, producerId: number): boolean {
  return markers.some((marker) => marker.producerId === producerId);
}

/**
 * Decides one batch, and adds its content and conditions to `adds`. Returns `undefined` if the batch depends on the entry
 * being planned.
 */
function decideBatch(
  head: Head,
  producers: KnownProducers,
  gathered: Gathered,
  adds: Gathered,
  batch: PlacedBatch,
): Decided | undefined {
  const { slot, partition, records, producer, expectedOffset } = batch;
  const { nextOffset, logStartOffset } = partitionState(head, slot);
  const recordsBefore = (gathered.recordsBySlot.get(slot) ?? 0) + (adds.recordsBySlot.get(slot) ?? 0);
  let state: ProducerState | undefined;
  if (producer !== undefined) {
    const { producerId, transaction } = producer;
    if (isMarked(gathered, producerId)) return undefined;
    state = adds.states.get(producerId) ?? gathered.states.get(producerId) ?? producers.stateOf(producerId);
    const decision = decideProducer(
      state,
      { ...producer, slot, records },
      batch.firstSequence === undefined ? producers.isYoung(producerId) : batch.firstSequence === 'zero',
    );
    // This comes before the check of the expected offset: a retry of an applied conditional append gets the first answer.
    if (decision.type === 'duplicate') {
      if (decision.baseOffset === PENDING) return undefined;
      return { type: 'duplicate', baseOffset: decision.baseOffset, logStartOffset };
    }
    if (decision.type !== 'accepted') return failed(producerError(batch, producer, decision, logStartOffset));
    if (producers.hasNoRoom && transaction !== undefined && openSlots(state, transaction).length === 0)
      return failed(tooManyTransactions(partition));
  }
  if (nextOffset + recordsBefore + records > OFFSET_MAX) {
    return failed(
      new EventLogError('offset_out_of_range', `Partition ${partition} has reached the largest offset, ${OFFSET_MAX}.`),
    );
  }
  if (expectedOffset !== undefined) {
    // A condition on the head can check only the offset of a slot's first batch in the entry.
    if (recordsBefore > 0) return undefined;
    if (expectedOffset !== nextOffset) return failed(offsetMismatch(partition, expectedOffset, nextOffset));
    adds.expected.set(slot, expectedOffset);
  }
  if (producer !== undefined) addProducer(gathered, adds, batch, producer, state);
  addRecords(adds, slot, records);
  return ACCEPTED;
}

/**
 * Adds the producer's state after the batch, and the once keys that shut out other attempts, and every older epoch or all
 * that comes after the transaction's marker.
 */
function addProducer(
  gathered: Gathered,
  adds: Gathered,
  { slot, records }: PlacedBatch,
  producer: EntryProducer,
  state: ProducerState | undefined,
): void {
  const { producerId, producerEpoch, baseSequence, transaction } = producer;
  const known = state?.slots[slot];
  adds.states.set(producerId, applyBatch(state, { ...producer, slot, records }, PENDING));
  const leaveOnce = (key: Uint8Array): void => {
    adds.leave.push(key);
    adds.demandAbsent.push(key);
  };
  if (baseSequence !== NO_SEQUENCE) leaveOnce(batchOnceKey(slot, producerId, producerEpoch, baseSequence));
  if (known === undefined) leaveOnce(firstBatchOnceKey(slot, producerId));
  if (transaction === undefined) {
    const epoch = known?.epoch ?? 0;
    adds.demandAbsent.push(...fenceKeysOf(slot, producerId, producerEpoch));
    if (producerEpoch > epoch) adds.leave.push(...fenceKeysBelow(slot, producerId, epoch, producerEpoch));
    return;
  }
  if (!gathered.inTransaction.has(producerId) && !adds.inTransaction.has(producerId))
    adds.demandAbsent.push(markerOnceKey(producerId, transaction));
  adds.inTransaction.add(producerId);
  if (known?.open === undefined)
    leaveOnce(newSlotOnceKey(producerId, transaction, openSlots(state, transaction).length));
}

function buildCommit(
  accepted: ReadonlyMap<HeadAppend, readonly Decided[]>,
  layout: readonly LaidOutBatch[],
  written: WrittenData,
  keyed: ReadonlyMap<HeadAppend, number>,
  { expected, leave, demandAbsent, markers }: Gathered,
  isLast: boolean,
): PlannedCommit {
  const parts: EntryPart[] = [];
  const recordsBySlot = new Map<number, number>();
  const appends = new Map<HeadAppend, PlannedOutcome[]>();
  for (const [append, outcomes] of accepted) appends.set(append, outcomes.slice() as PlannedOutcome[]);
  for (const { append, index, position } of layout) {
    if (accepted.get(append)?.[index] !== ACCEPTED) continue;
    const { slot, records, maxTimestampMs, producer, data } = append.batches[index] as PlacedBatch;
    const offsetInEntry = recordsBySlot.get(slot) ?? 0;
    (appends.get(append) as PlannedOutcome[])[index] = { type: 'pending', slot, offsetInEntry };
    recordsBySlot.set(slot, offsetInEntry + records);
    const added: EntryPart = {
      slot,
      records,
      position,
      bytes: data.length,
      maxTimestampMs,
      producer,
      keyed: keyed.get(append),
    };
    const last = parts.at(-1);
    if (last !== undefined && canJoin(last, added)) parts[parts.length - 1] = join(last, added);
    else parts.push(added);
  }
  const data = dataOf(written, parts, leave);
  for (const { slots } of markers)
    for (const slot of slots) recordsBySlot.set(slot, (recordsBySlot.get(slot) ?? 0) + 1);
  const entry: Entry = {
    ...data,
    ...(isLast || parts.length === 0 ? {} : { continued: true }),
    onceKeys: leave.length,
    parts: [...parts, ...markerParts(markers, batchTimeMs(data.batchId))],
    ...(markers.length > 0 ? { markers } : {}),
  };
  return { entry, packed: packEntry(entry), leave, demandAbsent, expected, recordsBySlot, appends };
}

/** Its first once key tells an entry without data from others: a commit finds its own by its bytes. */
function dataOf(written: WrittenData, parts: readonly EntryPart[], leave: readonly Uint8Array[]): WrittenData {
  if (parts.length > 0) return written;
  return { batchId: makeBatchId(onceKeyEnd(leave), batchTimeMs(written.batchId)), location: 'inline' };
}

/**
 * The last bytes of the first once key: an entry without data leaves keys of idempotency uses, which are random, and of
 * markers, which the entry names.
 */
function onceKeyEnd([first]: readonly Uint8Array[]): Uint8Array {
  return (first as Uint8Array).slice(-batchIdRandomBytes());
}

/** The maximum size of a part. A read returns whole parts, so this bounds the bytes that a small read has to fetch. */
const PART_BYTES_MAX = 1024 * 1024;

/** Batches that are adjacent in the data and in the partition share a part, unless they must be distinguished later. */
function canJoin(last: EntryPart, added: EntryPart): boolean {
  const isToldApart = (part: EntryPart): boolean => part.producer !== undefined || part.keyed !== undefined;
  const adjacent = last.slot === added.slot && last.position + last.bytes === added.position;
  return adjacent && last.bytes + added.bytes <= PART_BYTES_MAX && !isToldApart(last) && !isToldApart(added);
}

function join(last: EntryPart, added: EntryPart): EntryPart {
  return {
    ...last,
    records: last.records + added.records,
    bytes: last.bytes + added.bytes,
    maxTimestampMs: Math.max(last.maxTimestampMs, added.maxTimestampMs),
  };
}

function failed(error: EventLogError): BatchOutcome {
  return { type: 'failed', error };
}

function offsetMismatch(partition: number, expectedOffset: number, nextOffset: number): EventLogError {
  return new EventLogError(
    'offset_mismatch',
    `The next offset of partition ${partition} is ${nextOffset}, not ${expectedOffset}. Read what was appended in between, then decide again.`,
    { details: { partition, expectedOffset, nextOffset } },
  );
}

function producerError(
  { partition }: PlacedBatch,
  { producerId, producerEpoch, baseSequence }: EntryProducer,
  decision: Exclude<ProducerDecision, { type: 'accepted' | 'duplicate' }>,
  logStartOffset: number,
): EventLogError {
  const details = { partition, producerId, producerEpoch, baseSequence, logStartOffset };
  if (decision.type === 'transaction_ended')
    return new EventLogError(
      'invalid_transaction_state',
      `The transaction of producer ${producerId} has ended. Begin another one, and send its records there.`,
      { details },
    );
  if (decision.type === 'other_transaction')
    return new EventLogError(
      'invalid_transaction_state',
      `Producer ${producerId} has an open transaction in partition ${partition}, which this batch does not belong to.`,
      { details },
    );
  return decision.type === 'fenced'
    ? new EventLogError(
        'producer_fenced',
        `Producer ${producerId} has written to partition ${partition} with epoch ${decision.currentEpoch}; epoch ${producerEpoch} can no longer write there.`,
        { details: { ...details, currentEpoch: decision.currentEpoch } },
      )
    : new EventLogError(
        'out_of_order_sequence',
        `Producer ${producerId} sent sequence ${baseSequence} to partition ${partition}; the next sequence there is ${decision.expectedSequence}.`,
        { details: { ...details, expectedSequence: decision.expectedSequence } },
      );
}

function tooManyTransactions(partition: number): EventLogError {
  return new EventLogError(
    'concurrent_transactions',
    `The head of partition ${partition} has ${OPEN_TRANSACTIONS_MAX} open transactions, and can have no more. Send the batch again when one has ended.`,
    { details: { partition, transactionsMax: OPEN_TRANSACTIONS_MAX } },
  );
}

function repeatsItself(): EventLogError {
  return new EventLogError(
    'invalid_request',
    'The append holds the same batch of a producer twice, or two expected offsets for a partition.',
  );
}

/** The error for batches of an atomic append that are rejected because another batch is. */
export function atomicRefused(): EventLogError {
  return new EventLogError(
    'atomic_append_refused',
    'Another batch of this atomic append was rejected, so nothing was appended.',
  );
}
