import { expect } from 'vitest';
import {
  type Access,
  ADMIN,
  CHECK_KEYS,
  COMPACT,
  CONSUME,
  EXPIRE,
  MAINTAIN,
  MANAGE_KEYS,
  MERGE,
  PRODUCE,
  SERVE_KAFKA,
  SWEEP,
  SWEEP_HOT,
  SWEEP_TOPICS,
  VERIFY,
  VISIT,
} from '../../../infra/constructs/access.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import { readSegmentList, updateSegmentList } from '../../../shared/broker/heads/segment-list-store.ts';
import { compactHead } from '../../../shared/broker/jobs/compact/compact-head.ts';
import { expireHead } from '../../../shared/broker/jobs/expire/expire-head.ts';
import { GRACE_MS } from '../../../shared/broker/jobs/grace.ts';
import { runDue } from '../../../shared/broker/jobs/run-due.ts';
import { sweepDeletedTopics } from '../../../shared/broker/jobs/sweep/deleted-topics.ts';
import { sweepHotOrphans } from '../../../shared/broker/jobs/sweep/hot-orphans.ts';
import { sweepHead } from '../../../shared/broker/jobs/sweep/sweep-head.ts';
import { batchIdRandomBytes, makeBatchId } from '../../../shared/log/head/batch-id.ts';
import { packSharers } from '../../../shared/log/head/sharers.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { schedule } from '../../../shared/log/segment/list-changes.ts';
import type { Topic } from '../../../shared/log/topic/topic.ts';
import * as keys from '../../../shared/storage/keys.ts';
import { cleanMerged } from '../../support/clean-merged.ts';
import { faultyStores } from '../../support/faulty-stores.ts';
import { jobContext, mergeBooks, spillBooks } from '../../support/maintained-log.ts';
import { bytes, type MemoryStores, memoryBroker } from '../../support/memory-broker.ts';
import { MergedLog } from '../../support/merged-log.ts';
import { abortTransaction, appended, beginTransaction, LARGE, record, seed } from './access-seeds.ts';

/** More partitions than one head has, so that an append can concern two heads. */
const PARTITIONS = 32;

/** What a role is for, done over stores that refuse everything else. */
export interface Work {
  readonly name: string;
  readonly access: Access;
  /** Unguarded, beforehand. */
  prepare?(broker: Broker, stores: MemoryStores): Promise<void>;
  run(broker: Broker, stores: MemoryStores): Promise<void>;
}

