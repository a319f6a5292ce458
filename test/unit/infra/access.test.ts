import { describe, expect, it } from 'vitest';
import {
  type Access,
  ADMIN,
  CHECK_KEYS,
  CONSUME,
  MAINTAIN,
  MANAGE_KEYS,
  PRODUCE,
  union,
  VERIFY,
} from '../../../infra/constructs/access.ts';
import type { AppendRecordsRequest, RecordToAppend } from '../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../shared/broker/broker.ts';
import { batchIdRandomBytes, makeBatchId } from '../../../shared/log/head/batch-id.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { createUrlSigner } from '../../../shared/storage/file/url-signer.ts';
import * as keys from '../../../shared/storage/keys.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import { cleanMerged } from '../../support/clean-merged.ts';
import { faultyStores } from '../../support/faulty-stores.ts';
import { guardedStores, listed } from '../../support/guarded-stores.ts';
import { bytes, type MemoryStores, memoryBroker, memoryStores } from '../../support/memory-broker.ts';
import type { SimulatedClock } from '../../support/simulated-clock.ts';

/** More partitions than one head has, so that an append can concern two heads. */
const PARTITIONS = 32;
const LARGE = 20_000;

/** What a role is for, done over stores that refuse everything else. */
interface Work {
  readonly name: string;
  readonly access: Access;
  /** Unguarded, beforehand. */
  prepare?(broker: Broker, stores: MemoryStores): Promise<void>;
  run(broker: Broker, stores: MemoryStores): Promise<void>;
}

const works: Work[] = [
  {
    name: 'produce',
    access: PRODUCE,
    prepare: async (broker) => {
      await broker.putTopic({ name: 'orders', partitions: PARTITIONS });
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
    prepare: seed,
    async run(broker) {
      for (const offset of [0, 30, 39]) {
        const { batches } = await broker.read({ topic: 'orders', partition: 0, from: { offset } });
        for await (const batch of batches) expect(batch.endOffset).toBeGreaterThan(batch.baseOffset);
      }
      const { batches } = await broker.read({ topic: 'orders', partition: 1, from: { offset: 0 } });
      for await (const batch of batches) expect(batch.bytes.length).toBeGreaterThan(LARGE);
      await broker.offsetForTime('orders', 0, 1);
      await broker.listSegments('orders');
      await broker.planFetch({
        topic: 'orders',
        partitions: [
          { partition: 0, offset: 0 },
          { partition: 1, offset: 0 },
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
    name: 'consume, from segments',
    access: CONSUME,
    prepare: async (broker, stores) => {
      await seed(broker);
      await cleanMerged(stores, (await broker.describeTopic('orders')).topicId);
    },
    async run(broker) {
      const { batches } = await broker.read({ topic: 'orders', partition: 0, from: { offset: 0 } });
      for await (const batch of batches) expect(batch.endOffset).toBeGreaterThan(batch.baseOffset);
    },
  },
  {
    name: 'admin',
    access: ADMIN,
    prepare: seed,
    async run(broker) {
      await broker.putTopic({ name: 'new', partitions: 2 });
      await broker.putTopic({ name: 'new', partitions: 3, config: { 'retention.ms': 1_000 } });
      await broker.listTopics();
      await broker.describeTopic('new');
      await broker.describePartitions('orders');
      await broker.deleteTopic('orders');
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
];

describe.each(works)('$name', ({ access, prepare, run }) => {
  it('needs no more than its access', async () => {
    const { refused } = await runGuarded(access, prepare, run);
    expect([...refused]).toEqual([]);
  });
});

it('grants nothing that no operation uses', async () => {
  const used = new Map<Access, Set<string>>();
  for (const { access, prepare, run } of works) {
    const known = used.get(access) ?? new Set();
    used.set(access, known);
    for (const what of (await runGuarded(access, prepare, run)).used) known.add(what);
  }
  for (const [access, what] of used) expect([...what].sort()).toEqual(listed(access));
});

it('lets who may only append read neither records nor what others wrote', async () => {
  for (const forbidden of ['GetObject hot', 'GetItem inlineBatch', 'GetItem node', 'DeleteItem topic', 'PutItem topic'])
    expect(listed(PRODUCE)).not.toContain(forbidden);
  const { refused } = await runGuarded(PRODUCE, seed, async (broker) => {
    const read = broker.read({ topic: 'orders', partition: 0, from: { offset: 39 } });
    await expect(
      read.then(async ({ batches }) => {
        for await (const _ of batches);
      }),
    ).rejects.toThrow();
  });
  expect([...refused]).toEqual(['GetItem inlineBatch']);
});

it('lets who may only read change nothing', () => {
  expect(listed(CONSUME).filter((what) => !/^(GetItem|Query|GetObject) /.test(what))).toEqual([]);
});

it('lets who verifies topics change nothing', () => {
  expect(listed(VERIFY).filter((what) => !/^(GetItem|Query|GetObject|ListBucket) /.test(what))).toEqual([]);
});

it('lets who administers topics neither read nor append records', () => {
  expect(listed(ADMIN).filter((what) => /Object|inlineBatch|node/.test(what))).toEqual([]);
});

it('joins accesses', () => {
  expect(listed(union(PRODUCE, CONSUME, ADMIN))).toEqual(
    [...new Set([...listed(PRODUCE), ...listed(CONSUME), ...listed(ADMIN)])].sort(),
  );
});

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
    apiKey: keys.apiKeyKey('0123456789abcdef').pk,
  };
  for (const [kind, pk] of Object.entries(examples)) {
    const matching = Object.entries(keys.ITEM_PATTERNS).filter(([, pattern]) => glob(pattern).test(pk));
    expect(matching.map(([name, pattern]) => [name, pattern])).toEqual([[kind, pk.replace(/#.*/, '#*')]]);
  }
  expect(keys.hotObjectKey(batchId, 'id', 0)).toMatch(glob(keys.OBJECT_PATTERNS.hot));
});

async function runGuarded(access: Access, prepare: Work['prepare'], run: Work['run']) {
  const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl: () => 'http://localhost' });
  const stores = { ...memoryStores(), objects: new MemoryObjectStore({ signer }) };
  const clock: SimulatedClock = stores.clock;
  const before = memoryBroker(stores);
  await clock.run(async () => prepare?.(before, stores));
  const guarded = guardedStores(stores, access);
  await clock.run(() => run(memoryBroker(guarded), guarded));
  return guarded;
}

/** Partition 0 in the tail and in tail nodes, partition 1 in an object. */
async function seed(broker: Broker): Promise<void> {
  await broker.putTopic({ name: 'orders', partitions: 4 });
  await appended(broker, [record(1, LARGE)]);
  for (let i = 0; i < 40; i++) await appended(broker, [record(0)]);
  await broker.idle();
}

function record(partition: number, valueBytes = 8): RecordToAppend {
  return { key: null, value: bytes('v'.repeat(valueBytes)), headers: [], partition };
}

async function appended(
  broker: Broker,
  records: RecordToAppend[],
  more: Partial<AppendRecordsRequest> = {},
): Promise<void> {
  const outcomes = await broker.appendRecords({ topic: 'orders', records, ...more });
  for (const outcome of outcomes) if (!outcome.ok) throw outcome.error;
}

function glob(pattern: string): RegExp {
  return new RegExp(`^${pattern.replaceAll('*', '.*')}$`);
}
