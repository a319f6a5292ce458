import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { FETCH } from '../../../../../shared/kafka/protocol/messages/records/fetch.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { decodeRecords, readBatchHeader } from '../../../../../shared/log/batch/record-batch.ts';
import { systemClock } from '../../../../../shared/storage/system/clock.ts';
import type { KafkaClient } from '../../../../support/kafka-client.ts';
import { appendTo, memoryBroker, memoryStores, record, text } from '../../../../support/memory-broker.ts';
import { type RunningGateway, runGateway } from '../../../../support/memory-gateway.ts';

const [OLDEST, NEWEST] = FETCH.versions;
const TOPIC_IDS_FROM = 13;

interface Asked {
  readonly topic?: string;
  readonly topicId?: string;
  readonly partition?: number;
  readonly offset?: number;
  readonly bytesMax?: number;
  readonly currentLeaderEpoch?: number;
}

interface Limits {
  readonly maxWaitMs?: number;
  readonly minBytes?: number;
  readonly maxBytes?: number;
  readonly version?: number;
  readonly isolationLevel?: number;
}

async function fetch(client: KafkaClient, asked: readonly Asked[], limits: Limits = {}) {
  const { maxWaitMs = 0, minBytes = 1, maxBytes = 1_000_000, version = 12, isolationLevel = 0 } = limits;
  const answer = await client.request(FETCH, version, {
    ...{ maxWaitMs, minBytes, maxBytes, isolationLevel, forgottenTopicsData: [] },
    topics: asked.map(
      ({
        topic = 't',
        topicId = ZERO_UUID,
        partition = 0,
        offset = 0,
        bytesMax = 1_000_000,
        currentLeaderEpoch = -1,
      }) => ({
        topic,
        topicId,
        partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: bytesMax, currentLeaderEpoch }],
      }),
    ),
  });
  expect(answer.errorCode).toBe(0);
  return answer.responses.flatMap(({ partitions }) => partitions);
}

/** `offset=value` of all records. */
function recordsIn(records: readonly Uint8Array[]): string[] {
  const found: string[] = [];
  for (const chunk of records) {
    for (let position = 0; position < chunk.length; ) {
      const header = readBatchHeader(chunk, position);
      for (const { offset, value } of decodeRecords(chunk, position, header)) found.push(`${offset}=${text(value)}`);
      position += header.bytes;
    }
  }
  return found;
}

async function withTopic(partitions = 1): Promise<{ gateway: RunningGateway; client: KafkaClient; topicId: string }> {
  const gateway = await runGateway();
  const { topic } = await gateway.broker.putTopic({ name: 't', partitions });
  return { gateway, client: await gateway.connect(), topicId: topic.topicId };
}