/** At least one for each access; together they use each permission. */
export const WORKS: readonly Work[] = [
  {
    name: 'produce',
    access: PRODUCE,
    prepare: async (broker) => {
      await broker.putTopic({ name: 'orders', partitions: PARTITIONS });
      await abortTransaction(broker);
    },
    async run(broker) {
      // Two heads that share an object.
      await appended(broker, [record(0, LARGE), record(16, LARGE)]);
      // A repeat that is found in the tail nodes, and one that is answered from its note.
      for (let i = 0; i < 2; i++) await appended(broker, [record(1)], { idempotencyKey: 'key' });
      // One that is rejected and shut out, and corrected under its key; one that is not valid.
      await expect(appended(broker, [record(3)], { idempotencyKey: 'early', expectedOffset: 9 })).rejects.toThrow(
        'offset',
      );
      await appended(broker, [record(3)], { idempotencyKey: 'early', expectedOffset: 0 });
      await expect(appended(broker, [record(PARTITIONS)], { idempotencyKey: 'other' })).rejects.toThrow('partition');
      const producerId = await broker.allocateProducerId();
      // A second batch that arrives first: how young the id is decides.
      const second = { producer: { producerId, producerEpoch: 0, baseSequence: 1 } };
      await expect(appended(broker, [record(4)], second)).rejects.toThrow('sequence');
      // As many commits as it takes until the states of producers are written down.
      for (let i = 0; i < 530; i++)
        await appended(broker, [record(2)], { producer: { producerId, producerEpoch: 0, baseSequence: i } });
      await broker.idle();
    },
  },
  {
    name: 'produce, by a process that knows nothing yet',
    access: PRODUCE,
    prepare: async (broker) => {
      await broker.putTopic({ name: 'orders', partitions: PARTITIONS });
      for (let i = 0; i < 530; i++)
        await appended(broker, [record(2)], { producer: { producerId: 7, producerEpoch: 0, baseSequence: i } });
      await broker.idle();
    },
    async run(broker) {
      await appended(broker, [record(2)], { producer: { producerId: 7, producerEpoch: 0, baseSequence: 530 } });
      await broker.idle();
    },
  },
  {
    name: 'produce, by a retry whose tail nodes have been merged and deleted',
    access: PRODUCE,
    prepare: async (broker, stores) => {
      await broker.putTopic({ name: 'orders', partitions: PARTITIONS });
      const losing = faultyStores(stores, ({ method, key }) =>
        method === 'update' && key.startsWith('idempotency#') ? { fault: 'lost_request' } : undefined,
      );
      await appended(memoryBroker(losing), [record(2)], { idempotencyKey: 'key' });
      for (let i = 0; i < 30; i++) await appended(broker, [record(2)]);
      await broker.idle();
      await cleanMerged(stores, (await broker.describeTopic('orders')).topicId);
    },
    async run(broker) {
      await appended(broker, [record(2)], { idempotencyKey: 'key' });
    },
  },
  {
    name: 'consume',
    access: CONSUME,
    async prepare(broker, stores) {
      await broker.putTopic({ name: 'orders', partitions: 4 });
      const log = new MergedLog(stores, (await broker.describeTopic('orders')).topicId);
      // Partition 2 in a page of segments and in a segment.
      for (let i = 0; i < 16; i++) {
        await appended(broker, [record(2)]);
        await broker.idle();
        if (i % 8 === 7) await log.merge();
      }
      await log.spill(2, 1);
      await abortTransaction(broker);
      await seed(broker);
    },
    async run(broker) {
      for (const offset of [0, 30, 39]) {
        const { batches } = await broker.read({ topic: 'orders', partition: 0, from: { offset } });
        for await (const batch of batches) expect(batch.endOffset).toBeGreaterThan(batch.baseOffset);
      }
      const { batches } = await broker.read({ topic: 'orders', partition: 1, from: { offset: 0 } });
      for await (const batch of batches) expect(batch.bytes.length).toBeGreaterThan(LARGE);
      for (const offset of [0, 8]) {
        const { batches } = await broker.read({ topic: 'orders', partition: 2, from: { offset } });
        for await (const batch of batches) expect(batch.endOffset).toBeGreaterThan(batch.baseOffset);
      }
      await broker.offsetForTime('orders', 0, 1);
      await broker.offsetForTime('orders', 2, 1);
      await broker.listSegments('orders');
      await broker.planFetch({
        topic: 'orders',
        partitions: [
          { partition: 0, offset: 0 },
          { partition: 1, offset: 0 },
          { partition: 2, offset: 0 },
        ],
      });
      await broker.listTopics();
      await broker.describeTopic('orders');
      await broker.describePartitions('orders');
      await broker.follow({
        topics: [{ topic: 'orders', partitions: 'all', from: { tail: 0 } }],
        turnBytes: 1_000,
        lookMs: 1_000,
        signal: AbortSignal.abort(),
      });
    },
  },
  {
    name: 'admin',
    access: ADMIN,
    async prepare(broker, stores) {
      await seed(broker);
      const { topicId } = await broker.describeTopic('orders');
      await updateSegmentList(jobContext(stores), stores.items, { topicId, headNumber: 0 }, (list) => ({
        list: schedule(list, 'expire', stores.clock.nowMs() + 1_000_000),
        result: undefined,
      }));
    },
    async run(broker) {
      await broker.putTopic({ name: 'new', partitions: 2 });
      await broker.putTopic({ name: 'new', partitions: 3, config: { 'retention.ms': 1_000 } });
      await broker.listTopics();
      await broker.describeTopic('new');
      await broker.describePartitions('orders');
      await broker.putTopic({ name: 'orders', config: { 'retention.ms': 1_000 } });
      await broker.deleteRecords({ topic: 'orders', partition: 0, before: 1 });
      await broker.deleteTopic('orders');
      await broker.putTopic({ name: 'orders' });
    },
  },
  {
    name: 'verify',
    access: VERIFY,
    async prepare(broker, stores) {
      await seed(broker);
      const { topicId } = await broker.describeTopic('orders');
      await broker.mergeHead(topicId, 0, { force: true });
      await seed(broker);
      await stores.objects.put(keys.segmentObjectKey(topicId, 2, 0, 1), [bytes('orphan')]);
    },
    async run(broker) {
      expect((await broker.verifyTopic('orders')).problems).toMatchObject([{ kind: 'orphan' }]);
    },
  },
  {
    name: 'manage keys',
    access: MANAGE_KEYS,
    async run(broker) {
      const { id } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
      expect((await broker.listApiKeys()).items).toHaveLength(1);
      await broker.revokeApiKey(id);
    },
  },
  {
    name: 'check keys',
    access: CHECK_KEYS,
    async run(broker) {
      await broker.verifyApiKey(`tlr_${'0'.repeat(16)}_${'x'.repeat(43)}`);
    },
  },
  {
    name: 'serve Kafka',
    access: SERVE_KAFKA,
    async run(broker) {
      const clusterId = await broker.clusterId();
      expect(await broker.saltSecret()).toHaveLength(32);
      expect(await broker.clusterId()).toBe(clusterId);
      await broker.announceGateway({ id: 'a', host: 'localhost', port: 9_092, beat: 0 });
      expect(await broker.announcedGateways()).toHaveLength(1);
      await broker.withdrawGateway('a');
    },
  },
  {
    name: 'merge',
    access: MERGE,
    prepare: seedNodes,
    async run(broker, { clock }) {
      // Nothing is due yet, so the head is scheduled.
      await broker.mergeHead(mergedTopicId, 0);
      await clock.sleep(2 * 3_600_000);
      const { results } = await broker.runMerges();
      expect(results).toMatchObject([{ nodesMerged: 4, segmentsJoined: 16 }]);
    },
  },
  {
    name: 'merge up to an open transaction, of which the abort of another one comes behind',
    access: MERGE,
    async prepare(broker) {
      await broker.putTopic({ name: 'orders', partitions: 4 });
      mergedTopicId = (await broker.describeTopic('orders')).topicId;
      const passOn = async () => {
        for (let i = 0; i < 16; i++) await appended(broker, [record(0)]);
        await broker.idle();
      };
      const first = await beginTransaction(broker, 'x');
      await passOn();
      await beginTransaction(broker, 'y');
      await passOn();
      await broker.endTransaction({ transactionalId: 'x', producer: first, outcome: 'aborted', raisesEpoch: true });
      await passOn();
    },
    async run(broker) {
      expect(await broker.mergeHead(mergedTopicId, 0, { force: true })).toMatchObject({ nodesMerged: 2 });
    },
  },
  {
    name: 'maintain',
    access: MAINTAIN,
    async prepare(broker, { items }) {
      for (const name of ['a', 'b', 'c']) await broker.putTopic({ name, partitions: PARTITIONS });
      for (const name of ['a', 'c'])
        await items.update(keys.topicKey(name), [{ do: 'set', name: keys.TOPIC.deleting, value: 1 }]);
      await broker.putTopic({ name: 'd' });
      await broker.deleteTopic('d');
      // Long ago.
      await items.update(keys.topicKey('d'), [{ do: 'set', name: keys.TOPIC.deletedAtMs, value: 1 }]);
    },
    async run(broker, stores) {
      // Stopped after its first deletion, so that it notes how far it came.
      const stop = new AbortController();
      const stopping = memoryBroker({
        ...stores,
        items: {
          ...stores.items,
          update: (key, updates) => {
            if (key.pk === keys.TOPICS) stop.abort();
            return stores.items.update(key, updates);
          },
        },
      });
      await stopping.resumeDeletions({ signal: stop.signal });
      await broker.resumeDeletions();
    },
  },
  {
    name: 'visits of the heads that are due',
    access: VISIT,
    async prepare(broker, stores) {
      await broker.putTopic({ name: 'orders' });
      await appended(broker, [record(0)]);
      const dueAtMs = stores.clock.nowMs();
      await stores.items.put(keys.dueKey('merge', { topicId: 'gone', headNumber: 0, dueAtMs, version: 0 }), {});
    },
    async run(_, stores) {
      await stores.clock.sleep(2 * 3_600_000);
      const { results } = await runDue(jobContext(stores), 'merge', async ({ clock }, { topicId }, headNumber) => ({
        list: await readSegmentList(stores.items, { topicId, headNumber }),
        nextAtMs: clock.nowMs() + 1,
      }));
      expect(results).toHaveLength(1);
    },
  },
  {
    name: 'compact',
    access: COMPACT,
    async prepare(broker, stores) {
      await broker.putTopic({
        name: 'orders',
        config: { 'cleanup.policy': 'compact', 'min.cleanable.dirty.ratio': 0 },
      });
      mergedTopicId = (await broker.describeTopic('orders')).topicId;
      for (let i = 0; i < 16; i++) await appended(broker, [{ ...record(0), key: bytes(`key ${i % 3}`) }]);
      await broker.idle();
      await broker.mergeHead(mergedTopicId, 0, { force: true });
      ORDERS.topic = await jobContext(stores).topics.get('orders');
    },
    async run(_, stores) {
      expect(await compactHead(jobContext(stores), ORDERS.topic, 0)).toMatchObject({ passes: 1, recordsDropped: 13 });
    },
  },
  {
    name: 'retention',
    access: EXPIRE,
    prepare: seedMaintained,
    async run(_, stores) {
      const context = jobContext(stores);
      const { list } = await expireHead(context, ORDERS.topic, 0);
      expect(list.garbage.filter(({ what }) => what === 'page')).not.toEqual([]);
      expect(list.dropBelow).toBeGreaterThan(0);
    },
  },
  {
    name: 'sweep of a head',
    access: SWEEP,
    async prepare(broker, stores) {
      await seedMaintained(broker, stores);
      await expireHead(jobContext(stores), ORDERS.topic, 0);
      const { topicId } = ORDERS.topic;
      const orphan = makeBatchId(new Uint8Array(batchIdRandomBytes()), 1);
      await stores.items.put(keys.inlineBatchKey(topicId, 0, orphan), { [keys.INLINE_BATCH.data]: bytes('x') });
      await stores.clock.sleep(GRACE_MS);
    },
    async run(_, stores) {
      const context = jobContext(stores);
      for (const headNumber of [0, 1]) {
        const swept = await sweepHead(context, ORDERS.topic, headNumber);
        if (headNumber === 0)
          expect(Math.min(swept.garbageDeleted, swept.nodesDeleted, swept.orphansDeleted)).toBeGreaterThan(0);
      }
    },
  },
  {
    name: 'sweep of hot objects',
    access: SWEEP_HOT,
    async prepare(broker, stores) {
      const { objects, clock } = stores;
      await seed(broker);
      const id = makeBatchId(new Uint8Array(batchIdRandomBytes()), clock.nowMs());
      await objects.put(keys.sharedObjectKey(id), [packSharers([{ topicId: 'gone', headNumber: 0 }])]);
      const { topicId } = await broker.describeTopic('orders');
      await objects.put(keys.hotObjectKey(id, topicId, 0), [bytes('x')]);
      await clock.sleep(48 * 3_600_000);
    },
    async run(_, stores) {
      expect(await sweepHotOrphans(jobContext(stores))).toMatchObject({ orphansDeleted: 2 });
    },
  },
  {
    name: 'sweep of deleted topics',
    access: SWEEP_TOPICS,
    async prepare(broker, stores) {
      await seedMaintained(broker, stores);
      const { topicId } = ORDERS.topic;
      await stores.items.put(keys.producerKey(topicId, 0, 1), {});
      await stores.items.put(keys.useKey(topicId, 0, 'ab'), {});
      await broker.deleteTopic('orders');
      await stores.clock.sleep(3_600_000);
    },
    async run(_, stores) {
      expect(await sweepDeletedTopics(jobContext(stores))).toMatchObject({ topicsSwept: 1 });
    },
  },
];

