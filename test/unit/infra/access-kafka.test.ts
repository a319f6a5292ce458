import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { expect, it } from 'vitest';
import { startGateway } from '../../../functions/gateway/start-gateway.ts';
import { GATEWAY_ACCESS } from '../../../infra/constructs/kafka/kafka-gateway.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { systemClock } from '../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../shared/storage/system/random.ts';
import { gatewayEnvironment } from '../../support/gateway-environment.ts';
import { guardedStores, listed } from '../../support/guarded-stores.ts';
import { type MemoryStores, memoryBroker, memoryStores } from '../../support/memory-broker.ts';

/** What needs hundreds of commits, merged records or a race: `access.test.ts` has an operation for each. */
const RARE = [
  'DeleteItem due',
  'DeleteItem producerName',
  'GetItem checkpoint',
  'GetItem counter',
  'GetItem producer',
  'GetItem producerName',
  'GetItem target',
  'GetItem use',
  'GetObject segment',
  'PutItem aborted',
  'PutItem producer',
  'Query aborted',
  'Query transactionListing',
  'UpdateItem checkpoint',
];

it('lets a gateway do all that a client asks for, and gives it nothing that it does not need', async () => {
  const stores: MemoryStores = { ...memoryStores(), clock: systemClock };
  const { id, key } = await memoryBroker(stores).createApiKey({ name: 'k', scopes: ALL_SCOPES });
  const guarded = guardedStores(stores, GATEWAY_ACCESS);
  const gateway = await startGateway({
    broker: memoryBroker(guarded),
    environment: gatewayEnvironment({ mechanisms: ['SCRAM-SHA-512'] }),
    tableName: 't',
    jwt: undefined,
    metadataUrl: undefined,
    clock: systemClock,
    random: systemRandom,
    log: () => {},
  });
  const kafka = new Kafka({
    brokers: [`127.0.0.1:${gateway.port}`],
    logLevel: logLevel.NOTHING,
    retry: { retries: 1 },
    sasl: { mechanism: 'scram-sha-512', username: id, password: key },
  });
  const admin = kafka.admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: 'a', numPartitions: 2 }] });
  await admin.createPartitions({ topicPartitions: [{ topic: 'a', count: 3 }] });
  await admin.alterConfigs({
    validateOnly: false,
    resources: [{ type: 2, name: 'a', configEntries: [{ name: 'retention.ms', value: '3600000' }] }],
  });
  const producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  await producer.send({ topic: 'a', messages: [{ value: 'small', partition: 0 }] });
  await producer.send({ topic: 'a', messages: [{ value: 'x'.repeat(20_000), partition: 0 }] });
  await producer.send({ topic: 'made', messages: [{ value: 'small' }] });
  for (let i = 0; i < 30; i++) await producer.send({ topic: 'a', messages: [{ value: String(i), partition: 1 }] });
  await producer.disconnect();
  const inTransactions = kafka.producer({ transactionalId: 'x', createPartitioner: Partitioners.DefaultPartitioner });
  await inTransactions.connect();
  const transaction = await inTransactions.transaction();
  await transaction.send({ topic: 'made', messages: [{ value: 'in a transaction' }] });
  await transaction.sendOffsets({
    consumerGroupId: 'g',
    topics: [{ topic: 'made', partitions: [{ partition: 0, offset: '1' }] }],
  });
  await transaction.commit();
  await inTransactions.disconnect();
  const consumer = kafka.consumer({ groupId: 'g' });
  await consumer.connect();
  await consumer.subscribe({ topic: 'a', fromBeginning: true });
  const { promise, resolve } = Promise.withResolvers<void>();
  let read = 0;
  await consumer.run({
    eachMessage: async () => {
      if (++read === 32) resolve();
    },
  });
  await promise;
  await consumer.disconnect();
  await admin.fetchTopicOffsetsByTimestamp('a', 1);
  await admin.fetchOffsets({ groupId: 'g' });
  await admin.listGroups();
  await admin.describeGroups(['g']);
  await admin.deleteTopicRecords({ topic: 'a', partitions: [{ partition: 0, offset: '1' }] });
  await admin.deleteGroups(['g']);
  await admin.deleteTopics({ topics: ['a'] });
  await admin.disconnect();
  await gateway.drain(new AbortController().signal);
  expect([...guarded.refused]).toEqual([]);
  const unused = listed(GATEWAY_ACCESS).filter((what) => !guarded.used.has(what));
  expect(unused.filter((what) => !RARE.includes(what))).toEqual([]);
}, 60_000);
