import { describe, expect, it } from 'vitest';
import type { AppendRequest } from '../../../../../shared/broker/append/outcomes.ts';
import { Broker } from '../../../../../shared/broker/broker.ts';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { INIT_PRODUCER_ID } from '../../../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { PRODUCE } from '../../../../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { EventLogError } from '../../../../../shared/log/errors.ts';
import { systemClock } from '../../../../../shared/storage/system/clock.ts';
import { type KafkaClient, readAnswer, requestFrame } from '../../../../support/kafka-client.ts';
import { memoryBroker, memoryStores, SeededRandom, valuesOf } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';
import { type BatchContent, batchOf, produceAll, produceRequest } from '../../../../support/produced.ts';

const [OLDEST, NEWEST] = PRODUCE.versions;
const DAY_MS = 24 * 3_600_000;

describe('Produce', () => {
  it.each(Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => OLDEST + i))(
    'appends in version %i',
    async (version) => {
      await using gateway = await runGateway();
      const { topic } = await gateway.broker.putTopic({ name: 't', partitions: 2 });
      const client = await gateway.connect();
      const answer = await client.request(PRODUCE, version, {
        acks: 1,
        timeoutMs: 1_000,
        topicData: [
          {
            name: 't',
            topicId: topic.topicId,
            partitionData: [
              { index: 1, records: [batchOf({ values: ['a', 'b'] })] },
              { index: 7, records: [batchOf({ values: ['c'] })] },
              { index: 0, records: [batchOf({ values: ['d'] })] },
            ],
          },
        ],
      });
      const [first, second, third] = answer.responses[0]?.partitionResponses ?? [];
      expect(first).toMatchObject({ index: 1, errorCode: 0, baseOffset: 0, logAppendTimeMs: -1 });
      expect(second).toMatchObject({ index: 7, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION, baseOffset: -1 });
      expect(third).toMatchObject({ index: 0, errorCode: 0, baseOffset: 0 });
      expect(await valuesOf(gateway.broker, 't', 1)).toEqual(['a', 'b']);
      expect(await valuesOf(gateway.broker, 't', 0)).toEqual(['d']);
    },
  );

  it('says what is wrong with each batch by itself', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', config: { 'max.message.bytes': 1_000 } });
    const client = await gateway.connect();
    const broken = batchOf({ values: ['broken'] });
    broken[broken.length - 1] = (broken.at(-1) as number) ^ 1;
    const outcomes = await produceAll(client, [
      { topic: 'unknown', batch: batchOf({ values: ['a'] }) },
      { topic: 't', batch: broken },
      { topic: 't', batch: new Uint8Array(3) },
      { topic: 't', batch: batchOf({ values: ['x'.repeat(2_000)] }) },
      { topic: 't', batch: batchOf({ values: ['late'], timestampMs: Date.now() + 7_200_000 }) },
      { topic: 't', batch: batchOf({ values: ['good'] }) },
    ]);
    expect(outcomes.map(({ errorCode }) => errorCode)).toEqual([
      KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION,
      KAFKA_ERRORS.CORRUPT_MESSAGE,
      KAFKA_ERRORS.INVALID_RECORD,
      KAFKA_ERRORS.MESSAGE_TOO_LARGE,
      KAFKA_ERRORS.INVALID_TIMESTAMP,
      0,
    ]);
    for (const { errorCode, errorMessage } of outcomes) expect(errorMessage === null).toBe(errorCode === 0);
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual(['good']);
  });

  it('tells where the log starts with an error of the order, but not if nobody has looked', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const numbered = (sequence: number, epoch = 1) => ({
      ...{ topic: 't', batch: batchOf({ values: ['a', 'b'], producerId: 9, epoch, sequence }) },
    });
    await produceAll(client, [numbered(0), numbered(2)]);
    await gateway.broker.deleteRecords({ topic: 't', partition: 0, before: 3 });
    const outcomes = await produceAll(client, [
      numbered(50),
      numbered(4, 0),
      { topic: 't', batch: new Uint8Array(3) },
      { topic: 'unknown', batch: batchOf({ values: ['a'] }) },
    ]);
    expect(outcomes.map(({ errorCode, logStartOffset }) => [errorCode, logStartOffset])).toEqual([
      [KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER, 3],
      [KAFKA_ERRORS.INVALID_PRODUCER_EPOCH, 3],
      [KAFKA_ERRORS.INVALID_RECORD, -1],
      [KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION, -1],
    ]);
  });

  it('answers an error that old clients know for records that they may not send', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const request = produceRequest([{ topic: 't', batch: new Uint8Array(3) }]);
    const { responses } = await client.request(PRODUCE, 7, request);
    expect(responses[0]?.partitionResponses[0]?.errorCode).toBe(KAFKA_ERRORS.CORRUPT_MESSAGE);
  });

  it('appends to the topic with the id, and to no other of its name', async () => {
    await using gateway = await runGateway();
    const { topic } = await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const produceById = async (topicId: string): Promise<number | undefined> => {
      const partitionData = [{ index: 0, records: [batchOf({ values: ['a'] })] }];
      const request = { acks: -1, timeoutMs: 1_000, topicData: [{ name: '', topicId, partitionData }] };
      return (await client.request(PRODUCE, 13, request)).responses[0]?.partitionResponses[0]?.errorCode;
    };
    expect(await produceById(ZERO_UUID)).toBe(KAFKA_ERRORS.UNKNOWN_TOPIC_ID);
    expect(await produceById(topic.topicId)).toBe(0);
    await gateway.broker.deleteTopic('t');
    await gateway.broker.putTopic({ name: 't' });
    expect([KAFKA_ERRORS.UNKNOWN_TOPIC_ID, KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION]).toContain(
      await produceById(topic.topicId),
    );
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual([]);
  });

  it('refuses acks that there are none of', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const request = produceRequest([{ topic: 't', batch: batchOf({ values: ['a'] }) }], 2);
    const { responses } = await client.request(PRODUCE, 9, request);
    expect(responses[0]?.partitionResponses[0]?.errorCode).toBe(KAFKA_ERRORS.INVALID_REQUIRED_ACKS);
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual([]);
  });

  it('takes more partitions in one request than an append takes', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't', partitions: 1_200 });
    const client = await gateway.connect();
    const batch = batchOf({ values: ['a'] });
    const partitionData = Array.from({ length: 1_200 }, (_, index) => ({ index, records: [batch] }));
    const topicData = [{ name: 't', topicId: ZERO_UUID, partitionData }];
    const { responses } = await client.request(PRODUCE, 9, { acks: -1, timeoutMs: 10_000, topicData });
    expect(responses[0]?.partitionResponses.map(({ errorCode }) => errorCode)).toEqual(Array(1_200).fill(0));
  });
});