/** The topic of `seedMaintained`. */
const ORDERS = { topic: undefined as unknown as Topic };

/** Two heads with a shared object, pages and segments that have expired, and unmerged entries that have too. */
async function seedMaintained(broker: Broker, stores: MemoryStores): Promise<void> {
  await broker.putTopic({ name: 'orders', partitions: PARTITIONS, config: { 'retention.ms': 3_600_000 } });
  const context = jobContext(stores);
  ORDERS.topic = await context.topics.get('orders');
  await abortTransaction(broker);
  await appended(broker, [record(0, LARGE), record(16, LARGE)]);
  await appended(broker, [record(0, LARGE)]);
  for (let i = 0; i < 6; i++) await appended(broker, [record(0)]);
  for (let i = 0; i < 7; i++) await appended(broker, [record(16)]);
  await broker.idle();
  await mergeBooks(context, ORDERS.topic, 1);
  for (let i = 0; i < 130; i++) {
    await mergeBooks(context, ORDERS.topic, 0);
    for (let j = 0; j < 8; j++) await appended(broker, [record(0)]);
    await broker.idle();
  }
  await spillBooks(context, ORDERS.topic, 0);
  await stores.clock.sleep(2 * 3_600_000);
}

let mergedTopicId = '';

/** Appends as many records as it takes until nodes are moved, some of them with what a node must not be lost for. */
async function seedNodes(broker: Broker): Promise<void> {
  await broker.putTopic({ name: 'orders', partitions: 4 });
  mergedTopicId = (await broker.describeTopic('orders')).topicId;
  const producerId = await broker.allocateProducerId();
  // Seven small segments of each partition, and what makes the eighth, so that they are joined.
  for (let i = 0; i < 8 * 16; i++) {
    await appended(broker, [record(0)], { producer: { producerId, producerEpoch: 0, baseSequence: i } });
    await appended(broker, [record(1, LARGE)], { idempotencyKey: `key ${i}` });
    await broker.idle();
    if (i % 16 === 15 && i < 7 * 16) await broker.mergeHead(mergedTopicId, 0, { force: true });
  }
}
