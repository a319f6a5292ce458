import { type Entry, type Head, TAIL_NODE_ENTRIES, writtenAtMs } from '../../log/head/head.ts';
import { type OpenTransactions, packAborted } from '../../log/head/open-transactions.ts';
import { HEAD, headKey } from '../../storage/keys.ts';
import type { ItemStore } from '../../storage/ports.ts';
import { ABORTED, abortedKey } from '../../storage/transaction-keys.ts';
import type { BrokerContext } from '../context.ts';
import { headFromAttributes, MissingNodeError, nodeFromAttributes, nodeKey, nodeToMove } from './items.ts';
import { type KnownHead, observeNow } from './known-head.ts';
import { keepNode, openBeforeTail } from './known-nodes.ts';
import { checkpointProducers } from './producers.ts';

/**
 * Moves the oldest eight entries into a tail node: 1 PutItem + 1 UpdateItem, and 1 PutItem more if they hold abort markers.
 * Movers may race: all write the same items. Does nothing if the head as it is known is too old to be moved.
 */
export async function moveTail(context: BrokerContext, known: KnownHead): Promise<void> {
  const { head, name } = known;
  if (head === undefined || head.closed || head.tail.length < TAIL_NODE_ENTRIES) return;
  const { items } = context.usage.of(known.topicName, 'move_tail');
  const open = await openToMove(context, items, known, head);
  if (open === undefined) return;
  const { firstEntry, node, aborted, updates, conditions } = nodeToMove(head, open);
  await items.put(nodeKey(name, firstEntry), node);
  // Readers and the next move ask for it, if the head cannot hold all open transactions.
  if (open.length > 0) keepNode(context, name, nodeFromAttributes(firstEntry, node));
  // Before the entries leave the tail, so that every reader finds an abort in one place or the other.
  if (aborted.length > 0)
    await items.put(abortedKey(name.topicId, name.headNumber, firstEntry), {
      [ABORTED.transactions]: packAborted(aborted),
    });
  const key = headKey(name.topicId, name.headNumber);
  const sentAtMs = context.clock.nowMs();
  const result = await items.update(key, updates, [
    { if: 'equals', name: HEAD.firstEntry, value: firstEntry },
    // What is left of the head of a deleted topic has no tail, and begins at 0 again.
    { if: 'absent', name: HEAD.closed },
    ...conditions,
  ]);
  known.see(headFromAttributes(result.attributes, head), sentAtMs);
  const end = firstEntry + TAIL_NODE_ENTRIES;
  // Refused or not, the node is there: another process was faster, or an earlier attempt whose reply was lost.
  noteBusy(context, known, head);
  if (result.ok && end % context.settings.checkpointEntries === 0)
    await checkpointProducers(items, name, end, context.clock.nowMs());
}

/** `undefined` if other processes have moved and merged so much since that the head must be observed again, which it then is. */
async function openToMove(
  context: BrokerContext,
  items: ItemStore,
  known: KnownHead,
  head: Head,
): Promise<OpenTransactions | undefined> {
  try {
    return await openBeforeTail(context, items, known.name, head);
  } catch (error) {
    if (!(error instanceof MissingNodeError)) throw error;
    await observeNow(context, known, items);
    return undefined;
  }
}

/** Whoever merges busy heads in this process finds the node that was just moved. */
function noteBusy({ busyHeads }: BrokerContext, { name }: KnownHead, { tail }: Head): void {
  const moved = tail.slice(0, TAIL_NODE_ENTRIES).map(({ entry }) => entry);
  busyHeads.moved({
    ...name,
    bytes: moved.flatMap(({ parts }) => parts).reduce((sum, { bytes }) => sum + bytes, 0),
    writtenAtMs: writtenAtMs(moved[0] as Entry),
  });
}

/**
 * Moves the tail in the background while it is long enough, so that the append that triggered the move does not wait. If a
 * move fails, or moves nothing, the next append starts it again. `track` is called with the work.
 */
export function moveTailLater(context: BrokerContext, known: KnownHead, track: (work: Promise<unknown>) => void): void {
  const isLong = (): boolean => !known.head?.closed && (known.head?.tail.length ?? 0) >= TAIL_NODE_ENTRIES;
  if (known.isMoving || !isLong()) return;
  known.isMoving = true;
  const move = async (): Promise<void> => {
    while (isLong()) {
      const before = known.head?.firstEntry;
      await moveTail(context, known);
      if (known.head?.firstEntry === before) return;
    }
  };
  track(
    move()
      .catch(() => {})
      .finally(() => {
        known.isMoving = false;
      }),
  );
}
