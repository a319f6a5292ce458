import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { FIND_COORDINATOR } from '../../../../../shared/kafka/protocol/messages/members/find-coordinator.ts';
import { INIT_PRODUCER_ID } from '../../../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { PRODUCE } from '../../../../../shared/kafka/protocol/messages/records/produce.ts';
import { ADD_OFFSETS_TO_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/add-offsets-to-txn.ts';
import { ADD_PARTITIONS_TO_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/add-partitions-to-txn.ts';
import { END_TXN } from '../../../../../shared/kafka/protocol/messages/transactions/end-txn.ts';
import { LIST_TRANSACTIONS } from '../../../../../shared/kafka/protocol/messages/transactions/list-transactions.ts';
import { TXN_OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/transactions/txn-offset-commit.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { systemClock } from '../../../../../shared/storage/system/clock.ts';
import { TRANSACTION as STORED, transactionKey } from '../../../../../shared/storage/transaction-keys.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';
import { batchOf } from '../../../../support/produced.ts';

interface Producer {
  readonly producerId: number;
  readonly producerEpoch: number;
}

const TRANSACTION = 1;
const { INVALID_PRODUCER_EPOCH, INVALID_PRODUCER_ID_MAPPING, INVALID_TXN_STATE, PRODUCER_FENCED } = KAFKA_ERRORS;
const { CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE } = KAFKA_ERRORS;
const { NOT_ENOUGH_REPLICAS } = KAFKA_ERRORS;

async function initialise(client: KafkaClient, transactionalId = 'x'): Promise<Producer> {
  const answer = await client.request(INIT_PRODUCER_ID, 5, { transactionalId, transactionTimeoutMs: 60_000 });
  expect(answer.errorCode).toBe(0);
  return { producerId: answer.producerId ?? -1, producerEpoch: answer.producerEpoch };
}

async function errorOfEnd(client: KafkaClient, version: number, producer: Producer, committed = true) {
  return (await client.request(END_TXN, version, { transactionalId: 'x', ...producer, committed })).errorCode;
}

async function errorOfOffsets(client: KafkaClient, version: number, producer: Producer) {
  const request = { transactionalId: 'x', ...producer, groupId: 'g' };
  return (await client.request(ADD_OFFSETS_TO_TXN, version, request)).errorCode;
}

async function errorOfPartitions(client: KafkaClient, version: number, producer: Producer, partition = 0, name = 't') {
  const answer = await client.request(ADD_PARTITIONS_TO_TXN, version, {
    v3AndBelowTransactionalId: 'x',
    v3AndBelowProducerId: producer.producerId,
    v3AndBelowProducerEpoch: producer.producerEpoch,
    v3AndBelowTopics: [{ name, partitions: [partition] }],
  });
  return answer.resultsByTopicV3AndBelow[0]?.resultsByPartition[0]?.partitionErrorCode;
}

async function errorsOfCommit(client: KafkaClient, version: number, producer: Producer, more: object = {}) {
  const committed = { committedOffset: 7, committedLeaderEpoch: -1, committedMetadata: null };
  const answer = await client.request(TXN_OFFSET_COMMIT, version, {
    ...{ transactionalId: 'x', groupId: 'g', ...producer },
    topics: [{ name: 't', partitions: [{ partitionIndex: 0, ...committed }] }],
    ...more,
  });
  return answer.topics.flatMap(({ partitions }) => partitions.map(({ errorCode }) => errorCode));
}

async function errorOfProduce(
  client: KafkaClient,
  { producerId, producerEpoch: epoch }: Producer,
  more: object = {},
  version = 12,
) {
  const batch = batchOf({ values: ['v'], producerId, epoch, sequence: 0, transactional: true, ...more });
  const topicData = [{ name: 't', topicId: ZERO_UUID, partitionData: [{ index: 0, records: [batch] }] }];
  const answer = await client.request(PRODUCE, version, {
    transactionalId: 'x',
    acks: -1,
    timeoutMs: 1_000,
    topicData,
  });
  return answer.responses[0]?.partitionResponses[0]?.errorCode;
}

describe('a producer that was fenced', () => {
  it('gets the number that its version of a request knows', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const old = await initialise(client);
    await initialise(client);
    for (const [version, wanted] of [
      [1, INVALID_PRODUCER_EPOCH],
      [2, PRODUCER_FENCED],
    ] as const) {
      expect(await errorOfPartitions(client, version, old)).toBe(wanted);
      expect(await errorOfOffsets(client, version, old)).toBe(wanted);
      expect(await errorOfEnd(client, version, old)).toBe(wanted);
    }
    for (const version of [4, 5]) expect(await errorsOfCommit(client, version, old)).toEqual([INVALID_PRODUCER_EPOCH]);
    expect(await errorOfProduce(client, old)).toBe(INVALID_PRODUCER_EPOCH);
  });
});

describe('what another transaction is in the way of', () => {
  it('gets a number that all clients of its version retry', async () => {
    const stores = { ...memoryStores(), clock: systemClock };
    await using gateway = await runGateway({ broker: memoryBroker(stores) });
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const [first, producer] = [await initialise(client, 'first'), await initialise(client)];
    expect(await errorsOfCommit(client, 5, first, { transactionalId: 'first' })).toEqual([0]);
    expect(await errorOfOffsets(client, 3, producer)).toBe(0);
    for (const [version, wanted] of [
      [1, COORDINATOR_NOT_AVAILABLE],
      [2, COORDINATOR_LOAD_IN_PROGRESS],
      [5, COORDINATOR_LOAD_IN_PROGRESS],
    ] as const)
      expect(await errorsOfCommit(client, version, producer)).toEqual([wanted]);
    // The end of the transaction has not reached its participants.
    await stores.items.update(transactionKey('x'), [{ do: 'set', name: STORED.phase, value: 2 }]);
    for (const [version, wanted] of [
      [11, NOT_ENOUGH_REPLICAS],
      [12, CONCURRENT_TRANSACTIONS],
    ] as const)
      expect(await errorOfProduce(client, producer, {}, version)).toBe(wanted);
  });
});

describe('a producer id that is not the one of the transactional id', () => {
  it('is refused everywhere, and so is an id that was never initialised', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const stranger = await initialise(client, 'y');
    for (let round = 0; round < 2; round++) {
      expect(await errorOfPartitions(client, 3, stranger)).toBe(INVALID_PRODUCER_ID_MAPPING);
      expect(await errorOfOffsets(client, 3, stranger)).toBe(INVALID_PRODUCER_ID_MAPPING);
      expect(await errorsOfCommit(client, 5, stranger)).toEqual([INVALID_PRODUCER_ID_MAPPING]);
      expect(await errorOfProduce(client, stranger)).toBe(INVALID_PRODUCER_ID_MAPPING);
      expect(await errorOfEnd(client, 5, stranger)).toBe(INVALID_PRODUCER_ID_MAPPING);
      await initialise(client);
    }
  });
});

describe('EndTxn', () => {
  it('of version 1 repeats its answer, and refuses the other outcome', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producer = await initialise(client);
    for (const version of [4, 5]) expect(await errorOfEnd(client, version, producer)).toBe(INVALID_TXN_STATE);
    expect(await errorOfPartitions(client, 3, producer)).toBe(0);
    for (const wanted of [0, 0]) expect(await errorOfEnd(client, 4, producer, false)).toBe(wanted);
    expect(await errorOfEnd(client, 4, producer, true)).toBe(INVALID_TXN_STATE);
  });

  it('of version 2 aborts what has not begun, and raises the epoch', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const producer = await initialise(client);
    const answer = await client.request(END_TXN, 5, { transactionalId: 'x', ...producer, committed: false });
    expect(answer).toMatchObject({ errorCode: 0, ...producer, producerEpoch: producer.producerEpoch + 1 });
  });
});

