import { equalBytes } from '../bytes.ts';
import { EventLogError } from '../errors.ts';
import { OFFSET_MAX } from '../limits.ts';
import type { BatchId } from './batch-id.ts';
import { type Entry, type EntryPart, type EntryProducer, type Location, packEntry } from './entry.ts';
import { type Head, partitionState } from './head.ts';
import { batchOnceKey, fenceKeysBelow, fenceKeysOf, firstBatchOnceKey, idempotencyOnceKey } from './once-key.ts';
import { applyBatch, decideProducer, type ProducerState } from './producer.ts';

/**
 * What one append brings to one head. Its parts are committed by the same entry or, where `atomic` is not set, at least
 * in their order.
 */
export interface AppendUnit {
  readonly atomic: boolean;
  readonly parts: readonly UnitPart[];
  readonly bytes: number;
  /**
   * The hash of an idempotency key, and a sequence of the head from before its first use. Whoever plans has made sure
   * that no entry holds the key as of what was observed.
   */
  readonly idempotency?: { readonly hash: Uint8Array; readonly observedEntry: number } | undefined;
}

/** One record batch. */
export interface UnitPart {
  readonly partition: number;
  readonly slot: number;
  readonly data: Uint8Array;
  readonly records: number;
  readonly maxTimestampMs: number;
  readonly producer?: EntryProducer | undefined;
  /** The offset that the batch must get, else it is refused. */
  readonly expectedOffset?: number | undefined;
}

export type PartOutcome =
  | { readonly type: 'appended'; readonly baseOffset: number; readonly logStartOffset: number }
  | { readonly type: 'duplicate'; readonly baseOffset: number; readonly logStartOffset: number }
  | { readonly type: 'failed'; readonly error: EventLogError };

/** A part with its place in the data that was written. */
export interface LaidOutPart {
  readonly unit: AppendUnit;
  /** Which of the unit's parts. */
  readonly index: number;
  readonly position: number;
}

export interface WrittenData {
  readonly batchId: BatchId;
  readonly location: Location;
}

/** What to do with some units, decided from what is known of the head. */
export interface CommitPlan {
  /** Units that are settled without a commit. */
  readonly settled: Map<AppendUnit, PartOutcome[]>;
  /** Units that must wait for the next entry, since what they ask for depends on this one. */
  readonly deferred: AppendUnit[];
  /** What to commit, if anything is left. */
  readonly commit: PlannedCommit | undefined;
}

export interface PlannedCommit {
  readonly entry: Entry;
  readonly packed: Uint8Array;
  /** Once keys to leave; also demanded absent, but for fences. */
  readonly leave: readonly Uint8Array[];
  /** Once keys that must not be there. */
  readonly demandAbsent: readonly Uint8Array[];
  /** Slot -> the offset that must be the partition's next one. */
  readonly expected: ReadonlyMap<number, number>;
  /** Slot -> offsets taken up. */
  readonly recordsBySlot: ReadonlyMap<number, number>;
  /** Outcomes of the units in it, with offsets counted from the entry's first in each slot. */
  readonly units: ReadonlyMap<AppendUnit, readonly PlannedOutcome[]>;
}

export type PlannedOutcome =
  | { readonly type: 'pending'; readonly slot: number; readonly offsetInEntry: number }
  | PartOutcome;

/**
 * DynamoDB takes 300 operators in an expression. The head's own conditions and sixteen slots take 60 of them; a key that
 * is demanded absent takes two.
 */
const KEYS_PER_COMMIT_MAX = 120;
/** A batch of an idempotent producer demands its own once key absent, three fences, and that no other came first. */
const KEYS_PER_IDEMPOTENT_BATCH = 5;

/** How many once keys a unit demands absent. */
export function keysDemanded(unit: AppendUnit): number {
  let keys = unit.idempotency === undefined ? 0 : 1;
  for (const part of unit.parts) if (part.producer !== undefined) keys += KEYS_PER_IDEMPOTENT_BATCH;
  return keys;
}

export function fitsCommit(keys: number): boolean {
  return keys <= KEYS_PER_COMMIT_MAX;
}

/**
 * Decides, for units in their order and data as laid out, which parts are refused, which are duplicates, and what entry
 * appends the rest. Pure: `head` and `producers` are what was observed, and the plan's conditions make it exact.
 */
