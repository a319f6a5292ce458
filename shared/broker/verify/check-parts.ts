import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import { EventLogError, MissingDataError } from '../../log/errors.ts';
import { type PlacedPart, partitionState, placeNode, placeTail, TAIL_NODE_ENTRIES } from '../../log/head/head.ts';
import { dataName, readParts } from '../data/read-part.ts';
import { eachOf } from '../topics/each-head.ts';
import { crossingIntoEntries } from './check-transactions.ts';
import { endOf, readNodes } from './read-nodes.ts';
import { isDamage, type Verification, type View } from './verification.ts';

/** Entries whose data is in memory at once. */
const ENTRIES_AT_ONCE = 4;

/**
 * Checks the parts that are not merged in the view, from `position.offset` on: that their data is there, matches its CRCs and
 * counts, and leaves no offset out. 1 GetItem or GetObject for each entry, and 1 Query for each 64 tail nodes. Returns
 * `look_again` if a job has changed what the view says, and `over` if the call must end.
 */
export async function checkParts(run: Verification, view: View): Promise<'done' | 'look_again' | 'over'> {
  const { position } = run;
  const { list, head } = view;
  if (!(await checkCrossing(run, view))) return 'look_again';
  const from = Math.max(list.mergedEntry, position.entry - (position.entry % TAIL_NODE_ENTRIES));
  for (let next = from; next < head.firstEntry; ) {
    const nodes = await readNodes(run, next, head.firstEntry);
    // A node that is damaged or missing is a problem of the head, and what it named is a gap.
    for (const { node, firstEntry } of [...nodes, ...endOf(nodes, head.firstEntry)]) {
      if (firstEntry !== next && (await run.look()).list.mergedEntry > next) return 'look_again';
      next = firstEntry;
      position.entry = next;
      if (node === undefined && next === head.firstEntry) break;
      const result = node === undefined ? 'done' : await checkEntries(run, view, placeNode(node));
      if (result !== 'done') return result;
      next += TAIL_NODE_ENTRIES;
      position.entry = next;
    }
    if (run.isOver()) return 'over';
  }
  const result = await checkEntries(run, view, placeTail(head));
  if (result === 'done') await run.reachOffset(view, position.end ?? 0, false);
  return result;
}

/** Whether the last segment lists what the entries abort across its end; false if the view is outdated. */
async function checkCrossing(run: Verification, view: View): Promise<boolean> {
  const { position } = run;
  const expected = position.crossing;
  if (expected === undefined) return true;
  const found = await crossingIntoEntries(run, view, position.offset);
  if (found !== expected) {
    if ((await run.look()).list.mergedEntry !== view.list.mergedEntry) return false;
    if (!(await run.mayBeCompacted(view)))
      run.report({
        kind: 'wrong_transactions',
        offset: position.offset,
        message: 'The last segment and the entries behind it disagree about the aborted transactions across its end.',
      });
  }
  position.crossing = undefined;
  return true;
}

async function checkEntries(
  run: Verification,
  view: View,
  placed: readonly PlacedPart[],
): Promise<'done' | 'look_again' | 'over'> {
  const { position, slot } = run;
  const wanted = byEntry(
    placed.filter(
      ({ part, baseOffset }) =>
        part.slot === slot && baseOffset + part.records > position.offset && baseOffset < (position.end ?? 0),
    ),
  );
  for (let at = 0; at < wanted.length; at += ENTRIES_AT_ONCE) {
    const some = wanted.slice(at, at + ENTRIES_AT_ONCE);
    const read = await eachOf(some, (parts) => readTwice(run, parts));
    for (const [i, parts] of some.entries()) {
      const batches = read[i];
      for (const [j, part] of parts.entries()) {
        const found = batches instanceof EventLogError ? await readTwice(run, [part]) : [batches?.[j] ?? []];
        if (!(await takePart(run, view, part, found instanceof EventLogError ? found : (found[0] ?? []))))
          return 'look_again';
      }
    }
    if (run.isOver()) return 'over';
  }
  return 'done';
}

/** Counts a part, or reports its damage; false if it is no longer needed. */
async function takePart(
  run: Verification,
  view: View,
  placed: PlacedPart,
  found: readonly StoredBatch[] | EventLogError,
): Promise<boolean> {
  const { position, slot, name } = run;
  const { part, entry, entryNumber, baseOffset } = placed;
  const endOffset = baseOffset + part.records;
  const storedAs = dataName(name, entry);
  if (found instanceof EventLogError) {
    const { list, head } = await run.look();
    if (list.mergedEntry > entryNumber || endOffset <= partitionState(head, slot).logStartOffset) return false;
    await run.reachOffset(view, baseOffset, false);
    run.report({
      kind: found instanceof MissingDataError ? 'missing_data' : 'damaged_data',
      storedAs,
      ...(found instanceof MissingDataError ? {} : { position: part.position }),
      offset: baseOffset,
      message: found.message,
    });
    position.offset = endOffset;
    return true;
  }
  const isOfTransaction = part.marker !== undefined || part.producer?.transaction !== undefined;
  if (found.some(({ header }) => header.transactional !== isOfTransaction))
    run.report({
      kind: 'wrong_transactions',
      storedAs,
      position: part.position,
      offset: baseOffset,
      message: `The entry says that the batch belongs to ${isOfTransaction ? 'a' : 'no'} transaction, and the batch says otherwise.`,
    });
  for (const batch of found) await run.count(view, batch, { storedAs, isMerged: false });
  const maxTimestampMs = Math.max(...found.map(({ header }) => header.maxTimestamp));
  if (maxTimestampMs !== part.maxTimestampMs)
    run.report({
      kind: 'wrong_timestamp',
      storedAs,
      position: part.position,
      offset: baseOffset,
      message: `The entry says that the largest timestamp is ${part.maxTimestampMs}, and it is ${maxTimestampMs}.`,
    });
  if (entryNumber < view.head.firstEntry) position.counts.unmergedParts++;
  else position.counts.tailParts++;
  return true;
}

/** What arrived damaged may be whole in the store. Returns the error if both reads find damage. */
async function readTwice(
  run: Verification,
  parts: readonly PlacedPart[],
): Promise<readonly (readonly StoredBatch[])[] | EventLogError> {
  for (let tries = 1; ; tries++) {
    try {
      run.spend(parts.reduce((sum, { part }) => sum + part.bytes, 1));
      return await run.ask(() => readParts(run.stores, run.name, parts));
    } catch (error) {
      if (!isDamage(error)) throw error;
      if (tries === 2) return error.cause instanceof MissingDataError ? error.cause : error;
    }
  }
}

function byEntry(placed: readonly PlacedPart[]): PlacedPart[][] {
  const entries = new Map<number, PlacedPart[]>();
  for (const part of placed) entries.set(part.entryNumber, [...(entries.get(part.entryNumber) ?? []), part]);
  return [...entries.values()];
}
