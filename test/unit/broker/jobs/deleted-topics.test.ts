import { describe, expect, it } from 'vitest';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { KnownHead } from '../../../../shared/broker/heads/known-head.ts';
import { moveTail } from '../../../../shared/broker/heads/move-tail.ts';
import { checkpointProducers } from '../../../../shared/broker/heads/producers.ts';
import { type SweptTopics, sweepDeletedTopics } from '../../../../shared/broker/jobs/sweep/deleted-topics.ts';
import { packSegmentPage } from '../../../../shared/log/segment/segment-list.ts';
import { EXPIRES_AT } from '../../../../shared/storage/key-parts.ts';
import {
  GARBAGE,
  garbageKey,
  HEAD,
  headKey,
  referenceKey,
  SEGMENT_PAGE,
  segmentObjectKey,
  segmentPageKey,
  USE,
  useKey,
} from '../../../../shared/storage/keys.ts';
import type { ItemStore } from '../../../../shared/storage/ports.ts';
import { type DecideFault, faultyStores } from '../../../support/faulty-stores.ts';
import {
  beforeRequests,
  jobContext,
  killedAfter,
  mergeBooks,
  storedNames,
  watchItems,
} from '../../../support/maintained-log.ts';
import {
  appendTo,
  bytes,
  codeOf,
  memoryBroker,
  memoryStores,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** A topic with something of every kind, and another one that stays. */
async function setUp() {
  const bare = memoryStores();
  const written = new Set<string>();
  const stores = { ...bare, items: watchItems(bare.items, written) };
  const { clock, items } = stores;
  const broker = memoryBroker(stores, {}, new SeededRandom(5));
  const { topic } = await broker.putTopic({ name: 'gone', partitions: 33 });
  const { topicId } = topic;
  await broker.putTopic({ name: 'kept', partitions: 2 });
  await appendTo(broker, 'kept', 0, ['k']);
  const large = (partition: number) => ({ key: null, value: bytes('v'.repeat(20_000)), headers: [], partition });
  const append = (partitions: readonly number[], more = {}) =>
    broker.appendRecords({ topic: 'gone', records: partitions.map(large), ...more });
  await append([0]);
  await append([0, 16]);
  await append([16]);
  const producerId = await broker.allocateProducerId();
  for (let i = 0; i < 24; i++)
    await appendTo(broker, 'gone', 0, ['x'], { producer: { producerId, producerEpoch: 0, baseSequence: i } });
  await broker.idle();
  const name = { topicId, headNumber: 0 };
  await checkpointProducers(items, name, 24, clock.nowMs());
  await mergeBooks(jobContext(stores), await jobContext(stores).topics.refresh('gone'), 0);
  for (let i = 0; i < 24; i++) await appendTo(broker, 'gone', 1, ['y']);
  await broker.idle();
  await items.put(segmentPageKey(topicId, 0, { slot: 0, startOffset: 0, version: 1 }), {
    [SEGMENT_PAGE.segments]: packSegmentPage([]),
  });
  await items.put(useKey(topicId, 0, 'ab'), { [USE.parts]: bytes('x') });
  const names = async () => (await storedNames(stores, [...written])).filter((one) => !one.startsWith('due#'));
  return {
    stores,
    clock,
    broker,
    topicId,
    names,
    ofTopic: async () => (await names()).filter((one) => one.includes(topicId)),
    garbage: async () => (await names()).filter((one) => one.startsWith('garbage')),
    sweep: (over: typeof stores = stores, signal?: AbortSignal) =>
      clock.run(sweepDeletedTopics(jobContext(over), signal === undefined ? {} : { signal })),
  };
}

const stubs = (topicId: string) => [0, 1, 2].map((head) => `${headKey(topicId, head).pk} | -`);

const swept = (counts: Partial<SweptTopics>) => ({ topicsFailed: 0, error: undefined, complete: true, ...counts });

describe('what is left of a deleted topic', () => {
  it('stays for an hour, and then goes, except for heads that stay closed for 30 days', async () => {
    const log = await setUp();
    await log.broker.deleteTopic('gone');
    const before = await log.names();
    await log.clock.advance(HOUR - 1);
    expect(await log.sweep()).toEqual(swept({ topicsSwept: 0, headsSwept: 0 }));
    expect(await log.names()).toEqual(before);
    await log.clock.advance(1);
    expect(await log.sweep()).toEqual(swept({ topicsSwept: 1, headsSwept: 3 }));
    const left = (await log.ofTopic()).filter((one) => !one.startsWith('garbage'));
    expect(left).toEqual(stubs(log.topicId));
    expect((await log.names()).filter((one) => /^(hot|segments|reference)/.test(one))).toEqual([]);
    for (const head of [0, 1, 2]) {
      const { attributes } = await log.stores.items.get(headKey(log.topicId, head));
      const seconds = Math.ceil((log.clock.nowMs() + 30 * DAY) / 1_000);
      expect(attributes).toEqual({ x: 1, [EXPIRES_AT]: seconds });
    }
    expect(await valuesOf(log.broker, 'kept', 0)).toEqual(['k']);
  });

  it('refuses an append that comes after all', async () => {
    const log = await setUp();
    const late = memoryBroker(log.stores, { topicCacheMs: 1e12, headCacheMs: 1e12 });
    await appendTo(late, 'gone', 32, ['first']);
    await log.broker.deleteTopic('gone');
    await log.clock.advance(HOUR);
    await log.sweep();
    expect(await codeOf(appendTo(late, 'gone', 32, ['late']))).toBe('unknown_topic');
    // It wrote its data before it was refused: the second look finds it.
    expect((await log.ofTopic()).filter((one) => one.startsWith('batch'))).toHaveLength(1);
    await log.clock.advance(DAY);
    await log.stores.objects.put(segmentObjectKey(log.topicId, 0, 0, 99), [bytes('late')]);
    expect(await log.sweep()).toMatchObject({ topicsSwept: 1 });
    expect(await log.ofTopic()).toEqual(stubs(log.topicId));
    expect(await log.garbage()).toEqual([]);
    expect(await log.sweep()).toMatchObject({ topicsSwept: 0 });
  });

  it('refuses a move of the tail that comes after all', async () => {
    const log = await setUp();
    const name = { topicId: log.topicId, headNumber: 2 };
    const decide: DecideFault = ({ key }) => (key.startsWith('node#') ? { fault: 'throttled' } : undefined);
    const stuck = memoryBroker(faultyStores(log.stores, decide));
    for (let i = 0; i < 8; i++) await appendTo(stuck, 'gone', 32, ['x']);
    const known = new KnownHead('gone', name);
    known.see(await readHead(log.stores.items, name), 0);
    await log.broker.deleteTopic('gone');
    await log.clock.advance(HOUR);
    await log.sweep();
    await moveTail(jobContext(log.stores), known);
    expect(await readHead(log.stores.items, name)).toMatchObject({ closed: true, firstEntry: 0, partitions: [] });
  });

  /** Merges a head of which nothing is merged. Before the merge announces its segment, the topic is deleted and swept. */
  async function mergeAcrossDeletion(log: Awaited<ReturnType<typeof setUp>>): Promise<string[]> {
    let isDeleted = false;
    const late = beforeRequests(log.stores, async (request, [key]) => {
      const isList = request === 'putItem' && (key as { pk: string }).pk === `segments#${log.topicId}#2`;
      if (!isList || isDeleted) return;
      isDeleted = true;
      await log.broker.deleteTopic('gone');
      await log.clock.advance(HOUR);
      await sweepDeletedTopics(jobContext(log.stores));
    });
    const merge = memoryBroker(late).mergeHead(log.topicId, 2, { force: true });
    // The nodes are gone.
    expect(await log.clock.run(codeOf(merge))).toBe('corrupt_data');
    return (await log.ofTopic()).filter((one) => one.startsWith('segments'));
  }

  it('goes with the list that a merge makes after all, at the second look', async () => {
    const log = await setUp();
    for (let i = 0; i < 8; i++) await appendTo(log.broker, 'gone', 32, ['z']);
    await log.broker.idle();
    expect(await mergeAcrossDeletion(log)).toHaveLength(2);
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ topicsSwept: 1 });
    expect(await log.ofTopic()).toEqual(stubs(log.topicId));
  });

  it('gets no list again by a merge that knew one', async () => {
    const log = await setUp();
    for (let i = 0; i < 8; i++) await appendTo(log.broker, 'gone', 32, ['z']);
    await log.broker.idle();
    expect(await log.clock.run(log.broker.mergeHead(log.topicId, 2))).toMatchObject({ nodesMerged: 0 });
    expect(await mergeAcrossDeletion(log)).toEqual([]);
  });

  it('leaves an object to another topic that shares it', async () => {
    const log = await setUp();
    const large = (topic: string) => ({
      topic,
      records: [{ key: null, value: bytes('v'.repeat(20_000)), headers: [], partition: 0 }],
    });
    const before = await log.stores.objects.list('hot/', { limit: 100 });
    await Promise.all([log.broker.appendRecords(large('gone')), log.broker.appendRecords(large('kept'))]);
    const { keys } = await log.stores.objects.list('hot/', { limit: 100 });
    const shared = keys.filter((key) => !before.keys.includes(key));
    expect(shared).toHaveLength(1);
    expect(shared[0]).not.toContain('.');
    await log.broker.deleteTopic('gone');
    await log.clock.advance(HOUR);
    await log.sweep();
    expect((await log.stores.objects.list('hot/', { limit: 100 })).keys).toEqual(shared);
    expect((await log.names()).filter((one) => one.startsWith('reference'))).toHaveLength(1);
    expect(referenceKey(new Uint8Array(12)).pk).toContain('reference');
    expect(await valuesOf(memoryBroker(log.stores), 'kept', 0)).toHaveLength(2);
  });
});