export function planCommit(
  head: Head,
  producers: (producerId: number) => ProducerState | undefined,
  units: readonly AppendUnit[],
  layout: readonly LaidOutPart[],
  written: WrittenData,
): CommitPlan {
  const settled = new Map<AppendUnit, PartOutcome[]>();
  const deferred: AppendUnit[] = [];
  const accepted = new Map<AppendUnit, (PartOutcome | 'accepted')[]>();
  const pendingStates = new Map<number, ProducerState>();
  const appendedSlots = new Map<number, number>();
  const expected = new Map<number, number>();
  const keyed = new Map<AppendUnit, number>();
  const leave: Uint8Array[] = [];
  const demandAbsent: Uint8Array[] = [];

  for (const unit of units) {
    if (deferred.length > 0) {
      deferred.push(unit);
      continue;
    }
    const idempotencyKey = unit.idempotency === undefined ? undefined : idempotencyOnceKey(unit.idempotency.hash);
    if (idempotencyKey !== undefined && leave.some((left) => equalBytes(left, idempotencyKey))) {
      // The same append once more, which then finds this entry.
      deferred.push(unit);
      continue;
    }
    const states = new Map(pendingStates);
    const slots = new Map(appendedSlots);
    const unitExpected = new Map<number, number>();
    const unitLeave: Uint8Array[] = [];
    const unitDemand: Uint8Array[] = [];
    let waits = false;
    const outcomes = unit.parts.map((part): PartOutcome | 'accepted' => {
      const { nextOffset, logStartOffset } = partitionState(head, part.slot);
      if (nextOffset + (slots.get(part.slot) ?? 0) + part.records > OFFSET_MAX) {
        return failed(
          new EventLogError('offset_out_of_range', `Partition ${part.partition} has reached the largest offset.`),
        );
      }
      if (part.expectedOffset !== undefined && !unitExpected.has(part.slot)) {
        // Only the first batch of a slot in an entry can be held to an offset by a condition on the head.
        if (slots.has(part.slot)) {
          waits = true;
          return 'accepted';
        }
        if (part.expectedOffset !== nextOffset)
          return failed(offsetMismatch(part.partition, part.expectedOffset, nextOffset));
        unitExpected.set(part.slot, part.expectedOffset);
      }
      if (part.producer !== undefined) {
        const { producerId, producerEpoch, baseSequence } = part.producer;
        const batch = { slot: part.slot, producerEpoch, baseSequence, records: part.records };
        const state = states.get(producerId) ?? producers(producerId);
        const decision = decideProducer(state, batch);
        if (decision.type === 'duplicate' && decision.baseOffset === PENDING) {
          waits = true;
          return 'accepted';
        }
        if (decision.type === 'duplicate')
          return { type: 'duplicate', baseOffset: decision.baseOffset, logStartOffset };
        if (decision.type !== 'accepted') return failed(producerError(part, decision));
        states.set(producerId, applyBatch(state, batch, PENDING));
        const onceKey = batchOnceKey(part.slot, producerId, producerEpoch, baseSequence);
        unitLeave.push(onceKey);
        unitDemand.push(onceKey, ...fenceKeysOf(producerId, producerEpoch));
        if (!state?.slots.has(part.slot)) {
          const firstKey = firstBatchOnceKey(part.slot, producerId);
          unitLeave.push(firstKey);
          unitDemand.push(firstKey);
        }
        if (producerEpoch > (state?.epoch ?? 0)) {
          unitLeave.push(...fenceKeysBelow(producerId, state?.epoch ?? 0, producerEpoch));
        }
      }
      slots.set(part.slot, (slots.get(part.slot) ?? 0) + part.records);
      return 'accepted';
    });
    if (waits && accepted.size > 0) {
      deferred.push(unit);
      continue;
    }
    if (waits) {
      settled.set(
        unit,
        unit.parts.map(() => failed(repeatsItself())),
      );
      continue;
    }
    const failure = outcomes.find((outcome) => outcome !== 'accepted' && outcome.type === 'failed');
    if (failure !== undefined && unit.atomic) {
      settled.set(
        unit,
        outcomes.map((outcome) =>
          outcome !== 'accepted' && outcome.type === 'failed' ? outcome : failed(atomicRefused()),
        ),
      );
      continue;
    }
    if (!outcomes.includes('accepted')) {
      settled.set(unit, outcomes as PartOutcome[]);
      continue;
    }
    if (idempotencyKey !== undefined) {
      keyed.set(unit, leave.length + unitLeave.length);
      unitLeave.push(idempotencyKey);
      unitDemand.push(idempotencyKey);
    }
    accepted.set(unit, outcomes);
    for (const [id, state] of states) pendingStates.set(id, state);
    for (const [slot, records] of slots) appendedSlots.set(slot, records);
    for (const [slot, offset] of unitExpected) expected.set(slot, offset);
    leave.push(...unitLeave);
    demandAbsent.push(...unitDemand);
  }
  const commit =
    accepted.size === 0 ? undefined : buildCommit(accepted, layout, written, keyed, { expected, leave, demandAbsent });
  return { settled, deferred, commit };
}

