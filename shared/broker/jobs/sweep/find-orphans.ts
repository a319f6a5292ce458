import { type BatchId, batchIdText, batchTimeMs } from '../../../log/head/batch-id.ts';
import { type Entry, type Head, TAIL_NODE_ENTRIES } from '../../../log/head/head.ts';
import { HEAD, headKey } from '../../../storage/keys.ts';
import type { ItemStore } from '../../../storage/ports.ts';
import { type Ask, type HeadName, headFromAttributes, nodesBetween } from '../../heads/items.ts';
import { firstEntryKept, readSegmentList } from '../../heads/segment-list-store.ts';
import { type RetryContext, retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';

/**
 * Orphans are data whose commit never came. Whether it still comes cannot be seen from outside, so the heads that could take
 * it are first made to refuse it: `HEAD.refusesBefore` rises above the time at which it was written. After that no entry can
 * come to refer to it. Only then is the head looked at for the last time, and only what it does not refer to is an orphan.
 */
export interface Candidate {
  readonly batchId: BatchId;
  /** The heads that may refer to it. */
  readonly heads: readonly HeadName[];
}

/** What is known of a head after the first look. */
interface Looked {
  readonly name: HeadName;
  readonly canCommit: boolean;
  /** Where to look from then on. */
  readonly unseen: EntryNumbers;
}

interface EntryNumbers {
  /** The nodes below this number are known not to refer to what is left. */
  readonly firstEntry: number;
  /** Entries below this number need their data no longer, though they may stay in the tail for ever. */
  readonly droppedEntry: number;
}

/**
 * Returns those candidates that no head refers to or can come to refer to, and so may be deleted. Costs for each head 1 or 2
 * GetItems, 1 Query for 64 nodes that are not cleaned if its tail does not refer to all candidates, and where candidates are
 * left 1 UpdateItem. `isTopic` is asked for heads without an item.
 */
export async function findOrphans<C extends Candidate>(
  context: RetryContext,
  items: ItemStore,
  candidates: readonly C[],
  isTopic: (topicId: string) => Promise<boolean>,
): Promise<C[]> {
  const ask: Ask = (request) => retrying(context, 'not_applied', request);
  const referred = new Set<string>();
  const looked = await eachOf(byHead(candidates), async ({ name, ids }): Promise<Looked> => {
    const { attributes } = await ask(() => items.get(headKey(name.topicId, name.headNumber)));
    const head = headFromAttributes(attributes);
    const { cleanedEntry, droppedEntry } = await ask(() => readSegmentList(items, name));
    const from = { firstEntry: cleanedEntry, droppedEntry };
    for (const id of await findReferred(items, name, head, from, ids, ask)) referred.add(id);
    // A head of a deleted topic must not come back. It is closed for as long as a commit of it can be under way.
    const exists = attributes !== undefined || (await isTopic(name.topicId));
    return { name, canCommit: exists && !head.closed, unseen: { firstEntry: head.firstEntry, droppedEntry } };
  });
  const unreferred = (): C[] => candidates.filter(({ batchId }) => !referred.has(batchIdText(batchId)));
  const before = new Map(looked.map((one) => [keyOf(one.name), one]));
  await eachOf(byHead(unreferred()), async ({ name, ids, newestMs }) => {
    const { canCommit, unseen } = before.get(keyOf(name)) as Looked;
    if (!canCommit) return;
    const head = await refuseBefore(context, items, name, newestMs + 1);
    for (const id of await findReferred(items, name, head, unseen, ids, ask)) referred.add(id);
  });
  return unreferred();
}

/** From now on the head commits no data that was written before `timeMs`. Returns the head after that. 1 UpdateItem. */
async function refuseBefore(context: RetryContext, items: ItemStore, name: HeadName, timeMs: number): Promise<Head> {
  const { attributes } = await retrying(context, 'from_error', () =>
    items.update(
      headKey(name.topicId, name.headNumber),
      [{ do: 'set', name: HEAD.refusesBefore, value: timeMs }],
      [
        { if: 'absent', name: HEAD.closed },
        { if: 'at_most', name: HEAD.refusesBefore, value: timeMs - 1 },
      ],
    ),
  );
  return headFromAttributes(attributes);
}

/** Those of `ids` that the tail or a node from `firstEntry` on refers to. Nodes that were cleaned meanwhile no longer count. */
async function findReferred(
  items: ItemStore,
  name: HeadName,
  head: Head,
  from: EntryNumbers,
  ids: ReadonlySet<string>,
  ask: Ask,
): Promise<Set<string>> {
  const referred = new Set<string>();
  const { firstEntry, droppedEntry } = from;
  const look = ({ batchId }: Entry, entryNumber: number): void => {
    const id = batchIdText(batchId);
    if (entryNumber >= droppedEntry && ids.has(id)) referred.add(id);
  };
  for (const [i, { entry }] of head.tail.entries()) look(entry, head.firstEntry + i);
  for (let start = firstEntry - (firstEntry % TAIL_NODE_ENTRIES); referred.size < ids.size; ) {
    try {
      for await (const node of nodesBetween(items, name, start, head.firstEntry, ask)) {
        for (const [i, entry] of node.entries.entries()) look(entry, node.firstEntry + i);
        if (referred.size === ids.size) break;
      }
      break;
    } catch (error) {
      start = await firstEntryKept(items, name, start, error, ask);
    }
  }
  return referred;
}

interface HeadCandidates {
  readonly name: HeadName;
  readonly ids: Set<string>;
  newestMs: number;
}

function byHead(candidates: readonly Candidate[]): HeadCandidates[] {
  const heads = new Map<string, HeadCandidates>();
  for (const { batchId, heads: names } of candidates) {
    for (const name of names) {
      const known = heads.get(keyOf(name)) ?? { name, ids: new Set(), newestMs: 0 };
      heads.set(keyOf(name), known);
      known.ids.add(batchIdText(batchId));
      known.newestMs = Math.max(known.newestMs, batchTimeMs(batchId));
    }
  }
  return [...heads.values()];
}

function keyOf({ topicId, headNumber }: HeadName): string {
  return headKey(topicId, headNumber).pk;
}
