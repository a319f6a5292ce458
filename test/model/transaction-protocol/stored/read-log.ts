import type { Entry, EntryMarker, EntryPart, EntryProducer } from '../../../../shared/log/head/entry.ts';
import { type PlacedPart, placeParts } from '../../../../shared/log/head/head.ts';
import { followTransactions, lastStableOffsetOf } from '../../../../shared/log/head/open-transactions.ts';
import type { TransactionOutcome } from '../../../../shared/log/transaction/transaction.ts';
import type { Flaw } from '../flaws.ts';
import { type NumberedBatch, SLOTS } from '../scenarios.ts';

/** What the entries of a head say. */
export interface LogRead {
  /** What is wrong with them, whatever the item says. */
  readonly wrong: string | undefined;
  /** Batch -> the number of the transaction that it is in; 0: none. */
  readonly numbers: ReadonlyMap<number, number>;
  /** The numbers of the transactions with data and no marker. */
  readonly open: readonly number[];
  /** By the number of a transaction. */
  readonly outcomes: ReadonlyMap<number, TransactionOutcome>;
  /** The batches that a reader of committed records gets. */
  readonly visible: ReadonlySet<number>;
}

interface Checked {
  readonly numbers: Map<number, number>;
  readonly outcomes: Map<number, TransactionOutcome>;
  /** By slot. */
  readonly openIn: (number | undefined)[];
  readonly newestEpochs: (number | undefined)[];
}

/** `batches` has the batch of each entry; the others are markers. */
export function readLog(
  entries: readonly Entry[],
  batches: readonly (number | undefined)[],
  numbered: readonly NumberedBatch[],
  flaw: Flaw | undefined,
): LogRead {
  const checked: Checked = { numbers: new Map(), outcomes: new Map(), openIn: [], newestEpochs: [] };
  let wrong: string | undefined;
  for (const [i, entry] of entries.entries()) {
    const { name } = numbered[batches[i] ?? -1] ?? {};
    wrong ??= name === undefined ? addMarker(checked, entry) : addBatch(checked, entry, batches[i] as number, name);
  }
  const placed = placeParts(entries, 0, []);
  return {
    wrong,
    numbers: checked.numbers,
    open: followTransactions([], placed).open.map(({ transaction }) => transaction),
    outcomes: checked.outcomes,
    visible: visibleBatches(placed, batches, flaw),
  };
}

function addBatch(
  { numbers, outcomes, openIn, newestEpochs }: Checked,
  { parts }: Entry,
  batch: number,
  name: string,
): string | undefined {
  const { slot, producer } = parts[0] as EntryPart;
  const { transaction = 0, producerEpoch } = producer as EntryProducer;
  if (numbers.has(batch)) return `${name} is in the log twice`;
  numbers.set(batch, transaction);
  if (outcomes.has(transaction)) return `${name} stands behind the marker of transaction ${transaction}`;
  const open = openIn[slot] ?? transaction;
  if (open !== transaction) return `${name} stands within transaction ${open}, which it does not belong to`;
  if (transaction > 0) openIn[slot] = transaction;
  const newest = newestEpochs[slot] ?? 0;
  newestEpochs[slot] = Math.max(newest, producerEpoch);
  return producerEpoch < newest ? `${name} stands behind epoch ${newest}, which fences it` : undefined;
}

function addMarker({ outcomes, openIn, newestEpochs }: Checked, { markers = [] }: Entry): string | undefined {
  const { transaction, outcome, slots, producerEpoch } = markers[0] as EntryMarker;
  if (outcomes.has(transaction)) return `transaction ${transaction} is marked twice in a head`;
  outcomes.set(transaction, outcome);
  for (const slot of slots) {
    if (openIn[slot] !== transaction) return `a slot without data of transaction ${transaction} gets its marker`;
    openIn[slot] = undefined;
    newestEpochs[slot] = Math.max(newestEpochs[slot] ?? 0, producerEpoch);
  }
  return openIn.includes(transaction)
    ? `the marker of transaction ${transaction} leaves out a slot with data`
    : undefined;
}

/** As a read of committed records does: up to the last stable offset, without what was aborted. */
function visibleBatches(
  placed: readonly PlacedPart[],
  batches: readonly (number | undefined)[],
  flaw: Flaw | undefined,
): Set<number> {
  const { open, aborted } = followTransactions([], placed);
  const visible = new Set<number>();
  for (let slot = 0; slot < SLOTS; slot++) {
    const ofSlot = placed.filter(({ part }) => part.slot === slot);
    const nextOffset = ofSlot.length;
    let stable = lastStableOffsetOf(open, slot, nextOffset);
    if (flaw === 'a read goes to the high watermark') stable = nextOffset;
    if (flaw === 'the last stable offset comes from memory')
      stable = lastStableOffsetOf(openBefore(placed), slot, nextOffset);
    for (const { entryNumber, baseOffset, part } of ofSlot) {
      const batch = batches[entryNumber];
      if (batch === undefined || baseOffset >= stable) continue;
      const isAborted = aborted.some(
        (one) =>
          one.slot === slot &&
          part.producer?.transaction !== undefined &&
          one.producerId === part.producer.producerId &&
          one.firstOffset <= baseOffset &&
          baseOffset < one.lastOffset,
      );
      if (!isAborted) visible.add(batch);
    }
  }
  return visible;
}

/** The open transactions before the last entry. */
function openBefore(placed: readonly PlacedPart[]): ReturnType<typeof followTransactions>['open'] {
  const last = placed.at(-1)?.entryNumber;
  return followTransactions(
    [],
    placed.filter(({ entryNumber }) => entryNumber !== last),
  ).open;
}
