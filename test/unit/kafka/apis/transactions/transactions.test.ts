import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { API_VERSIONS } from '../../../../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { OFFSET_FETCH } from '../../../../../shared/kafka/protocol/messages/groups/offset-fetch.ts';
import { FETCH } from '../../../../../shared/kafka/protocol/messages/records/fetch.ts';
import { INIT_PRODUCER_ID } from '../../../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { LIST_OFFSETS } from '../../../../../shared/kafka/protocol/messages/records/list-offsets.ts';
import { PRODUCE } from '../../../../../shared/kafka/protocol/messages/records/produce.ts';
import { ADD_OFFSETS_TO_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/add-offsets-to-txn.ts';
import { ADD_PARTITIONS_TO_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/add-partitions-to-txn.ts';
import { DESCRIBE_TRANSACTIONS } from '../../../../../shared/kafka/protocol/messages/transactions/describe-transactions.ts';
import { END_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/end-txn.ts';
import { LIST_TRANSACTIONS } from '../../../../../shared/kafka/protocol/messages/transactions/list-transactions.ts';
import { TXN_OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/transactions/txn-offset-commit.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { readBatchHeader } from '../../../../../shared/log/batch/record-batch.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { valuesOf } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';
import { batchOf } from '../../../../support/produced.ts';

interface Producer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

const READ_COMMITTED = 1;

async function initialise(client: KafkaClient, version = 5, more: object = {}) {
  return client.request(INIT_PRODUCER_ID, version, { transactionalId: 'x', transactionTimeoutMs: 60_000, ...more });
}

async function produce(
  client: KafkaClient,
  version: number,
  producer: Producer,
  { partition = 0, baseSequence = 0, value = 'v', transactionalId = 'x' as string | null } = {},
) {
  const { producerId, producerEpoch: epoch } = producer;
  const batch = batchOf({ values: [value], producerId, epoch, sequence: baseSequence, transactional: true });
  const answer = await client.request(PRODUCE, version, {
    transactionalId,
    acks: -1,
    timeoutMs: 1_000,
    topicData: [{ name: 't', topicId: ZERO_UUID, partitionData: [{ index: partition, records: [batch] }] }],
  });
  return answer.responses[0]?.partitionResponses[0];
}

function end(client: KafkaClient, version: number, producer: Producer, committed: boolean) {
  return client.request(END_TXN, version, { transactionalId: 'x', ...producer, committed });
}

function add(client: KafkaClient, producer: Producer, partitions: readonly number[]) {
  return client.request(ADD_PARTITIONS_TO_TXN, 3, {
    v3AndBelowTransactionalId: 'x',
    v3AndBelowProducerId: producer.producerId,
    v3AndBelowProducerEpoch: producer.producerEpoch,
    v3AndBelowTopics: [{ name: 't', partitions }],
  });
}

function commitOffsets(client: KafkaClient, version: number, producer: Producer, more: object = {}) {
  const committed = { committedOffset: 7, committedLeaderEpoch: -1, committedMetadata: null };
  return client.request(TXN_OFFSET_COMMIT, version, {
    transactionalId: 'x',
    groupId: 'g',
    ...producer,
    topics: [{ name: 't', partitions: [{ partitionIndex: 0, ...committed }] }],
    ...more,
  });
}

async function offsetOf(client: KafkaClient) {
  const topics = [{ name: 't', topicId: ZERO_UUID, partitionIndexes: [0] }];
  const answer = await client.request(OFFSET_FETCH, 8, {
    ...{ groupId: '', topics: null, groups: [{ groupId: 'g', topics }], requireStable: true },
  });
  return answer.groups[0]?.topics[0]?.partitions[0];
}

async function fetch(client: KafkaClient, isolationLevel: number) {
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }];
  const answer = await client.request(FETCH, 12, {
    ...{ maxWaitMs: 0, minBytes: 0, maxBytes: 1_000_000, isolationLevel, sessionEpoch: -1 },
    forgottenTopicsData: [],
    topics: [{ topic: 't', topicId: ZERO_UUID, partitions }],
  });
  return answer.responses[0]?.partitions[0];
}

describe('transactions of version 2', () => {
  it('are announced as Kafka does', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const answer = await client.request(API_VERSIONS, 4, { clientSoftwareName: 'c', clientSoftwareVersion: '1' });
    expect(answer).toMatchObject({
      supportedFeatures: [{ name: 'transaction.version', minVersion: 0, maxVersion: 2 }],
      finalizedFeaturesEpoch: 0,
      finalizedFeatures: [{ name: 'transaction.version', minVersionLevel: 2, maxVersionLevel: 2 }],
    });
  });

  it('are announced to clients of version 3 without the range that Java before 3.9 fails for', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const answer = await client.request(API_VERSIONS, 3, { clientSoftwareName: 'c', clientSoftwareVersion: '1' });
    expect(answer).toMatchObject({
      supportedFeatures: [],
      finalizedFeatures: [{ name: 'transaction.version', minVersionLevel: 2, maxVersionLevel: 2 }],
    });
  });

  it('take in what is appended and committed, and give the producer its next epoch', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 2 });
    const client = await gateway.connect();
    const producer = await initialise(client);
    expect(producer).toMatchObject({ errorCode: 0, producerEpoch: 0 });
    expect(await produce(client, 12, producer)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await produce(client, 12, producer, { partition: 1 })).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await commitOffsets(client, 5, producer)).toMatchObject({ topics: [{ partitions: [{ errorCode: 0 }] }] });
    expect(await offsetOf(client)).toMatchObject({
      errorCode: KAFKA_ERRORS.UNSTABLE_OFFSET_COMMIT,
      committedOffset: -1,
    });
    expect(await fetch(client, READ_COMMITTED)).toMatchObject({ highWatermark: 1, lastStableOffset: 0, records: [] });
    const described = await client.request(DESCRIBE_TRANSACTIONS, 0, { transactionalIds: ['x', 'y'] });
    expect(described.transactionStates).toMatchObject([
      { errorCode: 0, transactionState: 'Ongoing', topics: [{ topic: 't', partitions: [0, 1] }] },
      { errorCode: KAFKA_ERRORS.TRANSACTIONAL_ID_NOT_FOUND },
    ]);
    const ended = await end(client, 5, producer, true);
    expect(ended).toMatchObject({ errorCode: 0, producerId: producer.producerId, producerEpoch: 1 });
    // A repeated end has the same answer, and the other outcome is refused.
    expect(await end(client, 5, producer, true)).toMatchObject({ errorCode: 0, producerEpoch: 1 });
    expect(await end(client, 5, producer, false)).toMatchObject({ errorCode: KAFKA_ERRORS.INVALID_TXN_STATE });
    expect(await valuesOf(gateway.broker, 't', 1)).toEqual(['v']);
    expect(await offsetOf(client)).toMatchObject({ errorCode: 0, committedOffset: 7 });
    const listed = await client.request(LIST_TRANSACTIONS, 1, {
      stateFilters: ['CompleteCommit', 'Wrong'],
      producerIdFilters: [],
    });
    expect(listed).toMatchObject({
      unknownStateFilters: ['Wrong'],
      transactionStates: [{ transactionalId: 'x', transactionState: 'CompleteCommit' }],
    });
  });

  it('show consumers what was aborted, and where', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producer = await initialise(client);
    await produce(client, 12, producer);
    await end(client, 5, producer, false);
    const { producerId } = producer;
    const committed = await fetch(client, READ_COMMITTED);
    expect(committed).toMatchObject({ lastStableOffset: 2, abortedTransactions: [{ producerId, firstOffset: 0 }] });
    const [records] = committed?.records ?? [];
    const first = readBatchHeader(records as Uint8Array);
    expect([first.control, readBatchHeader(records as Uint8Array, first.bytes).control]).toEqual([false, true]);
    expect(await fetch(client, 0)).toMatchObject({ lastStableOffset: 2, abortedTransactions: null });
    const partitions = [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -1 }];
    const open = await initialise(client);
    await produce(client, 12, open);
    for (const [isolationLevel, offset] of [
      [0, 3],
      [READ_COMMITTED, 2],
    ] as const)
      expect(
        await client.request(LIST_OFFSETS, 7, {
          ...{ replicaId: -1, timeoutMs: 0, isolationLevel },
          topics: [{ name: 't', partitions }],
        }),
      ).toMatchObject({ topics: [{ partitions: [{ offset }] }] });
  });

  it('fence the producer before', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const old = await initialise(client);
    await produce(client, 12, old, { value: 'old' });
    const fresh = await initialise(client);
    expect(fresh.producerId).toBe(old.producerId);
    expect(await produce(client, 12, old, { baseSequence: 1 })).toMatchObject({
      errorCode: KAFKA_ERRORS.INVALID_PRODUCER_EPOCH,
    });
    expect((await end(client, 5, old, true)).errorCode).toBe(KAFKA_ERRORS.PRODUCER_FENCED);
    expect((await end(client, 1, old, true)).errorCode).toBe(KAFKA_ERRORS.INVALID_PRODUCER_EPOCH);
    const { producerId, producerEpoch } = old;
    expect((await initialise(client, 5, { producerId, producerEpoch })).errorCode).toBe(KAFKA_ERRORS.PRODUCER_FENCED);
    expect((await initialise(client, 3, { producerId, producerEpoch })).errorCode).toBe(
      KAFKA_ERRORS.INVALID_PRODUCER_EPOCH,
    );
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual([]);
  });
});

