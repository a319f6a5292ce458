import { EventLogError } from '../../../log/errors.ts';
import type { BatchOutcome, HeadAppend, PlacedBatch } from '../../../log/head/head-append.ts';
import type { LaidOutBatch } from '../../../log/head/plan-commit.ts';
import type { ItemToPut } from '../../../storage/ports.ts';
import type { HeadName } from '../items.ts';

/** The outcome of one append to a head. */
export type HeadAppendOutcome =
  | { readonly type: 'settled'; readonly outcomes: readonly BatchOutcome[] }
  /** The topic was deleted; nothing was appended. */
  | { readonly type: 'head_closed' };

export interface WaitingAppend {
  readonly append: HeadAppend;
  readonly settle: (outcome: HeadAppendOutcome) => void;
}

/**
 * The appends to one head that are committed together. Their data is laid out by slot, so that batches of a partition are
 * adjacent.
 */
export class HeadGroup {
  readonly topicName: string;
  readonly name: HeadName;
  /** The length of all data, in bytes. */
  readonly bytes: number;
  /** Which part of the appends are markers of transactions, from 0 to 1. */
  readonly markerShare: number;
  /** The data, if it is written by the commit itself; `undefined` once it is written. */
  unwritten: ItemToPut | undefined;
  #layout: LaidOutBatch[] = [];
  #start = 0;
  readonly #settles: Map<HeadAppend, WaitingAppend['settle']>;

  constructor(topicName: string, name: HeadName, waiting: readonly WaitingAppend[]) {
    this.topicName = topicName;
    this.name = name;
    this.bytes = waiting.reduce((sum, { append }) => sum + append.bytes, 0);
    this.markerShare = waiting.filter(({ append }) => append.marker !== undefined).length / Math.max(1, waiting.length);
    this.#settles = new Map(waiting.map(({ append, settle }) => [append, settle]));
  }

  /** The unsettled appends, in the order of their arrival. */
  get unsettled(): HeadAppend[] {
    return [...this.#settles.keys()];
  }

  get layout(): readonly LaidOutBatch[] {
    return this.#layout;
  }

  /** Assigns every batch its position in the data that will be written. The group's data begins at `start`. */
  layOut(start: number): void {
    this.#start = start;
    const batches = this.unsettled.flatMap((append) =>
      append.batches.map((batch, index) => ({ append, index, batch })),
    );
    batches.sort((a, b) => a.batch.slot - b.batch.slot);
    let position = start;
    this.#layout = batches.map(({ append, index, batch }) => {
      const laidOut = { append, index, position };
      position += batch.data.length;
      return laidOut;
    });
  }

  chunks(): Uint8Array[] {
    return this.#layout.map(dataOf);
  }

  data(): Uint8Array {
    return this.slice(this.#start, this.bytes);
  }

  /** Copies a range of whole batches from the data. Positions count as in the written data. */
  slice(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (const batch of this.#layout) {
      const data = dataOf(batch);
      if (batch.position >= position && batch.position + data.length <= position + length)
        bytes.set(data, batch.position - position);
    }
    return bytes;
  }

  settle(append: HeadAppend, outcomes: readonly BatchOutcome[]): void {
    this.#settle(append, { type: 'settled', outcomes });
  }

  settleAllAsClosed(): void {
    for (const append of this.unsettled) this.#settle(append, { type: 'head_closed' });
  }

  /** Settles all unsettled appends with an error. */
  fail(cause: unknown): void {
    const error =
      cause instanceof EventLogError
        ? cause
        : new EventLogError('internal', 'Unexpected error during append. Report the request id.', { cause });
    const failed: BatchOutcome = { type: 'failed', error };
    for (const append of this.unsettled)
      this.settle(append, append.marker === undefined ? append.batches.map(() => failed) : [failed]);
  }

  #settle(append: HeadAppend, outcome: HeadAppendOutcome): void {
    this.#settles.get(append)?.(outcome);
    this.#settles.delete(append);
  }
}

function dataOf({ append, index }: LaidOutBatch): Uint8Array {
  return (append.batches[index] as PlacedBatch).data;
}
