import { afterEach, describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { SASL_AUTHENTICATE } from '../../../../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { FETCH } from '../../../../../shared/kafka/protocol/messages/records/fetch.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import {
  type KafkaConnection,
  type KafkaGatewayOptions,
  kafkaGateway,
  type TestGateway,
} from '../../../../support/kafka-gateway.ts';
import { record } from '../../../../support/memory-broker.ts';
import { turn } from '../../../../support/simulated-clock.ts';

const SESSIONS_FROM = 7;
const TOPIC_IDS_FROM = 13;
const {
  FETCH_SESSION_ID_NOT_FOUND,
  INVALID_FETCH_SESSION_EPOCH,
  FETCH_SESSION_TOPIC_ID_ERROR,
  UNKNOWN_TOPIC_OR_PARTITION,
  UNKNOWN_TOPIC_ID,
  UNKNOWN_LEADER_EPOCH,
} = KAFKA_ERRORS;

const started: TestGateway[] = [];

afterEach(async () => {
  for (const gateway of started.splice(0)) await gateway.close();
});

async function start(options: KafkaGatewayOptions = {}): Promise<TestGateway> {
  const gateway = await kafkaGateway(options);
  started.push(gateway);
  return gateway;
}

interface Asked {
  readonly id?: number;
  readonly epoch?: number;
  /** Partition -> offset, of `topic`. */
  readonly offsets?: Readonly<Record<number, number>>;
  readonly forgotten?: readonly number[];
  readonly topic?: string;
  readonly version?: number;
  readonly maxBytes?: number;
  readonly currentLeaderEpoch?: number;
}

interface Answered {
  readonly id: number;
  /** `partition:error` or `partition@highWatermark`, with `+` if there are records. */
  readonly partitions: readonly string[];
}

/** What an answer says, or the error of all of it. `topic` is an id in versions that have ids. */
async function fetch(connection: KafkaConnection, asked: Asked): Promise<Answered | number> {
  const { id = 0, epoch = 0, offsets = {}, forgotten = [], topic = 't', version = 12, maxBytes = 1_000_000 } = asked;
  const { currentLeaderEpoch = -1 } = asked;
  const named = version >= TOPIC_IDS_FROM ? { topic: '', topicId: topic } : { topic, topicId: ZERO_UUID };
  const partitions = Object.entries(offsets).map(([partition, fetchOffset]) => ({
    ...{ partition: Number(partition), fetchOffset, partitionMaxBytes: 1_000_000 },
    ...{ currentLeaderEpoch, lastFetchedEpoch: -1, logStartOffset: -1 },
    ...{ replicaDirectoryId: ZERO_UUID, highWatermark: 2 ** 63 },
  }));
  const answer = await connection.send(FETCH, version, {
    ...{ maxWaitMs: 0, minBytes: 1, maxBytes, sessionId: id, sessionEpoch: epoch },
    topics: partitions.length === 0 ? [] : [{ ...named, partitions }],
    forgottenTopicsData: forgotten.length === 0 ? [] : [{ ...named, partitions: forgotten }],
  });
  if (answer === 'closed') throw new Error('The connection is closed.');
  if (answer.errorCode !== 0) {
    expect(answer).toMatchObject({ sessionId: 0, responses: [] });
    return answer.errorCode;
  }
  const said = answer.responses.flatMap(({ partitions: of }) => of);
  return {
    id: answer.sessionId as number,
    partitions: said.map(({ partitionIndex, errorCode, highWatermark, records }) =>
      errorCode === 0
        ? `${partitionIndex}@${highWatermark}${records.length > 0 ? '+' : ''}`
        : `${partitionIndex}:${errorCode}`,
    ),
  };
}

/** The id of a new session, whose next epoch is 1. */
async function begin(connection: KafkaConnection, asked: Asked): Promise<number> {
  const answer = await fetch(connection, asked);
  if (typeof answer === 'number') throw new Error(`The error ${answer}.`);
  expect(answer.id).toBeGreaterThan(0);
  return answer.id;
}

async function withTopic(partitions: number, options: KafkaGatewayOptions = {}) {
  const gateway = await start(options);
  const { topic } = await gateway.broker.putTopic({ name: 't', partitions });
  const append = (partition: number) =>
    gateway.broker.appendRecords({ topic: 't', records: [record('a', { partition })] });
  return { gateway, broker: gateway.broker, topicId: topic.topicId, append, connection: await gateway.connect() };
}

describe('a fetch session', () => {
  it('remembers by which leader epoch a client knows a partition', async () => {
    const { connection, append } = await withTopic(2);
    const id = await begin(connection, { offsets: { 0: 0 }, currentLeaderEpoch: 0 });
    const added = await fetch(connection, { id, epoch: 1, offsets: { 1: 0 }, currentLeaderEpoch: 3 });
    expect(added).toMatchObject({ partitions: [`1:${UNKNOWN_LEADER_EPOCH}`] });
    await append(0);
    // Refused as long as the client does not say that it knows better.
    const refused = await fetch(connection, { id, epoch: 2 });
    expect(refused).toMatchObject({ partitions: ['0@1+', `1:${UNKNOWN_LEADER_EPOCH}`] });
    const corrected = await fetch(connection, { id, epoch: 3, offsets: { 1: 0 }, currentLeaderEpoch: 0 });
    expect(corrected).toMatchObject({ partitions: ['1@0', '0@1+'] });
  });

  it.each([7, 9, 11, 12, 13, 15, 16, 17, 18])(
    'names partitions once, and tells what is new, in version %i',
    async (version) => {
      const { connection, append, topicId } = await withTopic(3);
      const topic = version >= TOPIC_IDS_FROM ? topicId : 't';
      await append(1);
      const first = await fetch(connection, { version, topic, offsets: { 0: 0, 1: 0, 2: 0 } });
      expect(first).toMatchObject({ partitions: ['0@0', '1@1+', '2@0'] });
      const { id } = first as Answered;
      expect(await fetch(connection, { version, topic, id, epoch: 1, offsets: { 1: 1 } })).toEqual({
        id,
        partitions: [],
      });
      expect(await fetch(connection, { version, topic, id, epoch: 2 })).toEqual({ id, partitions: [] });
      await append(2);
      await append(0);
      expect(await fetch(connection, { version, topic, id, epoch: 3 })).toEqual({ id, partitions: ['0@1+', '2@1+'] });
      // Nothing was taken note of: the records come again.
      expect(await fetch(connection, { version, topic, id, epoch: 4, offsets: { 0: 1 } })).toEqual({
        ...{ id, partitions: ['2@1+'] },
      });
    },
  );

  it('begins with the epoch 0 only, and in no version before it existed', async () => {
    const { connection } = await withTopic(1);
    const offsets = { 0: 0 };
    expect(await fetch(connection, { offsets, epoch: -1 })).toEqual({ id: 0, partitions: ['0@0'] });
    expect(await fetch(connection, { offsets, version: SESSIONS_FROM - 1 })).toEqual({ id: 0, partitions: ['0@0'] });
    for (const epoch of [1, 5, -2, 0x7fffffff])
      expect(await fetch(connection, { offsets, epoch })).toBe(FETCH_SESSION_ID_NOT_FOUND);
  });

  it('takes each epoch once, in order, and goes on after an error', async () => {
    const { connection } = await withTopic(1);
    const id = await begin(connection, { offsets: { 0: 0 } });
    for (const epoch of [2, -2, 0x7fffffff])
      expect(await fetch(connection, { id, epoch })).toBe(INVALID_FETCH_SESSION_EPOCH);
    expect(await fetch(connection, { id, epoch: 1 })).toMatchObject({ id });
    expect(await fetch(connection, { id, epoch: 1 })).toBe(INVALID_FETCH_SESSION_EPOCH);
    expect(await fetch(connection, { id, epoch: 2 })).toMatchObject({ id });
  });

  it('is not changed by a request with a wrong epoch', async () => {
    const { connection, append } = await withTopic(2);
    const id = await begin(connection, { offsets: { 0: 0 } });
    await append(0);
    await append(1);
    expect(await fetch(connection, { id, epoch: 9, offsets: { 1: 0 }, forgotten: [0] })).toBe(
      INVALID_FETCH_SESSION_EPOCH,
    );
    expect(await fetch(connection, { id, epoch: 1 })).toEqual({ id, partitions: ['0@1+'] });
  });

  it.each([0, -1])('ends when its client names it with the epoch %i', async (epoch) => {
    const { connection } = await withTopic(1);
    const id = await begin(connection, { offsets: { 0: 0 } });
    const after = (await fetch(connection, { id, epoch, offsets: { 0: 0 } })) as Answered;
    expect(after.partitions).toEqual(['0@0']);
    expect([after.id !== id, after.id !== 0]).toEqual([true, epoch === 0]);
    expect(await fetch(connection, { id, epoch: 1 })).toBe(FETCH_SESSION_ID_NOT_FOUND);
  });

  it('takes partitions later, and forgets them', async () => {
    const { connection, append } = await withTopic(3);
    const id = await begin(connection, { offsets: { 2: 0 } });
    expect(await fetch(connection, { id, epoch: 1, offsets: { 0: 0, 1: 0 } })).toEqual({
      id,
      partitions: ['0@0', '1@0'],
    });
    for (const partition of [0, 1, 2]) await append(partition);
    expect(await fetch(connection, { id, epoch: 2, forgotten: [2, 7], offsets: { 1: 1 } })).toEqual({
      ...{ id, partitions: ['0@1+', '1@1'] },
    });
    // One that comes again is told as if it were new.
    expect(await fetch(connection, { id, epoch: 3, forgotten: [0], offsets: { 2: 1 } })).toEqual({
      id,
      partitions: ['2@1'],
    });
  });

  it('ends when it has no partition left, and the rest of the request is answered', async () => {
    const { connection } = await withTopic(2);
    const id = await begin(connection, { offsets: { 0: 0 } });
    expect(await fetch(connection, { id, epoch: 1, forgotten: [0] })).toEqual({ id: 0, partitions: [] });
    expect(await fetch(connection, { id, epoch: 2 })).toBe(FETCH_SESSION_ID_NOT_FOUND);
    const other = await begin(connection, { offsets: { 0: 0 } });
    expect(await fetch(connection, { id: other, epoch: 1, offsets: { 1: 0 }, forgotten: [0, 1] })).toEqual({
      ...{ id: 0, partitions: ['1@0'] },
    });
  });

  it('tells an error each time, and what follows it', async () => {
    const { connection, broker } = await withTopic(1);
    const id = await begin(connection, { offsets: { 0: 0, 1: 0 } });
    const error = `1:${UNKNOWN_TOPIC_OR_PARTITION}`;
    for (const epoch of [1, 2]) expect(await fetch(connection, { id, epoch })).toEqual({ id, partitions: [error] });
    await broker.putTopic({ name: 't', partitions: 2 });
    expect(await fetch(connection, { id, epoch: 3 })).toEqual({ id, partitions: ['1@0'] });
    expect(await fetch(connection, { id, epoch: 4 })).toEqual({ id, partitions: [] });
  });

  it('tells that a partition begins later', async () => {
    const { connection, broker, append } = await withTopic(1);
    await append(0);
    const id = await begin(connection, { offsets: { 0: 1 } });
    expect(await fetch(connection, { id, epoch: 1 })).toEqual({ id, partitions: [] });
    await broker.deleteRecords({ topic: 't', partition: 0, before: 1 });
    expect(await fetch(connection, { id, epoch: 2 })).toEqual({ id, partitions: ['0@1'] });
    expect(await fetch(connection, { id, epoch: 3 })).toEqual({ id, partitions: [] });
  });

  it('gives every partition its turn where an answer has room for one', async () => {
    const { connection, append } = await withTopic(3);
    for (const partition of [0, 1, 2]) for (let i = 0; i < 3; i++) await append(partition);
    const offsets: Record<number, number> = { 0: 0, 1: 0, 2: 0 };
    const id = await begin(connection, { offsets, maxBytes: 1 });
    const served: number[] = [];
    for (let epoch = 1; epoch <= 6; epoch++) {
      const answer = (await fetch(connection, { id, epoch, maxBytes: 1 })) as Answered;
      const [, partition] = /(\d)@3\+/.exec(answer.partitions.join()) ?? [];
      served.push(Number(partition));
    }
    expect(served).toEqual([0, 1, 2, 0, 1, 2]);
  });

  it('serves topic ids or names, not both', async () => {
    const { connection, topicId } = await withTopic(1);
    const byName = await begin(connection, { offsets: { 0: 0 }, version: 12 });
    expect(await fetch(connection, { id: byName, epoch: 1, version: 13 })).toBe(FETCH_SESSION_TOPIC_ID_ERROR);
    expect(await fetch(connection, { id: byName, epoch: 1, version: 7 })).toMatchObject({ id: byName });
    const byId = await begin(connection, { offsets: { 0: 0 }, version: 18, topic: topicId });
    expect(await fetch(connection, { id: byId, epoch: 1, version: 12 })).toBe(FETCH_SESSION_TOPIC_ID_ERROR);
  });

  it('knows a topic by its id after it is gone, and does not take another one of its name for it', async () => {
    const { connection, broker, topicId } = await withTopic(1);
    const id = await begin(connection, { version: 13, topic: topicId, offsets: { 0: 0 } });
    await broker.deleteTopic('t');
    const { topic } = await broker.putTopic({ name: 't', partitions: 1 });
    const gone = `0:${UNKNOWN_TOPIC_ID}`;
    for (const epoch of [1, 2])
      expect(await fetch(connection, { version: 13, id, epoch })).toEqual({ id, partitions: [gone] });
    const added = { topic: topic.topicId, offsets: { 0: 0 } };
    const answer = await fetch(connection, { version: 13, id, epoch: 3, ...added });
    expect(answer).toEqual({ id, partitions: [gone, '0@0'] });
    const forgets = { topic: topicId, forgotten: [0] };
    expect(await fetch(connection, { version: 13, id, epoch: 4, ...forgets })).toEqual({ id, partitions: [] });
  });

  it('can be used and ended by its own connection only', async () => {
    const { gateway, connection } = await withTopic(1);
    const id = await begin(connection, { offsets: { 0: 0 } });
    const other = await gateway.connect();
    expect(await fetch(other, { id, epoch: 1 })).toBe(FETCH_SESSION_ID_NOT_FOUND);
    await fetch(other, { id, epoch: 0, offsets: { 0: 0 } });
    await fetch(other, { id, epoch: -1, offsets: { 0: 0 } });
    expect(await fetch(connection, { id, epoch: 1 })).toMatchObject({ id });
  });

  it('shows no topic on which its caller has no right, however often it is asked for', async () => {
    const { gateway, broker } = await withTopic(1, { credentials: { apiKeys: true } });
    await broker.putTopic({ name: 'other' });
    await broker.appendRecords({ topic: 'other', records: [record('secret')] });
    const { id: user, key } = await broker.createApiKey({
      ...{ name: 'a', scopes: [{ actions: ['consume'], topics: ['t'], groups: [] }] },
    });
    const connection = await gateway.connect();
    await connection.send(SASL_HANDSHAKE, 1, { mechanism: 'PLAIN' });
    await connection.send(SASL_AUTHENTICATE, 2, { authBytes: Buffer.from(`\0${user}\0${key}`) });
    const id = await begin(connection, { offsets: { 0: 0 } });
    const refused = { id, partitions: [`0:${KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED}`] };
    expect(await fetch(connection, { id, epoch: 1, topic: 'other', offsets: { 0: 0 } })).toEqual(refused);
    expect(await fetch(connection, { id, epoch: 2 })).toEqual(refused);
  });

  it('has no room beside others, which keep theirs, until a connection has ended', async () => {
    const room = { settings: { fetchSessionBytesMax: 2_500 } };
    const { gateway, connection } = await withTopic(1, room);
    const offsets = { 0: 0 };
    const first = await begin(connection, { offsets });
    const second = await gateway.connect();
    await begin(second, { offsets });
    const third = await gateway.connect();
    expect(await fetch(third, { offsets })).toEqual({ id: 0, partitions: ['0@0'] });
    expect(await fetch(connection, { id: first, epoch: 1 })).toMatchObject({ id: first });
    second.cut();
    await second.closed;
    // The gateway hears of it a moment later.
    for (;;) if (((await fetch(third, { offsets })) as Answered).id > 0) break;
  });

  it('does not begin for a client that has left meanwhile', async () => {
    const { gateway, connection } = await withTopic(1, { settings: { fetchSessionBytesMax: 1_200 } });
    const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000, logStartOffset: -1 }];
    const waiting = connection.send(FETCH, 7, {
      ...{ maxWaitMs: 60_000, minBytes: 1, sessionId: 0, sessionEpoch: 0 },
      topics: [{ topic: 't', topicId: ZERO_UUID, partitions: partitions as never }],
    });
    await turn();
    connection.cut();
    expect(await waiting).toBe('closed');
    await turn();
    await begin(await gateway.connect(), { offsets: { 0: 0 } });
  });

  it('moves a partition behind the others only when it has records', async () => {
    const { connection, append } = await withTopic(2);
    const id = await begin(connection, { offsets: { 0: 0, 1: 0 } });
    // An error is told, and keeps its turn.
    expect(await fetch(connection, { id, epoch: 1, offsets: { 0: 9 } })).toEqual({ id, partitions: ['0:1'] });
    for (const partition of [0, 1]) await append(partition);
    expect(await fetch(connection, { id, epoch: 2, offsets: { 0: 0 } })).toEqual({ id, partitions: ['0@1+', '1@1+'] });
    expect(await fetch(connection, { id, epoch: 3, offsets: { 1: 1 } })).toEqual({ id, partitions: ['0@1+'] });
    expect(await fetch(connection, { id, epoch: 4, offsets: { 1: 0 } })).toEqual({ id, partitions: ['1@1+', '0@1+'] });
  });

  it('is lost when it grows beyond the room that there is', async () => {
    const { connection } = await withTopic(1, { settings: { fetchSessionBytesMax: 2_500 } });
    const id = await begin(connection, { offsets: { 0: 0 } });
    const offsets = Object.fromEntries(Array.from({ length: 50 }, (_, partition) => [partition, 0]));
    expect(await fetch(connection, { id, epoch: 1, offsets })).toBe(FETCH_SESSION_ID_NOT_FOUND);
    expect(await fetch(connection, { id, epoch: 1 })).toBe(FETCH_SESSION_ID_NOT_FOUND);
    expect(await fetch(connection, { offsets: { 0: 0 } })).toMatchObject({ partitions: ['0@0'] });
  });
});
