import type { PlantedBug } from '../planted-bug.ts';
import { besideTransactions } from './of-jobs.ts';

const STABLE = 'shared/broker/jobs/merge/stable-nodes.ts';
const INDEX = 'shared/log/segment/segment-index.ts';
const ABORTED = 'shared/log/segment/aborted.ts';
const EXPIRE = 'shared/broker/jobs/expire/find-expired.ts';
const SWEEP = 'shared/broker/jobs/sweep/sweep-head.ts';
const IDS = 'shared/broker/transactions/sweep-transactions.ts';
const TRANSITIONS = 'shared/log/transaction/transitions.ts';
const ISOLATION = 'shared/broker/read/isolation.ts';
const PLAN = 'shared/broker/read/plan-fetch.ts';
const VIEW = 'shared/broker/read/view-partitions.ts';
const VERIFY = 'shared/broker/verify/check-transactions.ts';

/** Of merges, retention, sweeps and verification beside transactions, and of what reads what they leave. */
export const TRANSACTION_JOB_BUGS: readonly PlantedBug[] = [
  besideTransactions(
    'txn-merge-passes-the-last-stable-offset',
    'A merge takes the node in which the last stable offset lies.',
    STABLE,
    'return { stable: nodes.slice(0, i), heldUpBy',
    'return { stable: nodes.slice(0, i + 1), heldUpBy',
  ),
  besideTransactions(
    'txn-merge-ignores-open-transactions',
    'A merge takes all nodes, whatever is open.',
    STABLE,
    'if (first === undefined) continue;',
    'if (first === undefined || i >= 0) continue;',
  ),
  besideTransactions(
    'txn-aborted-list-cut-at-a-merge',
    'A merge forgets the transactions that were aborted within its nodes.',
    STABLE,
    'const found = [...aborted];',
    'const found = aborted.slice(0, 0);',
  ),
  besideTransactions(
    'txn-aborted-in-later-nodes-forgotten',
    'A merge forgets the transactions whose abort markers are in later nodes.',
    STABLE,
    'found.push(...[...inNodes, ...inTail].filter(',
    'found.push(...[...inNodes.slice(0, 0), ...inTail].filter(',
  ),
  besideTransactions(
    'txn-aborted-in-the-tail-forgotten',
    'A merge forgets the transactions whose abort markers are in the tail.',
    STABLE,
    'found.push(...[...inNodes, ...inTail].filter(',
    'found.push(...[...inNodes, ...inTail.slice(0, 0)].filter(',
  ),
  besideTransactions(
    'txn-open-before-the-merge-forgotten',
    'A merge does not know what was open before its first node.',
    STABLE,
    'followTransactions(first.openBefore, nodes.flatMap(placeNode))',
    'followTransactions([], nodes.flatMap(placeNode))',
  ),
  {
    ...besideTransactions(
      'txn-join-forgets-what-was-aborted',
      'Segments that are joined lose their lists of aborted transactions.',
      INDEX,
      'aborted: joinAborted(indexes.map(({ aborted }) => aborted)) };',
      'aborted: joinAborted([]) };',
    ),
    isUnmet: true,
  },
  besideTransactions(
    'txn-segment-lists-only-what-begins-in-it',
    'A segment does not list an aborted transaction that has begun before it.',
    ABORTED,
    'firstOffset < endOffset && lastOffset >= startOffset);',
    'firstOffset < endOffset && firstOffset >= startOffset);',
  ),
  besideTransactions(
    'txn-aborted-items-deleted-before-the-merge',
    'A sweep deletes the lists of what nodes abort before these are merged.',
    SWEEP,
    'await this.#deleteLateAborted(list.cleanedEntry);',
    'await this.#deleteLateAborted(list.cleanedEntry + 1_000_000);',
  ),
  besideTransactions(
    'txn-retention-passes-an-open-transaction',
    'What is old expires although its transaction is open.',
    EXPIRE,
    'if (endOffset > lastStableOffsetOf(search.open, slot, endOffset)) {',
    'if (endOffset > lastStableOffsetOf([], slot, endOffset)) {',
  ),
  besideTransactions(
    'txn-sweep-retires-an-id-in-use',
    'A transactional id is given up although it was used a moment ago.',
    IDS,
    'if (isUsed && nowMs - seen.usedAtMs < UNUSED_KEPT_MS) return false;',
    'if (isUsed && nowMs < seen.usedAtMs) return false;',
  ),
  {
    ...besideTransactions(
      'txn-retired-whatever-it-has-become',
      'A transactional id is given up although a producer has begun since it was read.',
      IDS,
      'createTransaction(items, next) : changeTransaction(items, seen, next),',
      'createTransaction(items, next) : readTransaction(items, transactionalId).then((now = seen) => changeTransaction(items, now, retired(now, nowMs))),',
    ),
    isUnmet: true,
  },
  besideTransactions(
    'txn-retired-id-goes-on',
    'A producer is initialised under a transactional id that was given up as if it was not.',
    TRANSITIONS,
    "if (seen === undefined || seen.isRetired) return { do: 'create' };",
    "if (seen === undefined) return { do: 'create' };",
  ),
  besideTransactions(
    'txn-listing-deleted-of-an-id-made-again',
    'A sweep deletes the listing of a transactional id that was initialised again since.',
    IDS,
    "{ if: 'equals', name: TRANSACTION_LISTING.producerId, value: listedId },",
    '',
  ),
  besideTransactions(
    'txn-segments-count-as-committed',
    'A read of segments does not ask for what was aborted in them.',
    ISOLATION,
    "if (piece.type === 'segment') aborted.push(",
    "if (piece.type !== 'segment') continue; else if (piece.place === undefined) aborted.push(",
  ),
  besideTransactions(
    'txn-plan-without-aborted',
    'A fetch plan does not say what was aborted.',
    PLAN,
    'const aborted = isCommitted ? await abortedIn(context, view, plan, offset) : [];',
    'const aborted = isCommitted ? (await abortedIn(context, view, plan, offset)).slice(0, 0) : [];',
  ),
  besideTransactions(
    'txn-plan-to-the-high-watermark',
    'A fetch plan for committed records goes to the high watermark.',
    PLAN,
    'const endOffset = endFor(view, isolation);',
    "const endOffset = endFor(view, 'read_uncommitted');",
  ),
  besideTransactions(
    'txn-last-stable-offset-below-the-start',
    'Where records of an open transaction were deleted, the last stable offset is below the log start offset.',
    VIEW,
    'Math.max(logStartOffset, lastStableOffsetOf(open, slot, nextOffset))',
    'lastStableOffsetOf(open, slot, nextOffset)',
  ),
  besideTransactions(
    'txn-verify-ignores-compaction',
    'A verification misses the batches of aborted transactions that compaction has dropped.',
    VERIFY,
    'if (isInBlock(firstOffset) && !isFirst && !isCompacted)',
    'if (isInBlock(firstOffset) && !isFirst)',
  ),
];
