import { expect, it } from 'vitest';
import { batchIdRandomBytes, makeBatchId } from '../../../shared/log/head/batch-id.ts';
import * as groupKeys from '../../../shared/storage/group-keys.ts';
import * as keys from '../../../shared/storage/keys.ts';
import * as transactionKeys from '../../../shared/storage/transaction-keys.ts';

/** The kinds of keys that permissions are written in. */

it('tells kinds apart by their keys, all of them', () => {
  const batchId = makeBatchId(new Uint8Array(batchIdRandomBytes()), 1_700_000_000_000);
  const examples: Record<keys.ItemKind, string> = {
    topic: keys.topicKey('orders').pk,
    head: keys.headKey('id', 0).pk,
    node: keys.nodePartitionKey('id', 0),
    inlineBatch: keys.inlineBatchKey('id', 0, batchId).pk,
    reference: keys.referenceKey(batchId).pk,
    checkpoint: keys.checkpointKey('id', 0).pk,
    producer: keys.producerKey('id', 0, 1).pk,
    idempotency: keys.idempotencyKey('id', 'ab').pk,
    segments: keys.segmentListKey('id', 0).pk,
    use: keys.useKey('id', 0, 'ab').pk,
    due: keys.duePartitionKey('merge', 0),
    garbage: keys.garbageKey(1, 'x').pk,
    job: keys.jobKey('x').pk,
    counter: keys.PRODUCER_ID_COUNTER.pk,
    cluster: keys.CLUSTER_KEY.pk,
    gateway: keys.gatewayKey('x').pk,
    apiKey: keys.apiKeyKey('0123456789abcdef').pk,
    groupListing: groupKeys.groupListingKey('g').pk,
    group: groupKeys.groupKey('a#b').pk,
    member: groupKeys.memberPartitionKey('a#b'),
    target: groupKeys.targetPartitionKey('a#b'),
    offsets: groupKeys.offsetsPartitionKey('a#b'),
    transaction: transactionKeys.transactionKey('a#b').pk,
    transactionListing: transactionKeys.transactionListingKey('a').pk,
    producerName: transactionKeys.producerNameKey(7).pk,
    aborted: transactionKeys.abortedPartitionKey('id', 0),
  };
  for (const [kind, pk] of Object.entries(examples)) {
    const matching = Object.entries(keys.ITEM_PATTERNS).filter(([, pattern]) => glob(pattern).test(pk));
    expect(matching.map(([name, pattern]) => [name, pattern])).toEqual([[kind, pk.replace(/#.*/, '#*')]]);
  }
  expect(keys.hotObjectKey(batchId, 'id', 0)).toMatch(glob(keys.OBJECT_PATTERNS.hot));
  expect(keys.sharedObjectKey(batchId)).toMatch(glob(keys.OBJECT_PATTERNS.hot));
  expect(keys.segmentObjectKey('id', 0, 1, 2)).toMatch(glob(keys.OBJECT_PATTERNS.segment));
});

function glob(pattern: string): RegExp {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
}