describe('idempotent producers', () => {
  it('get an id each, and are answered with the first offset for what they send again', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const init = () => client.request(INIT_PRODUCER_ID, 4, { transactionalId: null, transactionTimeoutMs: 1_000 });
    const { producerId, producerEpoch } = await init();
    expect(producerEpoch).toBe(0);
    expect((await init()).producerId).not.toBe(producerId);
    const send = async (values: readonly string[], sequence: number) =>
      (await produceAll(client, [{ topic: 't', batch: batchOf({ values, producerId, sequence }) }]))[0];
    expect(await send(['a', 'b'], 0)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await send(['c'], 2)).toMatchObject({ errorCode: 0, baseOffset: 2 });
    expect(await send(['a', 'b'], 0)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await send(['e'], 4)).toMatchObject({ errorCode: KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER });
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual(['a', 'b', 'c']);
  });

  it('go on in a topic that is made again under its name, and others still begin at 0 there', async () => {
    await using gateway = await runGateway();
    const { broker } = gateway;
    await broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const producerId = await broker.allocateProducerId();
    const send = async (id: number, value: string, sequence: number) =>
      (await produceAll(client, [{ topic: 't', batch: batchOf({ values: [value], producerId: id, sequence }) }]))[0];
    expect(await send(producerId, 'a', 0)).toMatchObject({ errorCode: 0 });
    await broker.deleteTopic('t');
    await broker.putTopic({ name: 't' });
    const younger = await broker.allocateProducerId();
    expect(await send(younger, 'x', 1)).toMatchObject({ errorCode: KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER });
    expect(await send(producerId, 'b', 1)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await send(producerId, 'd', 3)).toMatchObject({ errorCode: KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER });
    expect(await send(producerId, 'b', 1)).toMatchObject({ errorCode: 0, baseOffset: 0 });
    expect(await send(producerId, 'c', 2)).toMatchObject({ errorCode: 0, baseOffset: 1 });
    await broker.putTopic({ name: 't', partitions: 2, config: { 'retention.ms': 1 } });
    const [other] = await produceAll(client, [
      { topic: 't', partition: 1, batch: batchOf({ values: ['d'], producerId, sequence: 7 }) },
    ]);
    expect(other).toMatchObject({ errorCode: 0 });
    expect(await valuesOf(broker, 't', 0)).toEqual(['b', 'c']);
  });
});