describe('a run', () => {
  it('that was stopped goes on with the next head', async () => {
    const log = await setUp();
    await log.broker.deleteTopic('gone');
    await log.clock.advance(HOUR);
    const stop = new AbortController();
    const stores = beforeRequests(log.stores, (request, [key]) => {
      if (request === 'putItem' && (key as { pk: string }).pk === headKey(log.topicId, 1).pk) stop.abort();
    });
    expect(await log.sweep(stores, stop.signal)).toEqual(swept({ topicsSwept: 0, headsSwept: 2, complete: false }));
    expect(await log.sweep()).toEqual(swept({ topicsSwept: 1, headsSwept: 1 }));
  });

  it('that died anywhere is finished by the next, and two at once leave the same', async () => {
    const prepare = async () => {
      const log = await setUp();
      await log.broker.deleteTopic('gone');
      await log.clock.advance(HOUR);
      return log;
    };
    const finish = async (log: Awaited<ReturnType<typeof setUp>>) => {
      await log.sweep();
      await log.clock.advance(DAY);
      await log.sweep();
      // A mark that is repeated after the object was deleted stays until it expires.
      return (await log.names()).filter((one) => !one.startsWith('reference'));
    };
    const whole = await prepare();
    await Promise.all([whole.sweep(), whole.sweep()]);
    const expected = await finish(whole);
    expect(
      expected.filter((one) => /^(batch|node|hot|segment|producer|checkpoint|use|garbage)/.test(one)),
    ).toHaveLength(1);
    let deaths = 0;
    for (let requests = 0; ; requests += requests < 30 ? 1 : 3) {
      const log = await prepare();
      const died = await log.sweep(killedAfter(log.stores, requests)).then(
        ({ error }) => error !== undefined,
        () => true,
      );
      expect(await finish(log)).toEqual(expected);
      if (!died) break;
      deaths++;
    }
    expect(deaths).toBeGreaterThan(40);
  });

  /** Makes the head of a topic, or of one that never was, unreadable. */
  const damageHead = (items: ItemStore, topicId: string) =>
    items.put(headKey(topicId, 0), { [HEAD.firstEntry]: 0, [HEAD.tail]: [bytes('damaged')] });

  it('sweeps the topics behind one that cannot be swept, and names that one', async () => {
    const log = await setUp();
    await damageHead(log.stores.items, log.topicId);
    await log.broker.deleteTopic('gone');
    await log.clock.advance(1);
    await log.broker.deleteTopic('kept');
    await log.clock.advance(HOUR);
    const run = await log.sweep();
    expect(run).toMatchObject({ topicsSwept: 1, headsSwept: 1, topicsFailed: 1, complete: true });
    expect(run.error).toMatchObject({ code: 'corrupt_data', details: { topicId: log.topicId } });
    expect(run.error?.message).toContain(log.topicId);
    // It is tried again, and does so beside what is swept for the second time.
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ topicsSwept: 1, topicsFailed: 1 });
    expect(await log.garbage()).toHaveLength(1);
  });

  it('reaches a topic behind more of these than a page has', async () => {
    const stores = memoryStores();
    const { clock, items } = stores;
    for (let i = 0; i < 101; i++) {
      const topicId = `damaged-${i}`;
      await damageHead(items, topicId);
      await items.put(garbageKey(i, `topic#${topicId}`), { [GARBAGE.topicId]: topicId, [GARBAGE.heads]: 1 });
    }
    await items.put(garbageKey(200, 'topic#whole'), { [GARBAGE.topicId]: 'whole', [GARBAGE.heads]: 0 });
    const run = await clock.run(sweepDeletedTopics(jobContext(stores)));
    expect(run).toMatchObject({ topicsSwept: 1, topicsFailed: 101, complete: true });
  });
});
