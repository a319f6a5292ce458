import { once } from 'node:events';
import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import type { Broker } from '../../../shared/broker/broker.ts';
import { API_VERSIONS } from '../../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { METADATA } from '../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { FETCH } from '../../../shared/kafka/protocol/messages/records/fetch.ts';
import { PRODUCE } from '../../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { type KafkaClient, readAnswer, requestFrame } from '../../support/kafka-client.ts';
import { runGateway } from '../../support/memory-gateway.ts';
import { batchOf, produceRequest } from '../../support/produced.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

const SOFTWARE = { clientSoftwareName: 'test', clientSoftwareVersion: '1' };

function int32(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

function header(key: number, version: number): Uint8Array {
  return Buffer.from([key >> 8, key & 0xff, version >> 8, version & 0xff, 0, 0, 0, 7, 0xff, 0xff]);
}

function framed(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([int32(bytes.length), bytes]);
}

async function isAlive(client: KafkaClient): Promise<boolean> {
  return (await client.request(API_VERSIONS, 3, SOFTWARE)).errorCode === 0;
}

function produceFrame(batch: Uint8Array, { acks = -1, correlationId = 0, topic = 't' } = {}): Uint8Array {
  return requestFrame(PRODUCE, 9, produceRequest([{ topic, batch }], acks), { correlationId });
}

function fetchFrame(maxWaitMs: number, correlationId: number): Uint8Array {
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }];
  const topics = [{ topic: 't', topicId: ZERO_UUID, partitions }];
  return requestFrame(FETCH, 12, { maxWaitMs, minBytes: 1, topics, forgottenTopicsData: [] }, { correlationId });
}

/** A topic with a batch that is larger than what the system buffers between two ends of a connection. */
async function appendLarge(broker: Broker, timestampMs = Date.now()): Promise<void> {
  await broker.putTopic({ name: 't', config: { 'max.message.bytes': 4_000_000 } });
  const batch = batchOf({ values: ['x'.repeat(3_500_000)], timestampMs });
  expect(await broker.append({ batches: [{ topic: 't', partition: 0, batch }] })).toMatchObject([{ ok: true }]);
}

/** Resolves when nothing more is read from the log: the answers that nobody takes fill all buffers. */
async function untilStuck(calls: readonly unknown[]): Promise<void> {
  await expect.poll(() => calls.length).toBeGreaterThan(0);
  for (let before = 0; before < calls.length; await sleep(200)) before = calls.length;
}

