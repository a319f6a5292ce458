import {
  addTotals,
  EMPTY_TOTALS,
  openAfterNode,
  type SlotTotals,
  TAIL_NODE_ENTRIES,
  type TailNode,
} from '../../log/head/head.ts';
import { JOB_NAMES, type SegmentList } from '../../log/segment/segment-list.ts';
import {
  CHECKPOINT,
  checkpointKey,
  dueKey,
  headKey,
  nodePartitionKey,
  nodeSortKey,
  segmentListKey,
  segmentPageKey,
  segmentsPartitionKey,
} from '../../storage/keys.ts';
import type { ItemKey } from '../../storage/ports.ts';
import { isOpenWrong, openAfter, readAbortedItems, wrongInNode } from './check-transactions.ts';
import { endOf, readNodes } from './read-nodes.ts';
import { storedAs, type Verification, type View } from './verification.ts';

/**
 * Checks what concerns all partitions of a head: that each tail node is there and begins where the one before ended, from the
 * first that was not cleaned up to the head's tail, with its totals and open transactions; that the items beside them list
 * what they abort; that the segment list agrees with them; that the states of producers
 * are new enough; that the due items are there; and that there are no pages that nothing names. Returns false if the call
 * must end first. 2 Queries for each 64 nodes, up to 6 GetItems and 1 Query for each 100 pages.
 * @throws UnreadableHead
 */
export async function checkHeadOf(run: Verification): Promise<boolean> {
  let view = await run.look();
  for (;;) {
    const result = await checkNodes(run, view);
    if (result === 'over') return false;
    if (result === 'done') break;
    view = await run.look();
  }
  await checkCheckpoint(run, view.list);
  await checkDueItems(run, view.list);
  await checkPages(run);
  return true;
}

async function checkNodes(run: Verification, { list, head }: View): Promise<'done' | 'look_again' | 'over'> {
  const { position } = run;
  const listName = storedAs(segmentListKey(run.name.topicId, run.name.headNumber));
  if (list.mergedEntry > head.firstEntry) {
    const message = `The segment list has merged the entries below ${list.mergedEntry}, and the head has moved only those below ${head.firstEntry}.`;
    run.reportHead({ kind: 'wrong_totals', storedAs: listName, message });
    return 'done';
  }
  let next = Math.max(position.entry, list.cleanedEntry);
  const before = await nodeBefore(run, list, next);
  let totals = totalsAt(list, next, before);
  let open = openAfter(before, next);
  while (next < head.firstEntry) {
    const nodes = await readNodes(run, next, head.firstEntry);
    const aborted = await readAbortedItems(run, next, (nodes.at(-1)?.firstEntry ?? next) + TAIL_NODE_ENTRIES);
    for (const { firstEntry, node, damage } of [...nodes, ...endOf(nodes, head.firstEntry)]) {
      if (firstEntry !== next) {
        if ((await run.look()).list.cleanedEntry > next) return 'look_again';
        reportMissing(run, next, firstEntry);
        totals = firstEntry === list.mergedEntry ? list.totals : undefined;
        open = undefined;
        next = firstEntry;
      }
      position.entry = next;
      if (firstEntry === head.firstEntry) break;
      const about = { storedAs: nodeName(run, firstEntry) };
      const wrong = damage ?? (node && contradiction(node));
      if (wrong !== undefined)
        run.reportHead({ ...about, kind: 'damaged_node', message: `Tail node ${firstEntry}: ${wrong}` });
      if (node !== undefined && firstEntry === list.mergedEntry && !sameTotals(node.before, list.totals))
        run.reportHead({
          kind: 'wrong_totals',
          storedAs: listName,
          message: `The segment list and the first tail node that is not merged, ${firstEntry}, disagree about the records before it: ${difference(list.totals, node.before)}.`,
        });
      else if (node !== undefined && totals !== undefined && !sameTotals(node.before, totals))
        run.reportHead({
          ...about,
          kind: 'wrong_totals',
          message: `Tail node ${firstEntry} does not begin where the one before ends: ${difference(totals, node.before)}.`,
        });
      const wrongTransactions = node && wrongInNode(run, head, node, aborted, open);
      if (wrongTransactions !== undefined) {
        if ((await run.look()).list.cleanedEntry > firstEntry) return 'look_again';
        run.reportHead({ ...about, ...wrongTransactions, kind: 'wrong_transactions' });
      }
      open = node && openAfterNode(node);
      totals = node && addTotals(node.before, node.entries);
      next += TAIL_NODE_ENTRIES;
      if (totals === undefined && next === list.mergedEntry) totals = list.totals;
      position.entry = next;
    }
    if (next < head.firstEntry && run.isOver()) return 'over';
  }
  const beforeTail = head.partitions.map(({ totalsBeforeTail }) => totalsBeforeTail);
  if (totals !== undefined && !sameTotals(totals, beforeTail))
    run.reportHead({
      kind: 'wrong_totals',
      storedAs: storedAs(headKey(run.name.topicId, run.name.headNumber)),
      message: `The head's tail does not begin where the ${head.firstEntry === list.mergedEntry ? 'segments' : 'tail nodes'} end: ${difference(totals, beforeTail)}.`,
    });
  if (isOpenWrong(head, open))
    run.reportHead({
      kind: 'wrong_transactions',
      storedAs: storedAs(headKey(run.name.topicId, run.name.headNumber)),
      message: 'The head has other open transactions before its tail than the tail nodes leave.',
    });
  return 'done';
}

/** The node before an entry, unless it may have been deleted. At most 1 Query. */
async function nodeBefore(run: Verification, list: SegmentList, entry: number): Promise<TailNode | undefined> {
  if (entry <= list.cleanedEntry) return undefined;
  const [before] = await readNodes(run, entry - TAIL_NODE_ENTRIES, entry);
  return before?.node;
}

