import {
  Consumer as PlatformaticConsumer,
  Producer as PlatformaticProducer,
  stringDeserializers,
  stringSerializers,
} from '@platformatic/kafka';
import { CompressionTypes, Kafka, type KafkaMessage, logLevel, Partitioners, type Producer } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTailrace, type Tailrace } from '../../shared/local/index.ts';

/**
 * Unmodified clients of npm on the gateway of an embedded log. `npm run test:clients` tries many more, those of other
 * languages too.
 */

let tailrace: Tailrace;
let kafka: Kafka;
let producer: Producer;

beforeAll(async () => {
  tailrace = await startTailrace({ memory: true, kafka: { partitionsDefault: 3 } });
  kafka = new Kafka({ brokers: [String(tailrace.bootstrapServers)], logLevel: logLevel.NOTHING });
  producer = kafka.producer({ idempotent: true, createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
});

afterAll(async () => {
  await producer.disconnect();
  await tailrace.close();
});

interface Read {
  readonly partition: number;
  readonly message: KafkaMessage;
}

/** Reads as a member of a group until there are so many records; then the member leaves. */
async function readAsGroup(topic: string, groupId: string, count: number): Promise<Read[]> {
  const consumer = kafka.consumer({ groupId });
  const read: Read[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const { promise: isDone, resolve: done } = Promise.withResolvers<void>();
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      read.push({ partition, message });
      if (read.length === count) done();
    },
  });
  await isDone;
  await consumer.disconnect();
  return read;
}

describe('kafkajs', () => {
  it('writes to a topic that is made for it, and reads each key in its order', async () => {
    for (let round = 0; round < 5; round++)
      await producer.send({
        topic: 'ordered',
        messages: Array.from({ length: 20 }, (_, key) => ({ key: `key ${key}`, value: String(round) })),
      });
    const read = await readAsGroup('ordered', 'readers', 100);
    for (let key = 0; key < 20; key++) {
      const ofKey = read.filter(({ message }) => String(message.key) === `key ${key}`);
      expect(ofKey.map(({ message }) => String(message.value))).toEqual(['0', '1', '2', '3', '4']);
      expect(new Set(ofKey.map(({ partition }) => partition)).size).toBe(1);
    }
  });

  it('keeps headers, times, empty values and compression', async () => {
    const timestamp = String(Date.now() - 5_000);
    const headers = { trace: Buffer.from([0, 255]), name: 'ü' };
    await producer.send({
      topic: 'kept',
      compression: CompressionTypes.GZIP,
      messages: [{ key: 'a', value: null, headers, timestamp, partition: 2 }],
    });
    const [read] = await readAsGroup('kept', 'keepers', 1);
    expect(read).toMatchObject({ partition: 2, message: { value: null, timestamp, offset: '0' } });
    expect(read?.message.headers?.trace).toEqual(Buffer.from([0, 255]));
    expect(String(read?.message.headers?.name)).toBe('ü');
  });

  it('goes on where its group has committed', async () => {
    const send = (value: string) => producer.send({ topic: 'resumed', messages: [{ key: 'k', value }] });
    await send('first');
    expect((await readAsGroup('resumed', 'resuming', 1)).map(({ message }) => String(message.value))).toEqual([
      'first',
    ]);
    await send('second');
    expect((await readAsGroup('resumed', 'resuming', 1)).map(({ message }) => String(message.value))).toEqual([
      'second',
    ]);
  });

  it('administers topics and groups', async () => {
    const admin = kafka.admin();
    await admin.connect();
    const topic = 'administered';
    expect(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] })).toBe(true);
    expect(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }] })).toBe(false);
    // A topic can be written to as soon as its creation is answered.
    await producer.send({ topic, messages: [{ value: 'a', partition: 1 }] });
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] });
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] });
    expect(topics[0]?.partitions).toHaveLength(4);
    expect((await admin.fetchTopicOffsets(topic)).map(({ high }) => high).sort()).toEqual(['0', '0', '0', '1']);
    await readAsGroup(topic, 'administered', 1);
    expect((await admin.listGroups()).groups.map(({ groupId }) => groupId)).toContain('administered');
    await admin.setOffsets({ groupId: 'administered', topic, partitions: [{ partition: 1, offset: '0' }] });
    expect(await readAsGroup(topic, 'administered', 1)).toHaveLength(1);
    await admin.deleteGroups(['administered']);
    await admin.deleteTopics({ topics: [topic] });
    expect(await admin.listTopics()).not.toContain(topic);
    await admin.disconnect();
  });
});

describe('@platformatic/kafka', () => {
  const options = () => ({ clientId: 'test', bootstrapBrokers: [String(tailrace.bootstrapServers)] });

  it.each(['classic', 'consumer'] as const)(
    'reads what it wrote, by the %s protocol of groups',
    async (groupProtocol) => {
      const topic = `platformatic-${groupProtocol}`;
      const writer = new PlatformaticProducer({ ...options(), serializers: stringSerializers, autocreateTopics: true });
      const messages = ['a', 'b', 'c'].map((value) => ({ topic, key: 'key', value }));
      await writer.send({ messages, acks: -1 });
      await writer.close();
      const reader = new PlatformaticConsumer({
        ...options(),
        ...{ groupId: topic, groupProtocol, deserializers: stringDeserializers },
      });
      const stream = await reader.consume({ topics: [topic], mode: 'earliest', autocommit: true });
      const read: string[] = [];
      for await (const { value } of stream) {
        read.push(value);
        if (read.length === messages.length) break;
      }
      expect(read).toEqual(['a', 'b', 'c']);
      await reader.close(true);
    },
  );

  it('reads many partitions in turns, of which each request names only what has changed', async () => {
    const topic = 'many';
    const partitions = 60;
    await tailrace.broker.putTopic({ name: topic, partitions });
    const reader = new PlatformaticConsumer({ ...options(), groupId: topic, deserializers: stringDeserializers });
    const stream = await reader.consume({ topics: [topic], mode: 'earliest', maxWaitTime: 100 });
    const writer = new PlatformaticProducer({ ...options(), serializers: stringSerializers });
    const read = new Map<number, string[]>();
    const rounds = ['a', 'b', 'c', 'd'];
    const write = (value: string) =>
      writer.send({
        messages: Array.from({ length: partitions }, (_, partition) => ({ topic, partition, key: 'key', value })),
        acks: -1,
      });
    await write(rounds[0] as string);
    let count = 0;
    for await (const { value, partition } of stream) {
      read.set(partition, [...(read.get(partition) ?? []), value]);
      count++;
      if (count === partitions * rounds.length) break;
      if (count % partitions === 0) await write(rounds[count / partitions] as string);
    }
    expect([...read.values()]).toEqual(Array(partitions).fill(rounds));
    await writer.close();
    await reader.close(true);
  });
});
