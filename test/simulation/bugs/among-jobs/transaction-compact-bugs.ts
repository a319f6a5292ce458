import type { PlantedBug } from '../planted-bug.ts';
import { besideTransactions } from './of-jobs.ts';

const TRANSACTIONS = 'shared/log/segment/compact/compact-transactions.ts';
const BATCH = 'shared/log/segment/compact/compact-batch.ts';
const PASS = 'shared/broker/jobs/compact/compaction-pass.ts';
const GROUP = 'shared/broker/jobs/compact/compact-group.ts';
const RECORDS = 'shared/log/batch/record-batch.ts';

/** Of the compaction of transactions. */
export const TRANSACTION_COMPACT_BUGS: readonly PlantedBug[] = [
  besideTransactions(
    'txn-compaction-keeps-what-was-aborted',
    'Compaction takes the batches of aborted transactions for others.',
    TRANSACTIONS,
    'if (isCompacted && aborted.of(header.producerId, baseOffset) !== undefined)',
    'if (!isCompacted && aborted.of(header.producerId, baseOffset) !== undefined)',
  ),
  besideTransactions(
    'txn-compaction-drops-what-was-committed-before-an-abort',
    'Compaction drops what a producer has committed, and then aborted another transaction.',
    GROUP,
    'const aborted = new AbortedBatches(lists[i] ?? []);',
    'const aborted = new AbortedBatches((lists[i] ?? []).map((one) => ({ ...one, firstOffset: 0 })));',
  ),
  besideTransactions(
    'txn-compaction-takes-another-producer-for-the-aborted-one',
    'Compaction drops what another producer than the one that aborted has written.',
    TRANSACTIONS,
    'if (isCompacted && aborted.of(header.producerId, baseOffset) !== undefined)',
    'if (isCompacted && aborted.of(header.producerId - 1, baseOffset) !== undefined)',
  ),
  besideTransactions(
    'txn-aborted-values-supersede-others',
    'An aborted record takes the place of the value that its key had before.',
    PASS,
    'if (transactional && aborted.of(producerId, batch.baseOffset) !== undefined) continue;',
    'if (transactional && aborted.of(producerId, batch.baseOffset)?.firstOffset === -1) continue;',
  ),
  besideTransactions(
    'txn-marker-dropped-at-once',
    'A marker goes in the first pass after the one that gave it its time.',
    TRANSACTIONS,
    'return options.nowMs < header.deleteHorizonMs',
    'return options.nowMs < 0',
  ),
  besideTransactions(
    'txn-marker-not-kept-for-its-delay',
    'The time of a marker comes as soon as it is set.',
    TRANSACTIONS,
    'header.deleteHorizonMs ?? deleteHorizon(header, options);',
    'header.deleteHorizonMs ?? options.nowMs;',
  ),
  besideTransactions(
    'txn-marker-dropped-before-its-batches',
    'A marker goes although batches of its transaction stay.',
    TRANSACTIONS,
    'return isCompacted && !hasBatches ? compactMarker(batch, options) : unchanged;',
    'return isCompacted || !hasBatches ? compactMarker(batch, options) : unchanged;',
  ),
  besideTransactions(
    'txn-marker-kept-for-good',
    'A marker of which no batch is left stays.',
    TRANSACTIONS,
    'const hasBatches = this.#withBatches.delete(header.producerId);',
    'const hasBatches = this.#withBatches.delete(header.producerId) || header.producerId > 0;',
  ),
  besideTransactions(
    'txn-batches-of-earlier-groups-forgotten',
    'A pass forgets between two groups of segments which transactions have batches.',
    PASS,
    'transactions = outcome.transactions;',
    'void outcome.transactions;',
  ),
  besideTransactions(
    'txn-compacted-segment-lists-nothing',
    'A segment of which a part is not compacted yet loses its list of aborted transactions.',
    GROUP,
    'const listed = stillListed(joinAborted(lists), rules);',
    'const listed = stillListed([], rules);',
  ),
  {
    ...besideTransactions(
      'txn-compacted-segment-lists-what-is-gone',
      'A segment of which no batch changes keeps its list of aborted transactions, whose markers may go.',
      GROUP,
      'return lists.some((list) => stillListed(list, rules).length < list.length);',
      'return lists.some((list) => stillListed(list, rules).length > list.length);',
    ),
    isUnmet: true,
  },
  {
    ...besideTransactions(
      'txn-transaction-beyond-the-map-compacted',
      'Batches of aborted transactions go although the pass does not reach them.',
      TRANSACTIONS,
      'const isCompacted = baseOffset < options.belowOffset;',
      'const isCompacted = baseOffset >= 0;',
    ),
    isUnmet: true,
  },
  besideTransactions(
    'txn-compaction-keeps-the-older-value',
    'Compaction drops the newest value of a key, and keeps the one before.',
    BATCH,
    'if (latest !== undefined && latest > record.offset) return false;',
    'if (latest !== undefined && latest === record.offset) return false;',
  ),
  besideTransactions(
    'txn-offsets-renumbered',
    'Compaction gives the records that are left offsets without gaps.',
    RECORDS,
    'const content = encodeRecords(records, header.baseOffset, baseTimestamp);',
    'const content = encodeRecords(records.map((one, i) => ({ ...one, offset: header.baseOffset + i })), header.baseOffset, baseTimestamp);',
  ),
];