describe('transactions of version 1', () => {
  it('need their partitions and their group to be added, and keep the epoch', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 2 });
    const client = await gateway.connect();
    const producer = await initialise(client, 4);
    expect(await produce(client, 11, producer)).toMatchObject({ errorCode: KAFKA_ERRORS.INVALID_TXN_STATE });
    for (const round of [0, 1]) {
      expect(await add(client, producer, [0])).toMatchObject({
        resultsByTopicV3AndBelow: [{ resultsByPartition: [{ partitionIndex: 0, partitionErrorCode: 0 }] }],
      });
      expect(await produce(client, 11, producer, { baseSequence: round })).toMatchObject({
        errorCode: 0,
        baseOffset: round * 2,
      });
      expect(await commitOffsets(client, 4, producer)).toMatchObject({
        topics: [{ partitions: [{ errorCode: KAFKA_ERRORS.INVALID_TXN_STATE }] }],
      });
      expect(
        await client.request(ADD_OFFSETS_TO_TXN, 3, { transactionalId: 'x', ...producer, groupId: 'g' }),
      ).toMatchObject({
        errorCode: 0,
      });
      expect(await commitOffsets(client, 4, producer)).toMatchObject({ topics: [{ partitions: [{ errorCode: 0 }] }] });
      expect(await end(client, 4, producer, true)).toMatchObject({ errorCode: 0 });
    }
    expect(await offsetOf(client)).toMatchObject({ errorCode: 0, committedOffset: 7 });
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual(['v', 'v']);
  });

  it('add all partitions or none', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 1 });
    const client = await gateway.connect();
    const producer = await initialise(client, 4);
    const answer = await add(client, producer, [0, 5]);
    expect(answer.resultsByTopicV3AndBelow[0]?.resultsByPartition).toMatchObject([
      { partitionErrorCode: KAFKA_ERRORS.OPERATION_NOT_ATTEMPTED },
      { partitionErrorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION },
    ]);
    expect(await produce(client, 11, producer)).toMatchObject({ errorCode: KAFKA_ERRORS.INVALID_TXN_STATE });
  });
});

describe('InitProducerId with a transactional id', () => {
  it('refuses timeouts that are too long, and ids that are empty', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    for (const transactionTimeoutMs of [0, 900_001])
      expect((await initialise(client, 5, { transactionTimeoutMs })).errorCode).toBe(
        KAFKA_ERRORS.INVALID_TRANSACTION_TIMEOUT,
      );
    expect((await initialise(client, 5, { transactionalId: '' })).errorCode).toBe(KAFKA_ERRORS.INVALID_REQUEST);
  });
});
