import type { PlantedBug } from './planted-bug.ts';

const BIND = 'shared/broker/transactions/append/bind.ts';
const APPEND = 'shared/broker/transactions/append/append-in-transaction.ts';
const COMPLETE = 'shared/broker/transactions/complete.ts';
const ITEMS = 'shared/broker/transactions/items.ts';
const TRANSITIONS = 'shared/log/transaction/transitions.ts';
const NAMES = 'shared/broker/transactions/producer-names.ts';
const PLAN = 'shared/log/head/plan-commit.ts';
const PRODUCER = 'shared/log/head/producer.ts';
const NODES = 'shared/broker/heads/known-nodes.ts';
const HEADS = 'shared/broker/heads/items.ts';
const ISOLATION = 'shared/broker/read/isolation.ts';
const COMMIT = 'shared/broker/transactions/offsets/commit-offsets.ts';
const COMMIT_PAGE = 'shared/broker/groups/offsets/commit-page.ts';
const PAGES = 'shared/broker/groups/offsets/pages.ts';
const SETTLE = 'shared/broker/groups/offsets/settle-page.ts';

function bug(name: string, why: string, file: string, from: string, to: string): PlantedBug {
  return { name, why, edits: [{ file, from, to }], of: 'transactions' };
}

export const TRANSACTION_BUGS: readonly PlantedBug[] = [
  bug(
    'txn-no-enlistment-before-the-write',
    'A batch is written to a head that is not enlisted.',
    BIND,
    'producer, participants: { heads }, isFresh });',
    'producer, participants: {}, isFresh });',
  ),
  bug(
    'txn-marker-key-not-demanded',
    'A batch does not demand that the marker of its transaction is absent.',
    PLAN,
    'adds.demandAbsent.push(markerOnceKey(producerId, transaction));',
    'void markerOnceKey;',
  ),
  bug(
    'txn-batch-ignores-the-marker',
    'A batch is planned behind the marker that the head is known to have.',
    PRODUCER,
    'batch.transaction <= (state?.ended ?? -1)',
    'batch.transaction <= -1',
  ),
  bug(
    'txn-ended-transaction-not-looked-up',
    'A head that has the marker is marked again.',
    PLAN,
    'state.ended >= transaction) return',
    'state.ended > transaction) return',
  ),
  bug(
    'txn-new-slot-key-not-demanded',
    'A marker does not demand that no slot was added.',
    PLAN,
    'adds.demandAbsent.push(key, newSlotOnceKey(producerId, transaction, marker.slots.length));',
    'adds.demandAbsent.push(key);',
  ),
  bug(
    'txn-finished-before-the-last-mark',
    'A transaction is finished while its last participant is being given its outcome.',
    COMPLETE,
    'const failures = (await eachOf(tasks, failureOf))',
    'void eachOf(tasks.slice(-1), failureOf); const failures = (await eachOf(tasks.slice(0, -1), failureOf))',
  ),
  bug(
    'txn-finished-although-one-failed',
    'A transaction is finished although a participant could not be given its outcome.',
    COMPLETE,
    'if (failure !== undefined)',
    "if (failure?.code === 'internal')",
  ),
  bug(
    'txn-moved-whatever-the-phase',
    'A transaction is ended whatever its phase has become.',
    ITEMS,
    "{ if: 'equals', name: TRANSACTION.phase, value: TRANSACTION_PHASES.indexOf(seen.phase) },",
    '',
  ),
  bug(
    'txn-participants-not-compared',
    'Participants that another process has added meanwhile are lost.',
    ITEMS,
    'if (seen.participants !== next.participants)',
    'if (seen.participants === undefined)',
  ),
  {
    name: 'txn-last-stable-offset-from-memory',
    why: 'The open transactions of a head are those that it had when it was read before.',
    edits: [
      {
        file: NODES,
        from: 'const known = FOLLOWED.get(head);',
        to: 'const known = LAST.get(cacheKey(name, head.firstEntry));',
      },
      {
        file: NODES,
        from: 'FOLLOWED.set(head, followed);',
        to: 'LAST.set(cacheKey(name, head.firstEntry), followed);',
      },
      { file: NODES, from: 'const FOLLOWED = new WeakMap<Head, HeadTransactions>();', to: 'const LAST = new Map();' },
    ],
    of: 'transactions',
  },
  bug(
    'txn-aborted-list-cut-at-a-tail-move',
    'What was aborted is forgotten when the tail is moved.',
    HEADS,
    'node, aborted: followed.aborted, updates, conditions };',
    'node, aborted: [], updates, conditions };',
  ),
  bug(
    'txn-aborting-node-not-noted',
    'The head does not say that a node has aborted transactions.',
    HEADS,
    'if (followed.aborted.length > 0) updates',
    'if (followed.aborted.length > 99) updates',
  ),
  bug(
    'txn-open-list-not-kept-at-a-tail-move',
    'What is open is forgotten when the tail is moved.',
    HEADS,
    'if (followed.open.length > 0) {',
    'if (followed.open.length > 99) {',
  ),
  bug(
    'txn-aborted-by-its-beginning',
    'A read that begins within an aborted transaction shows the rest of it.',
    ISOLATION,
    'lastOffset >= offset && firstOffset < nextOffset',
    'lastOffset >= offset && firstOffset < nextOffset && firstOffset >= offset',
  ),
  bug(
    'txn-read-to-the-high-watermark',
    'A read of committed records goes to the high watermark.',
    ISOLATION,
    "return isolation === 'read_committed' ? lastStableOffset : highWatermark;",
    'return isolation === null ? lastStableOffset : highWatermark;',
  ),
  bug(
    'txn-held-up-reader-does-nothing',
    'A reader that is held up does not end what is overdue.',
    ISOLATION,
    'context.heldUp.metByReader(oldest,',
    'context.heldUp.metByReader(oldest.slice(oldest.length),',
  ),
  bug(
    'txn-offsets-committed-before-the-commit-point',
    'An offset in a transaction is committed at once.',
    COMMIT_PAGE,
    'const present = { ...judge.claimOf(seen), committed: seen.committed };',
    'const present = { ...judge.claimOf(seen), committed };',
  ),
  {
    ...bug(
      'txn-offset-of-a-former-owner',
      'A member that has lost the partition commits an offset in a transaction.',
      COMMIT,
      "return isLate ? 'done' : this.#judge.decide(entry, slot, false);",
      "return isLate ? 'done' : 'write';",
    ),
    isUnmet: true,
  },
  bug(
    'txn-settles-any-pending-offset',
    'The end of a transaction settles the pending offsets of others too.',
    SETTLE,
    'if (pending?.producerId !== producerId || pending.transaction !== number) return [];',
    'if (seen === undefined || pending === undefined) return [];',
  ),
  bug(
    'txn-page-not-compared',
    'An offset is made pending whatever its slot has become.',
    PAGES,
    "conditions.push({ if: 'equals', name: OFFSET_PAGE.tag(slot), value: seen.tag });",
    'void seen;',
  ),
  bug(
    'txn-timeout-keeps-the-epoch',
    'A producer whose transaction was aborted because its time was up goes on.',
    TRANSITIONS,
    '{ raisesEpoch: true, by: undefined }), isDone: false };',
    '{ raisesEpoch: false, by: undefined }), isDone: false };',
  ),
  bug(
    'txn-end-of-any-epoch',
    'A producer that was fenced ends the transaction of another one.',
    TRANSITIONS,
    'return isSame(seen.producer, producer) ? undefined : fenced(seen, producer);',
    'return undefined;',
  ),
  bug(
    'txn-append-to-a-topic-made-again',
    'A batch goes to the topic that has the name by then, which is not enlisted.',
    APPEND,
    'return { ...given, topicId: given.topicId ?? topicId };',
    'return given;',
  ),
  bug(
    'txn-remembered-transaction-not-refreshed',
    'A batch of the next transaction is refused, since the process remembers the one before.',
    APPEND,
    'if (!isRemembered || refused.length === 0) return outcomes;',
    'if (refused.length >= 0) return outcomes;',
  ),
  bug(
    'txn-last-epoch-goes-on',
    'A producer goes on with the epoch that is for the last markers only.',
    TRANSITIONS,
    'if (producerEpoch < TRANSACTIONAL_EPOCH_MAX)',
    'if (producerEpoch <= TRANSACTIONAL_EPOCH_MAX)',
  ),
  bug(
    'txn-used-up-producer-id-kept',
    'A producer whose epochs are used up begins again under its producer id.',
    TRANSITIONS,
    '{ producerId: newProducerId, producerEpoch: 0 };',
    '{ producerId, producerEpoch: 0 };',
  ),
  bug(
    'txn-used-up-epoch-not-noticed',
    'The end of a transaction leaves the last epoch to its producer.',
    TRANSITIONS,
    'const isOver = seen.producer.producerEpoch > TRANSACTIONAL_EPOCH_MAX;',
    'const isOver = seen.producer.producerEpoch < 0;',
  ),
  bug(
    'txn-next-producer-id-without-a-name',
    'A producer id that follows one that was used up does not lead to its transactional id.',
    NAMES,
    'await putName(context, items, producerId, transactionalId);\n  return producerId;',
    'return producerId;',
  ),
  bug(
    'txn-name-of-the-next-producer-id-forgotten',
    'The end of a transaction forgets the name of the producer id that it gives, and keeps the old one.',
    COMPLETE,
    'isUsed ? producerId : next.producer.producerId);',
    'isUsed ? next.producer.producerId : producerId);',
  ),
];
