import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { MissingDataError } from '../../log/errors.ts';
import type { BrokerContext } from '../context.ts';
import { readPart } from '../data/read-part.ts';
import { readSegment } from '../segments/read-segment.ts';
import { planRead, type ReadPiece, type ReadPlan } from './plan-read.ts';
import { checkInRange, type PartitionView, viewAgain } from './view-partitions.ts';

/** Pieces that are fetched ahead of the taker: so many, with so many bytes. */
const PIECES_AHEAD = 4;
const BYTES_AHEAD = 4 * 1024 * 1024;

/**
 * The batches of a plan that have offsets from `offset` on, as views on memory that others use too: callers must not change
 * them. What is missing when its turn comes was merged, compacted or dropped since it was planned: then the rest is planned
 * again from a view of now, up to the same end.
 * @throws EventLogError `corrupt_data` if it is missing then too; `offset_out_of_range` if retention has dropped it
 */
export async function* takeBatches(
  context: BrokerContext,
  view: PartitionView,
  { pieces, nextOffset }: ReadPlan,
  offset: number,
): AsyncGenerator<StoredBatch> {
  let planned = pieces;
  let seen = view;
  let next = offset;
  let plannedAgainAt: number | undefined;
  for (;;) {
    try {
      for await (const batch of batchesOf(context, seen, planned)) {
        if (batch.endOffset <= next || batch.baseOffset >= nextOffset) continue;
        next = batch.endOffset;
        yield batch;
      }
      return;
    } catch (error) {
      if (!(error instanceof MissingDataError) || plannedAgainAt === next) throw error;
      plannedAgainAt = next;
      seen = await viewAgain(context, seen);
      checkInRange(seen, next);
      const limits = { bytesMax: Number.POSITIVE_INFINITY, endOffset: nextOffset };
      planned = (await planRead(context, seen, next, limits)).pieces;
    }
  }
}

async function* batchesOf(
  context: BrokerContext,
  view: PartitionView,
  pieces: readonly ReadPiece[],
): AsyncGenerator<StoredBatch> {
  const ahead: { readonly piece: ReadPiece; readonly read: StartedRead }[] = [];
  let bytesAhead = 0;
  let started = 0;
  while (ahead.length > 0 || started < pieces.length) {
    while (started < pieces.length) {
      const piece = pieces[started] as ReadPiece;
      if (ahead.length > PIECES_AHEAD || (ahead.length > 0 && bytesAhead + piece.bytes > BYTES_AHEAD)) break;
      ahead.push({ piece, read: start(readPiece(context, view, piece)) });
      bytesAhead += piece.bytes;
      started++;
    }
    const { piece, read } = ahead.shift() as (typeof ahead)[number];
    for (let batches = await read.first; !batches.done; batches = await read.rest.next()) yield* batches.value;
    bytesAhead -= piece.bytes;
  }
}

async function* readPiece(
  context: BrokerContext,
  view: PartitionView,
  piece: ReadPiece,
): AsyncGenerator<readonly StoredBatch[]> {
  if (piece.type === 'appended') yield await readPart(context, view.stores, view.name, piece.placed);
  else yield* readSegment(context, view.stores.objects, piece, piece.blocks?.opened, piece.blocks);
}

interface StartedRead {
  readonly first: Promise<IteratorResult<readonly StoredBatch[], unknown>>;
  readonly rest: AsyncGenerator<readonly StoredBatch[]>;
}

function start(rest: AsyncGenerator<readonly StoredBatch[]>): StartedRead {
  const first = rest.next();
  // Whoever stops taking early must not leave a rejection that nobody handles.
  first.catch(() => {});
  return { first, rest };
}