describe('AddPartitionsToTxn', () => {
  it('refuses topics and partitions that are not there', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 2 });
    const client = await gateway.connect();
    const producer = await initialise(client);
    for (const partition of [-1, 2])
      expect(await errorOfPartitions(client, 3, producer, partition)).toBe(KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await errorOfPartitions(client, 3, producer, 0, 'none')).toBe(KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION);
    expect(await errorOfPartitions(client, 3, producer, 1)).toBe(0);
  });
});

describe('TxnOffsetCommit', () => {
  it('refuses members that the group does not have, and groups without a name', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producer = await initialise(client);
    const member = { memberId: 'm', generationId: 1 };
    expect(await errorsOfCommit(client, 5, producer, member)).toEqual([KAFKA_ERRORS.ILLEGAL_GENERATION]);
    expect(await errorsOfCommit(client, 5, producer, { groupId: '' })).toEqual([KAFKA_ERRORS.INVALID_GROUP_ID]);
  });

  it('refuses a member of an old epoch, and asks nobody who names no member', async () => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producer = await initialise(client);
    const { topicId } = topic;
    const member = { groupId: 'g', memberId: 'm', subscribedTopicNames: ['t'] };
    let [memberEpoch, owned]: [number, readonly { topicId: string; partitions: readonly number[] }[]] = [0, []];
    // A member owns a partition once it has heard of it and has said so.
    for (let round = 0; round < 10; round++) {
      const heartbeat = { ...member, memberEpoch, topicPartitions: owned, rebalanceTimeoutMs: 30_000 };
      const answer = await client.request(CONSUMER_GROUP_HEARTBEAT, 1, heartbeat);
      [memberEpoch, owned] = [answer.memberEpoch, answer.assignment?.topicPartitions ?? owned];
    }
    expect(owned).toEqual([{ topicId, partitions: [0] }]);
    const commit = (more: object) => errorsOfCommit(client, 5, producer, more);
    expect(await commit({ memberId: 'm', generationId: memberEpoch })).toEqual([0]);
    // Producers do not know the numbers of this protocol.
    expect(await commit({ memberId: 'm', generationId: memberEpoch - 1 })).toEqual([KAFKA_ERRORS.ILLEGAL_GENERATION]);
    expect(await commit({})).toEqual([0]);
  });

  it('tells of each offset what became of it', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producer = await initialise(client);
    const offset = { partitionIndex: 0, committedOffset: 7, committedLeaderEpoch: -1 };
    const topics = [
      { name: 't', partitions: [{ ...offset, committedMetadata: 'm'.repeat(20_000) }] },
      { name: 't', partitions: [{ ...offset, committedMetadata: 'm' }] },
      { name: 't', partitions: [{ ...offset, partitionIndex: 9, committedMetadata: 'm' }] },
    ];
    expect(await errorsOfCommit(client, 5, producer, { topics })).toEqual([
      KAFKA_ERRORS.OFFSET_METADATA_TOO_LARGE,
      0,
      KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION,
    ]);
  });
});

