import { describe, expect, it } from 'vitest';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { expireHead } from '../../../../shared/broker/jobs/expire/expire-head.ts';
import { MERGE_AGE_MS_MAX } from '../../../../shared/log/segment/merge-policy.ts';
import { headKey } from '../../../../shared/storage/keys.ts';
import { Died, jobContext, killedAfter } from '../../../support/maintained-log.ts';
import { appendTo, codeOf, memoryBroker, memoryStores, valuesOf } from '../../../support/memory-broker.ts';

async function setUp() {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 20 });
  for (let i = 0; i < 10; i++) await appendTo(broker, 't', 17, [`v${i}`]);
  await broker.idle();
  const name = { topicId: topic.topicId, headNumber: 1 };
  return { stores, broker, name, list: () => readSegmentList(stores.items, name) };
}

describe('deleting records', () => {
  it('raises the log start offset at once, and never lowers it', async () => {
    const { broker } = await setUp();
    const remove = (before: number | 'end') => broker.deleteRecords({ topic: 't', partition: 17, before });
    expect(await remove(4)).toEqual({ partition: 17, logStartOffset: 4, highWatermark: 10 });
    expect(await valuesOf(broker, 't', 17, { from: 4 })).toEqual(['v4', 'v5', 'v6', 'v7', 'v8', 'v9']);
    expect(await codeOf(broker.read({ topic: 't', partition: 17, from: { offset: 3 } }))).toBe('offset_out_of_range');
    expect(await remove(2)).toMatchObject({ logStartOffset: 4 });
    await expect(remove(11)).rejects.toMatchObject({
      code: 'offset_out_of_range',
      details: { logStartOffset: 4, highWatermark: 10 },
    });
    for (const before of [-1, 1.5, Number.NaN, 2 ** 53]) expect(await codeOf(remove(before))).toBe('invalid_request');
    expect(await remove('end')).toMatchObject({ logStartOffset: 10 });
    expect(await appendTo(broker, 't', 17, ['next'])).toBe(10);
    expect(await valuesOf(broker, 't', 17, { from: 10 })).toEqual(['next']);
  });

  it('touches no other partition, and makes no head that has no records', async () => {
    const { stores, broker, name } = await setUp();
    await appendTo(broker, 't', 18, ['kept']);
    await broker.deleteRecords({ topic: 't', partition: 17, before: 'end' });
    expect(await valuesOf(broker, 't', 18)).toEqual(['kept']);
    for (const before of [0, 'end'] as const)
      expect(await broker.deleteRecords({ topic: 't', partition: 0, before })).toMatchObject({ logStartOffset: 0 });
    expect((await stores.items.get(headKey(name.topicId, 0))).attributes).toBeUndefined();
  });

  it('has retention look at the head now, and keeps the merge of a head without a list', async () => {
    const { stores, broker, list } = await setUp();
    await broker.deleteRecords({ topic: 't', partition: 17, before: 4 });
    const nowMs = stores.clock.nowMs();
    expect((await list()).due).toMatchObject({ expire: { atMs: nowMs } });
    await stores.clock.advance(MERGE_AGE_MS_MAX);
    expect((await stores.clock.run(broker.runMerges())).results).toMatchObject([{ nodesMerged: 1 }]);
    const context = jobContext(stores);
    await expireHead(context, await context.topics.get('t'), 1);
    const { version } = await list();
    await broker.deleteRecords({ topic: 't', partition: 17, before: 4 });
    expect((await list()).version).toBe(version);
  });

  it('is finished by a repetition, wherever the first died', async () => {
    for (let requests = 0; requests < 7; requests++) {
      const { stores, broker, list } = await setUp();
      const dying = memoryBroker(killedAfter(stores, requests));
      await dying.deleteRecords({ topic: 't', partition: 17, before: 4 }).catch((error: unknown) => {
        expect(error instanceof Died || error instanceof Error).toBe(true);
      });
      expect(await broker.deleteRecords({ topic: 't', partition: 17, before: 4 })).toMatchObject({ logStartOffset: 4 });
      expect((await list()).due.expire?.atMs).toBeDefined();
    }
  });

  it('is for the topic that has the name now', async () => {
    const { stores, broker } = await setUp();
    const remembers = memoryBroker(stores, { topicCacheMs: 1e9 });
    await valuesOf(remembers, 't', 17);
    await broker.deleteTopic('t');
    const remove = () => remembers.deleteRecords({ topic: 't', partition: 17, before: 'end' });
    expect(await codeOf(remove())).toBe('unknown_topic');
    await broker.putTopic({ name: 't', partitions: 18 });
    await valuesOf(remembers, 't', 17);
    expect(await remove()).toMatchObject({ logStartOffset: 0, highWatermark: 0 });
    expect(await codeOf(remembers.deleteRecords({ topic: 't', partition: 18, before: 0 }))).toBe('unknown_partition');
  });
});

describe('a change of the settings', () => {
  it('has retention and compaction look at all heads that have a list, once no process remembers the old ones', async () => {
    const { stores, broker, name, list } = await setUp();
    const scheduled = async () => [(await list()).due.expire?.atMs, (await list()).due.compact?.atMs];
    await broker.putTopic({ name: 't', config: { 'retention.ms': 5 } });
    expect((await list()).version).toBe(0);
    await updateSegmentList(jobContext(stores), stores.items, name, (now) => ({ list: now, result: undefined }));
    await broker.putTopic({ name: 't', partitions: 21 });
    expect(await scheduled()).toEqual([undefined, undefined]);
    const atMs = stores.clock.nowMs() + 1_000;
    await broker.putTopic({ name: 't', config: { 'retention.ms': 6 } });
    expect(await scheduled()).toEqual([atMs, atMs]);
  });

  it('is finished by a repetition, where the first died after the change', async () => {
    for (let requests = 2; requests < 8; requests++) {
      const { stores, broker, name, list } = await setUp();
      await updateSegmentList(jobContext(stores), stores.items, name, (now) => ({ list: now, result: undefined }));
      const change = { name: 't', config: { 'retention.ms': 6 } };
      await memoryBroker(killedAfter(stores, requests))
        .putTopic(change)
        .catch(() => {});
      await broker.putTopic(change);
      expect((await list()).due).toMatchObject({ expire: {}, compact: {} });
    }
  });
});