/** The totals as of an entry, if the list or the node before tells them. */
function totalsAt(list: SegmentList, entry: number, before: TailNode | undefined): readonly SlotTotals[] | undefined {
  if (entry === list.mergedEntry) return list.totals;
  if (entry === 0) return [];
  return before && addTotals(before.before, before.entries);
}

function contradiction({ entries, once }: TailNode): string | undefined {
  if (entries.length !== TAIL_NODE_ENTRIES)
    return `it has ${entries.length} entries, and must have ${TAIL_NODE_ENTRIES}.`;
  const keys = entries.reduce((sum, { onceKeys }) => sum + onceKeys, 0);
  return keys === once.length ? undefined : `it has ${once.length} once keys, and its entries have ${keys}.`;
}

function reportMissing(run: Verification, from: number, to: number): void {
  const last = to - TAIL_NODE_ENTRIES;
  run.reportHead({
    kind: 'missing_node',
    storedAs: nodeName(run, from),
    message: from === last ? `Tail node ${from} is missing.` : `The tail nodes ${from} to ${last} are missing.`,
  });
}

function nodeName({ name: { topicId, headNumber } }: Verification, firstEntry: number): string {
  return storedAs({ pk: nodePartitionKey(topicId, headNumber), sk: nodeSortKey(firstEntry) });
}

function sameTotals(a: readonly SlotTotals[], b: readonly SlotTotals[]): boolean {
  return differingSlot(a, b) === undefined;
}

function differingSlot(a: readonly SlotTotals[], b: readonly SlotTotals[]): number | undefined {
  for (let slot = 0; slot < Math.max(a.length, b.length); slot++) {
    const [one, two] = [a[slot] ?? EMPTY_TOTALS, b[slot] ?? EMPTY_TOTALS];
    if (one.nextOffset !== two.nextOffset || one.bytes !== two.bytes || one.maxTimestampMs !== two.maxTimestampMs)
      return slot;
  }
  return undefined;
}

function difference(a: readonly SlotTotals[], b: readonly SlotTotals[]): string {
  const slot = differingSlot(a, b) ?? 0;
  const text = ({ nextOffset, bytes, maxTimestampMs }: SlotTotals): string =>
    `offset ${nextOffset}, ${bytes} bytes, timestamp ${maxTimestampMs}`;
  return `in slot ${slot} ${text(a[slot] ?? EMPTY_TOTALS)} against ${text(b[slot] ?? EMPTY_TOTALS)}`;
}

/** The checkpoint is read after the list, and only rises: so it is at least what it was when the list was written. */
async function checkCheckpoint(run: Verification, { mergedEntry }: SegmentList): Promise<void> {
  const key = checkpointKey(run.name.topicId, run.name.headNumber);
  const { attributes } = await run.ask(() => run.stores.items.get(key));
  const belowEntry = Number(attributes?.[CHECKPOINT.belowEntry] ?? 0);
  if (belowEntry >= mergedEntry) return;
  run.reportHead({
    kind: 'stale_checkpoint',
    storedAs: storedAs(key),
    message: `The states of producers are those of entry ${belowEntry}, and the entries below ${mergedEntry} are merged.`,
  });
}

async function checkDueItems(run: Verification, list: SegmentList): Promise<void> {
  for (const job of JOB_NAMES) {
    const due = list.due[job];
    if (due === undefined) continue;
    const key = dueKey(job, { ...run.name, dueAtMs: due.atMs, version: due.version });
    if ((await run.ask(() => run.stores.items.get(key))).attributes !== undefined) continue;
    // An item is deleted once the list names another.
    const now = (await run.look()).list.due[job];
    if (now?.version !== due.version || now.atMs !== due.atMs) continue;
    run.reportHead({
      kind: 'missing_due_item',
      storedAs: storedAs(key),
      message: `The due item of the job '${job}' is missing, so the job does not look at the head.`,
    });
  }
}

const PAGES_PER_QUERY = 100;

async function checkPages(run: Verification): Promise<void> {
  const { topicId, headNumber } = run.name;
  const pk = segmentsPartitionKey(topicId, headNumber);
  const isPage = ({ sk }: { readonly sk: string }): boolean => sk !== segmentListKey(topicId, headNumber).sk;
  for (let from = ''; ; ) {
    const found = await run.ask(() => run.stores.items.query({ pk, from, limit: PAGES_PER_QUERY }));
    const keys = found.items.filter(isPage).map(({ sk }) => ({ pk, sk }));
    if (keys.length > 0) await reportUnnamed(run, keys);
    if (!found.more) return;
    from = `${found.items.at(-1)?.sk}\0`;
  }
}

async function reportUnnamed(run: Verification, keys: readonly ItemKey[]): Promise<void> {
  const unnamed = namedPages(run, (await run.look()).list);
  for (const key of keys) {
    if (unnamed.has(key.sk)) continue;
    // It may have been garbage, and is deleted by now.
    if ((await run.ask(() => run.stores.items.get(key))).attributes === undefined) continue;
    if (namedPages(run, (await run.look()).list).has(key.sk)) continue;
    run.reportHead({ kind: 'orphan', storedAs: storedAs(key), message: 'Nothing names this page of segments.' });
  }
}

function namedPages({ name: { topicId, headNumber } }: Verification, list: SegmentList): Set<string> {
  const names = [
    ...list.slots.flatMap(({ pages }, slot) => pages.map((page) => ({ slot, ...page }))),
    ...[...list.garbage, ...list.announcements.flatMap((one) => one.names)].filter(({ what }) => what === 'page'),
  ];
  return new Set(names.map((one) => segmentPageKey(topicId, headNumber, one).sk));
}