describe('ListTransactions', () => {
  it('lists what meets its filters, and refuses a pattern that is none', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const open = await initialise(client, 'x');
    const other = await initialise(client, 'other');
    expect(await errorOfProduce(client, open)).toBe(0);
    const list = async (version: number, filters: object) => {
      const request = { stateFilters: [], producerIdFilters: [], ...filters };
      const answer = await client.request(LIST_TRANSACTIONS, version, request);
      return answer.errorCode || answer.transactionStates.map(({ transactionalId }) => transactionalId).sort();
    };
    expect(await list(0, {})).toEqual(['other', 'x']);
    expect(await list(0, { stateFilters: ['Ongoing'] })).toEqual(['x']);
    expect(await list(0, { stateFilters: ['Empty'] })).toEqual(['other']);
    expect(await list(0, { stateFilters: ['Nothing'] })).toEqual([]);
    expect(await list(0, { producerIdFilters: [other.producerId] })).toEqual(['other']);
    expect(await list(1, { durationFilter: 1_000_000 })).toEqual([]);
    expect(await list(2, { transactionalIdPattern: 'o.*' })).toEqual(['other']);
    expect(await list(2, { transactionalIdPattern: '(' })).toBe(KAFKA_ERRORS.INVALID_REGULAR_EXPRESSION);
  });
});

describe('FindCoordinator', () => {
  it('answers a gateway for a transactional id', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const { coordinators } = await client.request(FIND_COORDINATOR, 4, {
      key: '',
      keyType: TRANSACTION,
      coordinatorKeys: ['x'],
    });
    expect(coordinators).toMatchObject([{ key: 'x', errorCode: 0 }]);
    expect(coordinators[0]?.port).toBeGreaterThan(0);
  });
});