describe('a connection', () => {
  it('puts requests together that come byte by byte', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const frame = requestFrame(API_VERSIONS, 3, SOFTWARE, { correlationId: 5 });
    for (const byte of frame) {
      client.socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    const answer = await client.nextFrame();
    expect(readAnswer(API_VERSIONS, 3, answer as Uint8Array, 5).errorCode).toBe(0);
  });

  it('answers many requests of one chunk, in their order', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    const frames = Array.from({ length: 200 }, (_, correlationId) =>
      requestFrame(
        METADATA,
        9,
        { topics: [], includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false },
        { correlationId },
      ),
    );
    client.socket.write(Buffer.concat(frames));
    for (let correlationId = 0; correlationId < 200; correlationId++)
      readAnswer(METADATA, 9, (await client.nextFrame()) as Uint8Array, correlationId);
  });

  it.each([
    ['a length of 0', int32(0)],
    ['a negative length', int32(-1)],
    ['the length 2^31 - 1', int32(0x7fffffff)],
    ['a length that is longer than a frame may be', int32(16 * 1024 * 1024 + 1)],
    ['a header that is cut off', framed(new Uint8Array([0, 3, 0]))],
    ['an API that there is none of', framed(header(999, 0))],
    ['a negative API', framed(header(-1, 0))],
    ['a version that is too old', framed(header(PRODUCE.key, 2))],
    ['a version that is too new', framed(header(PRODUCE.key, 14))],
    ['a message that is cut off', framed(header(METADATA.key, 1))],
    ['2^31 - 1 topics', framed(Buffer.concat([header(METADATA.key, 1), int32(0x7fffffff)]))],
    ['a request of HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['the beginning of TLS', Buffer.from('16030100f8010000f40303', 'hex')],
  ])('is closed by %s, and harms no other', async (_, bytes) => {
    await using gateway = await runGateway();
    const [client, other] = [await gateway.connect(), await gateway.connect()];
    client.socket.write(bytes);
    expect(await client.nextFrame()).toBeUndefined();
    expect(await isAlive(other)).toBe(true);
    expect(gateway.errors).toEqual([]);
  });

  it('answers what came before the bytes that it can not read', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    client.socket.write(Buffer.concat([requestFrame(API_VERSIONS, 3, SOFTWARE), int32(-1)]));
    expect(await client.nextFrame()).toBeDefined();
    expect(await client.nextFrame()).toBeUndefined();
  });

  it('learns the versions from the answer to one that is not known', async () => {
    await using gateway = await runGateway();
    const client = await gateway.connect();
    client.socket.write(framed(header(API_VERSIONS.key, 99)));
    const answer = readAnswer(API_VERSIONS, 0, (await client.nextFrame()) as Uint8Array, 7);
    expect(answer.errorCode).toBe(35);
    expect(answer.apiKeys).toContainEqual({ apiKey: API_VERSIONS.key, minVersion: 0, maxVersion: 4 });
    expect(await isAlive(client)).toBe(true);
  });

  it('begins the next request while record batches are being written, and answers in order', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const frames = Array.from({ length: 100 }, (_, i) =>
      produceFrame(batchOf({ values: [`value ${i}`] }), { correlationId: i }),
    );
    client.socket.write(Buffer.concat(frames));
    for (let i = 0; i < 100; i++) {
      const { responses } = readAnswer(PRODUCE, 9, (await client.nextFrame()) as Uint8Array, i);
      expect(responses[0]?.partitionResponses[0]).toMatchObject({ errorCode: 0, baseOffset: i });
    }
  });

  it('answers nothing with acks=0, and is closed if such a batch can not be appended', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    const batch = batchOf({ values: ['value'] });
    client.socket.write(produceFrame(batch, { acks: 0 }));
    expect(await isAlive(client)).toBe(true);
    expect((await gateway.broker.describePartitions('t'))[0]?.highWatermark).toBe(1);
    client.socket.write(produceFrame(batch, { acks: 0, topic: 'unknown' }));
    expect(await client.nextFrame()).toBeUndefined();
    expect(gateway.errors).toEqual([]);
  });

  it('ends with a long poll under way, and leaves nothing waiting', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    client.socket.write(fetchFrame(60_000, 1));
    await gateway.broker.describeTopic('t');
    client.close();
    await once(client.socket, 'close');
    await gateway.server.finish();
    expect(gateway.errors).toEqual([]);
  });

  it('is closed in the middle of a frame that does not come in time', async () => {
    await using gateway = await runGateway({ settings: { frameMs: 20 } });
    const [client, other] = [await gateway.connect(), await gateway.connect()];
    client.socket.write(int32(100));
    expect(await client.nextFrame()).toBeUndefined();
    expect(await isAlive(other)).toBe(true);
  });

  it('is closed in time also if the frame comes byte by byte', async () => {
    await using gateway = await runGateway({ settings: { frameMs: 100 } });
    const client = await gateway.connect();
    const end = client.nextFrame().then(() => 'closed');
    client.socket.write(int32(10_000));
    let bytes = 0;
    while ((await Promise.race([end, sleep(10)])) === undefined && bytes < 200) {
      client.socket.write(Buffer.alloc(1));
      bytes++;
    }
    expect(bytes).toBeLessThan(200);
  });

  it('may take its time for each of many frames', async () => {
    await using gateway = await runGateway({ settings: { frameMs: 150 } });
    const client = await gateway.connect();
    const frame = requestFrame(API_VERSIONS, 3, SOFTWARE);
    for (let i = 0; i < 5; i++) {
      client.socket.write(frame.subarray(0, 6));
      await sleep(60);
      client.socket.write(frame.subarray(6));
      expect(await client.nextFrame()).toBeDefined();
    }
  });

  it('gets no further request begun while it does not read its answers', async () => {
    await using gateway = await runGateway();
    const { broker } = gateway;
    await appendLarge(broker);
    const [slow, other] = [await gateway.connect(), await gateway.connect()];
    const read = vi.spyOn(broker, 'fetchPartitions');
    slow.socket.pause();
    const frames = Array.from({ length: 25 }, (_, i) => fetchFrame(0, i));
    slow.socket.write(Buffer.concat(frames));
    await untilStuck(read.mock.calls);
    expect(read.mock.calls.length).toBeLessThan(15);
    expect(await isAlive(other)).toBe(true);
    slow.socket.resume();
    for (const _ of frames) expect(await slow.nextFrame()).toBeDefined();
    expect(read).toHaveBeenCalledTimes(25);
  });

  it('is closed when nothing came for long, but not while it waits for an answer', async () => {
    await using gateway = await runGateway({ settings: { idleMs: 50 } });
    await gateway.broker.putTopic({ name: 't' });
    const [idle, waiting] = [await gateway.connect(), await gateway.connect()];
    waiting.socket.write(fetchFrame(300, 1));
    expect(await idle.nextFrame()).toBeUndefined();
    expect(await waiting.nextFrame()).toBeDefined();
  });

  it('is closed in the end if its peer vanished, without a word and with answers on the way', async () => {
    const clock = new SimulatedClock();
    await using gateway = await runGateway({ clock });
    const { broker, server } = gateway;
    await appendLarge(broker, clock.nowMs());
    const [gone, other] = [await gateway.connect(), await gateway.connect()];
    const read = vi.spyOn(broker, 'fetchPartitions');
    gone.socket.pause();
    gone.socket.write(Buffer.concat(Array.from({ length: 25 }, (_, i) => fetchFrame(0, i))));
    await untilStuck(read.mock.calls);
    await clock.advance(590_000);
    expect(await isAlive(other)).toBe(true);
    expect(server.traffic().connections).toBe(2);
    await clock.advance(70_000);
    await expect.poll(() => server.traffic().connections).toBe(1);
    expect(await isAlive(other)).toBe(true);
    expect(gateway.errors).toEqual([]);
  });

  it('has time for its next request after it has taken an answer slowly', async () => {
    const clock = new SimulatedClock();
    await using gateway = await runGateway({ clock });
    const { broker } = gateway;
    await appendLarge(broker, clock.nowMs());
    const slow = await gateway.connect();
    const read = vi.spyOn(broker, 'fetchPartitions');
    slow.socket.pause();
    const frames = Array.from({ length: 10 }, (_, i) => fetchFrame(0, i));
    slow.socket.write(Buffer.concat(frames));
    await untilStuck(read.mock.calls);
    await clock.advance(590_000);
    slow.socket.resume();
    for (const _ of frames) expect(await slow.nextFrame()).toBeDefined();
    await clock.advance(590_000);
    expect(await isAlive(slow)).toBe(true);
  });

  it('is probed by TCP while it is silent, so that a machine that is gone is noticed', async () => {
    const keepAlive = vi.spyOn(Socket.prototype, 'setKeepAlive');
    await using gateway = await runGateway();
    expect(await isAlive(await gateway.connect())).toBe(true);
    expect(keepAlive).toHaveBeenCalledWith(true, 60_000);
  });

  it('gets no further batches appended while it reads no answers', async () => {
    await using gateway = await runGateway();
    const { broker } = gateway;
    await broker.putTopic({ name: 't' });
    const appended = vi.spyOn(broker, 'append');
    const client = await gateway.connect();
    client.socket.pause();
    // An answer is as long as it has partitions, also those that are refused.
    const refused = Array.from({ length: 5_000 }, (_, i) => ({ index: i + 1, records: [] }));
    const frames = Array.from({ length: 200 }, (_, i) => {
      const partitionData = [{ index: 0, records: [batchOf({ values: ['a'] })] }, ...refused];
      const request = { acks: -1, timeoutMs: 1_000, topicData: [{ name: 't', topicId: ZERO_UUID, partitionData }] };
      return requestFrame(PRODUCE, 9, request, { correlationId: i });
    });
    client.socket.write(Buffer.concat(frames));
    await untilStuck(appended.mock.calls);
    expect(appended.mock.calls.length).toBeLessThan(150);
    client.socket.resume();
    for (let i = 0; i < frames.length; i++) readAnswer(PRODUCE, 9, (await client.nextFrame()) as Uint8Array, i);
    expect(appended).toHaveBeenCalledTimes(200);
  });

  it('waits with a request for which there is no room, and is answered in the end', async () => {
    await using gateway = await runGateway({ settings: { requestBytesMax: 150_000 } });
    await gateway.broker.putTopic({ name: 't' });
    const batch = batchOf({ values: ['x'.repeat(100_000)] });
    const clients = await Promise.all(Array.from({ length: 10 }, () => gateway.connect()));
    const answers = clients.map(async (client) => {
      client.socket.write(produceFrame(batch));
      return readAnswer(PRODUCE, 9, (await client.nextFrame()) as Uint8Array, 0);
    });
    for (const { responses } of await Promise.all(answers))
      expect(responses[0]?.partitionResponses[0]?.errorCode).toBe(0);
  });

  it('gives the room of a frame back that never came whole', async () => {
    await using gateway = await runGateway({ settings: { requestBytesMax: 150_000 } });
    await gateway.broker.putTopic({ name: 't' });
    const frame = produceFrame(batchOf({ values: ['x'.repeat(100_000)] }));
    for (let i = 0; i < 5; i++) {
      const client = await gateway.connect();
      client.socket.write(frame.subarray(0, 50_000));
      await isAlive(await gateway.connect());
      client.close();
    }
    const client = await gateway.connect();
    client.socket.write(frame);
    expect(await client.nextFrame()).toBeDefined();
  });

  it('gets less at a time while others take nothing of theirs, who are cut off in the end', async () => {
    const mib = 1024 * 1024;
    await using gateway = await runGateway({ settings: { answerBytesMax: 32 * mib, stuckMs: 300 } });
    await gateway.broker.putTopic({ name: 't' });
    const producer = await gateway.connect();
    for (let i = 0; i < 16; i++) {
      producer.socket.write(produceFrame(batchOf({ values: ['x'.repeat(1_000_000)] })));
      await producer.nextFrame();
    }
    const wholePartition = requestFrame(FETCH, 12, {
      ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 16 * mib, forgottenTopicsData: [] },
      topics: [
        {
          ...{ topic: 't', topicId: ZERO_UUID },
          partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 16 * mib }],
        },
      ],
    });
    const reader = await gateway.connect();
    const bytesRead = async (): Promise<number> => {
      reader.socket.write(wholePartition);
      return (await reader.nextFrame())?.length ?? 0;
    };
    expect(await bytesRead()).toBeGreaterThan(6.5 * mib);
    const stuck = await Promise.all(Array.from({ length: 6 }, () => gateway.connect()));
    for (const client of stuck) await isAlive(client);
    for (const { socket } of stuck) {
      socket.pause();
      for (let i = 0; i < 5; i++) socket.write(wholePartition);
    }
    let least = Number.POSITIVE_INFINITY;
    const { connections } = gateway.server.traffic();
    while (gateway.server.traffic().connections === connections) least = Math.min(least, await bytesRead());
    expect(least).toBeLessThan(4 * mib);
    expect(least).toBeGreaterThan(1_000_000);
    // The room is given back.
    let most = 0;
    while (most < 4 * mib) most = await bytesRead();
    expect(await isAlive(producer)).toBe(true);
  });

  it('is refused beyond the number of connections', async () => {
    await using gateway = await runGateway({ settings: { connectionsMax: 2 } });
    const clients = [await gateway.connect(), await gateway.connect()];
    for (const client of clients) await isAlive(client);
    expect(await (await gateway.connect()).nextFrame()).toBeUndefined();
  });

  it('is answered before the server has finished', async () => {
    await using gateway = await runGateway();
    await gateway.broker.putTopic({ name: 't' });
    const client = await gateway.connect();
    await isAlive(client);
    client.socket.write(produceFrame(batchOf({ values: ['value'] })));
    const answer = client.nextFrame();
    await new Promise((resolve) => setImmediate(resolve));
    const finished = gateway.server.finish();
    // Either it was read in time and is answered, or nothing of it was done.
    const isAnswered = (await answer) !== undefined;
    await finished;
    expect((await gateway.broker.describePartitions('t'))[0]?.highWatermark).toBe(isAnswered ? 1 : 0);
  });
});