/** A broker whose n-th append (from 1) fails before anything is appended. */
class FailingBroker extends Broker {
  failing = new Set<number>();
  appends = 0;
  /** The next so many look-ups of topics by their ids fail. */
  failingLookUps = 0;

  override topicById(topicId: string, isCertain?: boolean): ReturnType<Broker['topicById']> {
    if (this.failingLookUps-- > 0) throw new EventLogError('throttled', 'Too many requests.');
    return super.topicById(topicId, isCertain);
  }

  override async append(request: AppendRequest): ReturnType<Broker['append']> {
    this.appends++;
    if (!this.failing.has(this.appends)) return super.append(request);
    request.onPlaced?.();
    await systemClock.sleep(20);
    return request.batches.map(() => ({ ok: false, error: new EventLogError('storage_unavailable', 'No answer.') }));
  }
}

/** Sends all at once over one connection; the numbers of the answers. */
async function pipelined(client: KafkaClient, contents: readonly BatchContent[]): Promise<number[]> {
  const frames = contents.map((content, correlationId) =>
    requestFrame(PRODUCE, 9, produceRequest([{ topic: 't', batch: batchOf(content) }]), { correlationId }),
  );
  client.socket.write(Buffer.concat(frames));
  const codes: number[] = [];
  for (const i of contents.keys()) {
    const { responses } = readAnswer(PRODUCE, 9, (await client.nextFrame()) as Uint8Array, i);
    codes.push(responses[0]?.partitionResponses[0]?.errorCode as number);
  }
  return codes;
}