describe('Fetch', () => {
  it.each(Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => OLDEST + i))('reads in version %i', async (version) => {
    const { gateway, client, topicId } = await withTopic();
    await using _ = gateway;
    await appendTo(gateway.broker, 't', 0, ['a', 'b']);
    await appendTo(gateway.broker, 't', 0, ['c']);
    const id = version >= TOPIC_IDS_FROM ? { topicId, topic: '' } : {};
    const [found] = await fetch(client, [{ ...id }], { version });
    expect(found).toMatchObject({ errorCode: 0, highWatermark: 3, lastStableOffset: 3, abortedTransactions: null });
    expect(recordsIn(found?.records ?? [])).toEqual(['0=a', '1=b', '2=c']);
    const [later] = await fetch(client, [{ ...id, offset: 2 }], { version, isolationLevel: 1 });
    expect(later?.abortedTransactions).toEqual([]);
    expect(recordsIn(later?.records ?? [])).toEqual(['2=c']);
  });

  it('compares the leader epoch by which a client knows each partition', async () => {
    const { gateway, client } = await withTopic(4);
    await using _ = gateway;
    for (let partition = 0; partition < 4; partition++) await appendTo(gateway.broker, 't', partition, ['a']);
    const epochs = [1, 0, -2, -1];
    const asked = epochs.map((currentLeaderEpoch, partition) => ({ partition, currentLeaderEpoch }));
    const found = await fetch(client, asked, { minBytes: 1_000, maxWaitMs: 60_000 });
    expect(found.map(({ errorCode }) => errorCode)).toEqual([
      KAFKA_ERRORS.UNKNOWN_LEADER_EPOCH,
      0,
      KAFKA_ERRORS.FENCED_LEADER_EPOCH,
      0,
    ]);
    expect(found.map(({ records }) => recordsIn(records ?? []))).toEqual([[], ['0=a'], [], ['0=a']]);
  });

  it('gives the whole batch that an offset lies in', async () => {
    const { gateway, client } = await withTopic();
    await using _ = gateway;
    await appendTo(gateway.broker, 't', 0, ['a', 'b']);
    const [found] = await fetch(client, [{ offset: 1 }]);
    expect(recordsIn(found?.records ?? [])).toEqual(['0=a', '1=b']);
  });

  it('answers each partition by itself, and at once if one can not be read', async () => {
    const { gateway, client } = await withTopic(2);
    await using _ = gateway;
    await appendTo(gateway.broker, 't', 0, ['a']);
    const found = await fetch(
      client,
      [{}, { partition: 1 }, { partition: 9 }, { topic: 'unknown' }, { offset: 2 }, { offset: -5 }],
      { maxWaitMs: 60_000, minBytes: 1_000_000 },
    );
    const { OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION } = KAFKA_ERRORS;
    expect(found.map(({ errorCode }) => errorCode)).toEqual([
      ...[0, 0, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION],
      ...[OFFSET_OUT_OF_RANGE, OFFSET_OUT_OF_RANGE],
    ]);
    expect(found.map(({ records }) => recordsIn(records))).toEqual([['0=a'], [], [], [], [], []]);
  });

  it('finds no topic by an id of none, or of one that was made again', async () => {
    const { gateway, client, topicId } = await withTopic();
    await using _ = gateway;
    await gateway.broker.deleteTopic('t');
    await gateway.broker.putTopic({ name: 't' });
    const limits = { version: 13, maxWaitMs: 60_000 };
    const [unknown] = await fetch(client, [{ topicId: 'AAECAwQFBgcICQoLDA0ODw' }], limits);
    expect(unknown?.errorCode).toBe(KAFKA_ERRORS.UNKNOWN_TOPIC_ID);
    const [old] = await fetch(client, [{ topicId }], limits);
    expect([KAFKA_ERRORS.UNKNOWN_TOPIC_ID, KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION]).toContain(old?.errorCode);
  });

  it('waits for records, and is woken by an append to any of its partitions', async () => {
    const { gateway, client } = await withTopic(40);
    await using _ = gateway;
    const answer = fetch(
      client,
      Array.from({ length: 40 }, (__, partition) => ({ partition })),
      { maxWaitMs: 60_000 },
    );
    await sleep(20);
    await gateway.broker.appendRecords({ topic: 't', records: [record('a', { partition: 33 })] });
    const found = await answer;
    expect(found.flatMap(({ records }, partition) => (records.length > 0 ? [partition] : []))).toEqual([33]);
  });

  it('waits until there are as many bytes as are asked for', async () => {
    const { gateway, client } = await withTopic();
    await using _ = gateway;
    const values = ['x'.repeat(400), 'y'.repeat(400), 'z'.repeat(400)];
    const answer = fetch(client, [{}], { maxWaitMs: 60_000, minBytes: 1_000 });
    for (const value of values) {
      await sleep(10);
      await appendTo(gateway.broker, 't', 0, [value]);
    }
    const [found] = await answer;
    expect(recordsIn(found?.records ?? [])).toEqual(values.map((value, i) => `${i}=${value}`));
  });

  it('gives what there is when the time is over', async () => {
    const { gateway, client } = await withTopic();
    await using _ = gateway;
    await appendTo(gateway.broker, 't', 0, ['a']);
    const [found] = await fetch(client, [{}], { maxWaitMs: 30, minBytes: 1_000 });
    expect(recordsIn(found?.records ?? [])).toEqual(['0=a']);
  });

  it('gives one batch at least, and stops within its limits', async () => {
    const { gateway, client } = await withTopic(3);
    await using _ = gateway;
    for (const partition of [0, 1, 2])
      for (const i of [0, 1, 2])
        await gateway.broker.appendRecords({
          topic: 't',
          records: [record(`${partition}${i}${'x'.repeat(1_000)}`, { partition })],
        });
    const all = [{ partition: 0 }, { partition: 1 }, { partition: 2 }];
    const counts = async (asked: readonly Asked[], maxBytes: number): Promise<number[]> =>
      (await fetch(client, asked, { maxBytes })).map(({ records }) => recordsIn(records).length);
    expect(await counts(all, 1)).toEqual([1, 0, 0]);
    expect(await counts(all, 4_000)).toEqual([3, 1, 0]);
    expect(
      await counts(
        [
          { partition: 2, bytesMax: 1 },
          { partition: 1, bytesMax: 2_500 },
        ],
        100_000,
      ),
    ).toEqual([1, 2]);
  });

  it('passes over offsets whose records are gone', async () => {
    const stores = { ...memoryStores(), clock: systemClock };
    const broker = memoryBroker(stores);
    await using gateway = await runGateway({ broker });
    await broker.putTopic({ name: 't' });
    await appendTo(broker, 't', 0, ['a', 'b', 'c']);
    await broker.deleteRecords({ topic: 't', partition: 0, before: 2 });
    const client = await gateway.connect();
    expect((await fetch(client, [{ offset: 1 }]))[0]?.errorCode).toBe(KAFKA_ERRORS.OFFSET_OUT_OF_RANGE);
    const [found] = await fetch(client, [{ offset: 2 }]);
    expect(found).toMatchObject({ errorCode: 0, logStartOffset: 2, highWatermark: 3 });
    expect(recordsIn(found?.records ?? [])).toContain('2=c');
  });

  it('is woken by an append alone where nobody else appends', async () => {
    const broker = memoryBroker({ ...memoryStores(), clock: systemClock }, { pollIntervalMs: undefined });
    await using gateway = await runGateway({ broker });
    await broker.putTopic({ name: 't' });
    const answer = fetch(await gateway.connect(), [{}], { maxWaitMs: 60_000 });
    await sleep(20);
    await appendTo(broker, 't', 0, ['a']);
    expect(recordsIn((await answer)[0]?.records ?? [])).toEqual(['0=a']);
  });

  it('reads only the topic with the id', async () => {
    const { gateway } = await withTopic();
    await using _ = gateway;
    const place = { topic: 't', topicId: 'AAECAwQFBgcICQoLDA0ODw', partition: 0, offset: 0, bytesMax: 1_000 };
    const limits = { bytesMin: 1, bytesMax: 1_000, waitMs: 0 };
    const [found] = await gateway.broker.fetchPartitions({ partitions: [place], ...limits });
    expect(found).toMatchObject({ ok: false, error: { code: 'unknown_topic' } });
  });
});