/** The base offset, in a producer's pending state, of a batch that is part of the plan itself. */
const PENDING = -1;

function buildCommit(
  accepted: ReadonlyMap<AppendUnit, readonly (PartOutcome | 'accepted')[]>,
  layout: readonly LaidOutPart[],
  written: WrittenData,
  keyed: ReadonlyMap<AppendUnit, number>,
  conditions: Pick<PlannedCommit, 'expected' | 'leave' | 'demandAbsent'>,
): PlannedCommit {
  const parts: EntryPart[] = [];
  const recordsBySlot = new Map<number, number>();
  const units = new Map<AppendUnit, PlannedOutcome[]>();
  for (const [unit, outcomes] of accepted) units.set(unit, outcomes.slice() as PlannedOutcome[]);
  for (const { unit, index, position } of layout) {
    if (accepted.get(unit)?.[index] !== 'accepted') continue;
    const { slot, records, maxTimestampMs, producer, data } = unit.parts[index] as UnitPart;
    const offsetInEntry = recordsBySlot.get(slot) ?? 0;
    (units.get(unit) as PlannedOutcome[])[index] = { type: 'pending', slot, offsetInEntry };
    recordsBySlot.set(slot, offsetInEntry + records);
    const added: EntryPart = {
      slot,
      records,
      position,
      bytes: data.length,
      maxTimestampMs,
      producer,
      keyed: keyed.get(unit),
    };
    const last = parts.at(-1);
    if (last !== undefined && canJoin(last, added)) parts[parts.length - 1] = join(last, added);
    else parts.push(added);
  }
  const entry: Entry = { ...written, onceKeys: conditions.leave.length, parts };
  return { ...conditions, entry, packed: packEntry(entry), recordsBySlot, units };
}

/** What a read gets at least, so a bound on what a small read has to fetch. */
const PART_BYTES_MAX = 1024 * 1024;

/** Neighbours in the data and in the partition make one part, unless each must be told apart later. */
function canJoin(last: EntryPart, added: EntryPart): boolean {
  const alone = (part: EntryPart): boolean => part.producer !== undefined || part.keyed !== undefined;
  const adjacent = last.slot === added.slot && last.position + last.bytes === added.position;
  return adjacent && last.bytes + added.bytes <= PART_BYTES_MAX && !alone(last) && !alone(added);
}

function join(last: EntryPart, added: EntryPart): EntryPart {
  return {
    ...last,
    records: last.records + added.records,
    bytes: last.bytes + added.bytes,
    maxTimestampMs: Math.max(last.maxTimestampMs, added.maxTimestampMs),
  };
}

function failed(error: EventLogError): PartOutcome {
  return { type: 'failed', error };
}

function offsetMismatch(partition: number, expectedOffset: number, nextOffset: number): EventLogError {
  return new EventLogError(
    'offset_mismatch',
    `The next offset of partition ${partition} is ${nextOffset}, not ${expectedOffset}. Read what came in between, then decide anew.`,
    { details: { partition, expectedOffset, nextOffset } },
  );
}

function producerError(
  part: UnitPart,
  decision: { type: 'fenced'; currentEpoch: number } | { type: 'out_of_order'; expectedSequence: number },
): EventLogError {
  const { producerId, producerEpoch, baseSequence } = part.producer as EntryProducer;
  const details = { partition: part.partition, producerId, producerEpoch, baseSequence };
  return decision.type === 'fenced'
    ? new EventLogError(
        'producer_fenced',
        `Producer ${producerId} has written with epoch ${decision.currentEpoch}; epoch ${producerEpoch} may not write any more.`,
        { details: { ...details, currentEpoch: decision.currentEpoch } },
      )
    : new EventLogError(
        'out_of_order_sequence',
        `Producer ${producerId} sent sequence ${baseSequence} to partition ${part.partition}, where ${decision.expectedSequence} comes next.`,
        { details: { ...details, expectedSequence: decision.expectedSequence } },
      );
}

function repeatsItself(): EventLogError {
  return new EventLogError(
    'invalid_request',
    'The append holds the same batch of a producer twice, or two expected offsets for a partition.',
  );
}

/** For the batches of an atomic append that are refused for another's sake. */
export function atomicRefused(): EventLogError {
  return new EventLogError(
    'atomic_append_refused',
    'Another batch of this atomic append was refused, so nothing was appended.',
  );
}