describe('five requests in flight', () => {
  const OLD_ID = 0;
  const contents = [0, 1, 2, 3, 4].map((sequence) => ({ values: [`v${sequence}`], producerId: OLD_ID, sequence }));

  async function failingGateway() {
    const stores = memoryStores();
    const broker = new FailingBroker({ ...stores, clock: systemClock, random: new SeededRandom(1) });
    await broker.putTopic({ name: 't' });
    return { broker, stores, gateway: await runGateway({ broker }) };
  }

  it('keep their order', async () => {
    const { broker, gateway } = await failingGateway();
    await using running = gateway;
    expect(await pipelined(await running.connect(), contents)).toEqual([0, 0, 0, 0, 0]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  it('are not tried behind a first one that failed, and succeed when all are sent again', async () => {
    const { broker, gateway } = await failingGateway();
    await using running = gateway;
    broker.failing.add(1);
    const client = await running.connect();
    const OUT_OF_ORDER = KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER;
    const [first, ...behind] = await pipelined(client, contents);
    expect(first).toBe(KAFKA_ERRORS.REQUEST_TIMED_OUT);
    expect(behind[0]).toBe(OUT_OF_ORDER);
    expect(await valuesOf(broker, 't', 0)).not.toContain('v1');
    expect(await pipelined(client, contents)).toEqual([0, 0, 0, 0, 0]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  it('are not tried behind a first one that failed as long as it was not sent again, also by a producer of long ago', async () => {
    const { broker, gateway, stores } = await failingGateway();
    await using running = gateway;
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - 3 * DAY_MS };
    const producerId = await new Broker({ ...stores, clock, random: new SeededRandom(2) }).allocateProducerId();
    const old = contents.map((content) => ({ ...content, producerId }));
    broker.failing.add(1);
    const client = await running.connect();
    const [first, ...behind] = await pipelined(client, old);
    expect(first).toBe(KAFKA_ERRORS.REQUEST_TIMED_OUT);
    expect(behind).toEqual(Array(4).fill(KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER));
    expect(await valuesOf(broker, 't', 0)).toEqual([]);
    // Java's client sends the first one again before it has all answers.
    expect(await pipelined(client, [...old.slice(2), ...old])).toEqual([45, 45, 45, 0, 0, 0, 0, 0]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });

  it('that are not tried leave the others of their request with outcomes of their own', async () => {
    const { broker, gateway } = await failingGateway();
    await using running = gateway;
    await broker.putTopic({ name: 'wide', partitions: 3 });
    const client = await running.connect();
    const send = (partition: number, sequence: number) => ({
      topic: 'wide',
      partition,
      batch: batchOf({ values: ['v'], producerId: OLD_ID, sequence }),
    });
    await produceAll(client, [send(2, 0)]);
    broker.failing.add(2);
    await produceAll(client, [send(0, 0)]);
    const outcomes = await produceAll(client, [send(0, 1), send(1, 0), send(2, 1)]);
    expect(outcomes.map(({ errorCode, baseOffset }) => [errorCode, baseOffset])).toEqual([
      [KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER, -1],
      [0, 0],
      [0, 1],
    ]);
  });

  it('of which the first can not be looked up are not tried, and succeed when all are sent again', async () => {
    const { broker, gateway, stores } = await failingGateway();
    await using running = gateway;
    const clock = { ...systemClock, nowMs: () => systemClock.nowMs() - 3 * DAY_MS };
    const producerId = await new Broker({ ...stores, clock, random: new SeededRandom(2) }).allocateProducerId();
    const { topicId } = await broker.describeTopic('t');
    broker.failingLookUps = 1;
    const client = await running.connect();
    const send = () => {
      const requests = contents.map(({ values, sequence }) => {
        const partitionData = [{ index: 0, records: [batchOf({ values, sequence, producerId })] }];
        return { acks: -1, timeoutMs: 1_000, topicData: [{ name: '', topicId, partitionData }] };
      });
      const answers = requests.map((request) => client.request(PRODUCE, 13, request));
      return Promise.all(answers.map(async (each) => (await each).responses[0]?.partitionResponses[0]?.errorCode));
    };
    const OUT_OF_ORDER = KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER;
    expect(await send()).toEqual([KAFKA_ERRORS.REQUEST_TIMED_OUT, ...Array(4).fill(OUT_OF_ORDER)]);
    expect(await send()).toEqual([0, 0, 0, 0, 0]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
    expect(running.errors).toEqual([]);
  });

  it('are refused behind a later one that failed, and succeed when all are sent again', async () => {
    const { broker, gateway } = await failingGateway();
    await using running = gateway;
    broker.failing.add(3);
    const client = await running.connect();
    const codes = await pipelined(client, contents);
    expect(codes.slice(0, 3)).toEqual([0, 0, KAFKA_ERRORS.REQUEST_TIMED_OUT]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1']);
    expect(await pipelined(client, contents)).toEqual([0, 0, 0, 0, 0]);
    expect(await valuesOf(broker, 't', 0)).toEqual(['v0', 'v1', 'v2', 'v3', 'v4']);
  });
});

describe('the topic with an id', () => {
  it('is the only one that is appended to', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const batch = { topic: 't', partition: 0, batch: batchOf({ values: ['a'] }) };
    const [outcome] = await gateway.broker.append({ batches: [{ ...batch, topicId: 'AAECAwQFBgcICQoLDA0ODw' }] });
    expect(outcome).toMatchObject({ ok: false, error: { code: 'unknown_topic' } });
    expect(await valuesOf(gateway.broker, 't', 0)).toEqual([]);
  });
});

describe('appends that are placed', () => {
  it('let the next one begin', async () => {
    const broker = memoryBroker({ ...memoryStores(), clock: systemClock });
    await broker.putTopic({ name: 't' });
    const placed: string[] = [];
    const append = broker.append({
      batches: [{ topic: 't', partition: 0, batch: batchOf({ values: ['a'] }) }],
      onPlaced: () => placed.push('placed'),
    });
    await append;
    expect(placed).toEqual(['placed']);
  });
});
