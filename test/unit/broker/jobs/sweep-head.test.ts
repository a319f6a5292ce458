import { describe, expect, it } from 'vitest';
import { nodeFromAttributes, nodeKey, readHead } from '../../../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { expireHead } from '../../../../shared/broker/jobs/expire/expire-head.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import { sweepHead } from '../../../../shared/broker/jobs/sweep/sweep-head.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import { packEntry } from '../../../../shared/log/head/entry.ts';
import { announce } from '../../../../shared/log/segment/list-changes.ts';
import { scheduleSweep } from '../../../../shared/log/segment/list-cleanup.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import {
  HEAD,
  headKey,
  inlineBatchKey,
  REFERENCE,
  segmentObjectKey,
  segmentPageKey,
} from '../../../../shared/storage/keys.ts';
import {
  beforeRequests,
  jobContext,
  killedAfter,
  mergeBooks,
  spillBooks,
  storedNames,
  watchItems,
} from '../../../support/maintained-log.ts';
import { bytes, codeOf, memoryBroker, memoryStores, SeededRandom, valuesOf } from '../../../support/memory-broker.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

async function setUp({ partitions = 1, config = {} }: { partitions?: number; config?: Record<string, unknown> } = {}) {
  const bare = memoryStores();
  const written = new Set<string>();
  const stores = { ...bare, items: watchItems(bare.items, written) };
  const { clock } = bare;
  // The same names in each run.
  const broker = memoryBroker(stores, {}, new SeededRandom(5));
  await broker.putTopic({ name: 't', partitions, config });
  const topic = (): Promise<Topic> => jobContext(stores).topics.refresh('t');
  const { topicId } = await topic();
  const name = { topicId, headNumber: 0 };
  const names = async (pattern: RegExp) => (await storedNames(stores, [...written])).filter((one) => pattern.test(one));
  return {
    stores,
    clock,
    broker,
    topic,
    topicId,
    name,
    async append(count: number, valueBytes = 1, partition = 0) {
      const records = () => [{ key: null, value: bytes('v'.repeat(valueBytes)), headers: [], partition }];
      for (let i = 0; i < count; i++) await broker.appendRecords({ topic: 't', records: records() });
      await broker.idle();
    },
    /** One commit group with large records for two heads. */
    async appendShared() {
      const records = [0, 16].map((partition) => ({
        key: null,
        value: bytes('v'.repeat(20_000)),
        headers: [],
        partition,
      }));
      await broker.appendRecords({ topic: 't', records });
      await broker.idle();
    },
    merge: async (headNumber = 0) => mergeBooks(jobContext(stores), await topic(), headNumber),
    expire: async (headNumber = 0) => clock.run(expireHead(jobContext(stores), await topic(), headNumber)),
    sweep: async (over: typeof stores = stores, headNumber = 0) =>
      clock.run(sweepHead(jobContext(over), await topic(), headNumber)),
    list: () => readSegmentList(stores.items, name),
    names,
    nodes: () => names(/^node#/),
    batches: () => names(/^batch#/),
    /** A batch that was written by a process that died before its commit. */
    async orphan(timeMs = clock.nowMs(), random = 7) {
      const batchId = makeBatchId(new Uint8Array(6).fill(random), timeMs);
      await stores.items.put(inlineBatchKey(topicId, 0, batchId), { d: bytes('lost') });
      return batchId;
    },
  };
}

type Log = Awaited<ReturnType<typeof setUp>>;

describe('cleaning', () => {
  it('deletes nodes and their data half an hour after the merge, and nothing else', async () => {
    const log = await setUp();
    await log.append(16);
    await log.append(4);
    await log.merge();
    await log.clock.advance(GRACE_MS - 1);
    const before = await log.sweep();
    expect(before.nodesDeleted).toBe(0);
    expect((await log.batches()).length).toBe(20);
    await log.clock.advance(1);
    const { list, nodesDeleted, nextAtMs } = await log.sweep();
    expect(nodesDeleted).toBe(2);
    expect(list).toMatchObject({ cleanedEntry: 16, cleanBelow: 16 });
    expect(await log.nodes()).toEqual([]);
    expect((await log.batches()).length).toBe(4);
    expect((await log.names(/^segments\//)).length).toBe(1);
    expect(nextAtMs).toBe(log.clock.nowMs() - GRACE_MS + DAY + GRACE_MS - 1);
    expect(await valuesOf(log.broker, 't', 0, { from: 16 })).toEqual(['v', 'v', 'v', 'v']);
  });

  it('comes in its turn to what was merged meanwhile', async () => {
    const log = await setUp();
    await log.append(8);
    await log.merge();
    await log.clock.advance(HOUR);
    await log.append(8);
    await log.merge();
    const { list, nextAtMs } = await log.sweep();
    expect(list).toMatchObject({ cleanedEntry: 8, cleanBelow: 16, cleanAtMs: log.clock.nowMs() + GRACE_MS });
    expect(nextAtMs).toBe(log.clock.nowMs() + GRACE_MS);
  });

  it('begins the grace of what was merged while it stood still after that', async () => {
    const log = await setUp();
    await log.append(8);
    await log.merge();
    await log.append(8);
    await log.clock.advance(GRACE_MS);
    let isMerged = false;
    const stores = beforeRequests(log.stores, async (request) => {
      if (isMerged || request !== 'deleteItem') return;
      isMerged = true;
      await log.clock.sleep(HOUR);
      await log.merge();
    });
    const { list } = await log.sweep(stores);
    expect(list).toMatchObject({ cleanedEntry: 8, cleanBelow: 16, cleanAtMs: log.clock.nowMs() + GRACE_MS });
  });

  it('deletes what a late move of the tail, or a sweep that died, has left', async () => {
    const log = await setUp();
    await log.append(8);
    const node = await log.stores.items.get(nodeKey(log.name, 0));
    await log.merge();
    await log.clock.advance(GRACE_MS);
    await log.sweep();
    const leave = () => log.stores.items.put(nodeKey(log.name, 0), node.attributes ?? {});
    await leave();
    await log.append(8);
    await log.merge();
    await log.clock.advance(GRACE_MS);
    await log.sweep();
    expect(await log.nodes()).toEqual([]);
    // Also if nothing is merged any more.
    await leave();
    await log.clock.advance(DAY);
    await log.sweep();
    expect(await log.nodes()).toEqual([]);
  });

  it('takes many nodes in steps, and stops between them', async () => {
    const log = await setUp();
    await log.append(8 * 300);
    await log.merge();
    await log.clock.advance(GRACE_MS);
    const stop = new AbortController();
    const stores = {
      ...log.stores,
      items: {
        ...log.stores.items,
        delete: (...args: Parameters<typeof log.stores.items.delete>) => {
          if (args[0].pk.startsWith('node#')) stop.abort();
          return log.stores.items.delete(...args);
        },
      },
    };
    const { list, nodesDeleted, nextAtMs } = await log.clock.run(
      sweepHead(jobContext(stores), await log.topic(), 0, { signal: stop.signal }),
    );
    expect({ cleanedEntry: list.cleanedEntry, nodesDeleted }).toEqual({ cleanedEntry: 256 * 8, nodesDeleted: 256 });
    expect(nextAtMs).toBeLessThanOrEqual(log.clock.nowMs());
    expect(await log.sweep()).toMatchObject({ nodesDeleted: 44 });
    expect(await log.batches()).toEqual([]);
  });

  it('deletes a hot object of its own, and one that is shared with its last head', async () => {
    const log = await setUp({ partitions: 32 });
    await log.append(4, 20_000);
    await log.appendShared();
    await log.append(3);
    await log.append(7, 1, 16);
    const shared = await log.names(/^hot\/[^.]*$/);
    expect(shared.length).toBe(1);
    await log.merge(0);
    await log.merge(1);
    await log.clock.advance(GRACE_MS);
    await log.sweep(undefined, 1);
    expect(await log.names(/^hot\/[^.]*$/)).toEqual(shared);
    expect((await log.names(/^reference/)).length).toBe(1);
    const reference = { pk: String((await log.names(/^reference/))[0]).split(' ')[0] as string, sk: '-' };
    const { attributes } = await log.stores.items.get(reference);
    expect(Number(attributes?.[REFERENCE.expiresAt]) * 1_000).toBeGreaterThanOrEqual(log.clock.nowMs() + 30 * DAY);
    await log.sweep(undefined, 0);
    expect(await log.names(/^(hot|reference)/)).toEqual([]);
  });

  it('leaves data to the entry that has its last parts', async () => {
    const log = await setUp();
    await log.append(16);
    const node = await log.stores.items.get(nodeKey(log.name, 0));
    const head = await readHead(log.stores.items, log.name);
    expect(head.firstEntry).toBe(16);
    const { entries } = nodeFromAttributes(0, node.attributes ?? {});
    await log.stores.items.put(nodeKey(log.name, 0), {
      ...node.attributes,
      t: entries.map((entry, i) => packEntry(i === 3 ? { ...entry, continued: true } : entry)),
    });
    await log.merge();
    await log.clock.advance(GRACE_MS);
    await log.sweep();
    const left = await log.batches();
    expect(left.length).toBe(1);
    // Nothing refers to it any more: a day later it is an orphan.
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 1 });
    expect(await log.batches()).toEqual([]);
  });
});

describe('garbage', () => {
  it('is deleted when it is due: segments and pages', async () => {
    const log = await setUp({ config: { 'retention.ms': HOUR } });
    for (let i = 0; i < 130; i++) {
      await log.append(8);
      await log.merge();
    }
    await spillBooks(jobContext(log.stores), await log.topic(), 0);
    await log.clock.advance(HOUR + 1);
    await log.expire();
    await log.clock.advance(GRACE_MS - 1);
    expect((await log.sweep()).garbageDeleted).toBe(0);
    expect((await log.names(/^segments\//)).length).toBe(130);
    await log.clock.advance(1);
    expect(await log.sweep()).toMatchObject({ garbageDeleted: 131, list: { garbage: [] } });
    expect(await log.names(/^segments\//)).toEqual([]);
    expect((await log.names(/^segments#/)).length).toBe(1);
  });

  it('stays in the list if the sweep is stopped before it is deleted', async () => {
    const log = await setUp({ config: { 'retention.ms': HOUR } });
    await log.append(8);
    await log.merge();
    await log.clock.advance(HOUR + 1);
    await log.expire();
    await log.clock.advance(GRACE_MS);
    const { garbage } = await log.list();
    expect(garbage).toHaveLength(1);
    const signal = AbortSignal.abort();
    await log.clock.run(sweepHead(jobContext(log.stores), await log.topic(), 0, { signal }));
    expect(await log.list()).toMatchObject({ garbage });
  });

  it('is what a dead job announced, after its time and a grace', async () => {
    const log = await setUp();
    const id = (await log.merge()).version + 1;
    await updateSegmentList(jobContext(log.stores), log.stores.items, log.name, (list) => ({
      list: scheduleSweep(
        announce(list, 'merge', [{ what: 'segment', slot: 0, startOffset: 0 }], log.clock.nowMs() + ANNOUNCED_MS)
          ?.list ?? list,
      ),
      result: undefined,
    }));
    const key = segmentObjectKey(log.topicId, 0, 0, id);
    await log.stores.objects.put(key, [bytes('never committed')]);
    await log.sweep();
    await log.clock.advance(ANNOUNCED_MS);
    const { nextAtMs, list } = await log.sweep();
    expect(list.garbage).toMatchObject([{ dueAtMs: log.clock.nowMs() + GRACE_MS }]);
    expect(nextAtMs).toBe(log.clock.nowMs() + GRACE_MS);
    await log.clock.advance(GRACE_MS);
    await log.sweep();
    expect(await log.names(/^segments\//)).toEqual([]);
  });
});

describe('what retention dropped before it was merged', () => {
  it('loses its data after the grace; entries stay', async () => {
    const log = await setUp({ config: { 'retention.ms': HOUR } });
    await log.append(10);
    await log.clock.advance((3 * HOUR) / 4);
    await log.append(3);
    await log.clock.advance(HOUR / 4 + 1);
    await log.stores.items.put(segmentPageKey(log.topicId, 0, { slot: 0, startOffset: 0, version: 0 }), {});
    await log.broker.deleteRecords({ topic: 't', partition: 0, before: 1 });
    await log.expire();
    await log.clock.advance(GRACE_MS - 1);
    await log.sweep();
    expect((await log.batches()).length).toBe(13);
    expect((await log.expire()).nextAtMs).toBeGreaterThan(log.clock.nowMs() + 1);
    await log.clock.advance(1);
    const { list } = await log.sweep();
    expect(list).toMatchObject({ dropBelow: 10, droppedEntry: 10 });
    // More may have expired meanwhile, and waited for this.
    expect(list.due.expire?.atMs).toBeLessThanOrEqual(log.clock.nowMs());
    expect((await log.batches()).length).toBe(3);
    expect((await log.nodes()).length).toBe(1);
    await log.append(5);
    expect(await valuesOf(log.broker, 't', 0, { from: 10 })).toEqual(Array.from({ length: 8 }, () => 'v'));
    await log.merge();
    await log.clock.advance(GRACE_MS);
    await log.sweep();
    expect((await log.batches()).length).toBe(2);
  });
});

describe('inline batches without an entry', () => {
  it('are deleted once they are a day old, and the head refuses them first', async () => {
    const log = await setUp();
    await log.append(12);
    await log.merge();
    const batchId = await log.orphan();
    const writtenAtMs = log.clock.nowMs();
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 0 });
    await log.clock.advance(DAY);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 1, nextAtMs: log.clock.nowMs() + DAY });
    const key = inlineBatchKey(log.topicId, 0, batchId);
    expect((await log.stores.items.get(key)).attributes).toBeUndefined();
    const head = await readHead(log.stores.items, log.name);
    expect(head.refusesBeforeMs).toBe(writtenAtMs + 1);
    // The old entries of the tail are not orphans.
    expect((await log.batches()).length).toBe(4);
    await log.append(1);
  });

  it('are not looked for more than once a day', async () => {
    const log = await setUp();
    await log.append(8);
    await log.merge();
    await log.sweep();
    await log.clock.advance(DAY - 1);
    await log.orphan(1);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 0 });
    await log.clock.advance(1);
    expect(await log.sweep()).toMatchObject({ orphansDeleted: 1 });
  });

  it.each(['the first look', 'the refusal'])('are kept if their commit came after %s', async (moment) => {
    const log = await setUp();
    await log.append(8);
    await log.merge();
    await log.append(1);
    const batchId = await log.orphan();
    await log.clock.advance(DAY + 1);
    const part = { slot: 0, records: 1, position: 0, bytes: 4, maxTimestampMs: 1 };
    const packed = packEntry({ batchId, location: 'inline', onceKeys: 0, parts: [part] });
    const key = headKey(log.topicId, 0);
    let commits: boolean | undefined;
    const commit = async () => {
      const { ok } = await log.stores.items.update(
        key,
        [
          { do: 'append', name: HEAD.tail, values: [packed] },
          { do: 'add', name: HEAD.next(0), by: 1 },
        ],
        [{ if: 'at_most', name: HEAD.refusesBefore, value: log.clock.nowMs() - DAY - 1 }],
      );
      commits ??= ok;
    };
    const items = {
      ...log.stores.items,
      async update(...args: Parameters<typeof log.stores.items.update>) {
        const isRefusal = args[1].some((update) => update.name === HEAD.refusesBefore);
        if (isRefusal && moment === 'the first look') await commit();
        const result = await log.stores.items.update(...args);
        if (isRefusal && moment === 'the refusal') await commit();
        return result;
      },
    };
    const swept = await log.sweep({ ...log.stores, items });
    const { attributes } = await log.stores.items.get(inlineBatchKey(log.topicId, 0, batchId));
    // Either the commit came and the data is there, or neither.
    expect(commits).toBe(moment === 'the first look');
    expect({ left: attributes !== undefined, orphansDeleted: swept.orphansDeleted }).toEqual(
      moment === 'the first look' ? { left: true, orphansDeleted: 0 } : { left: false, orphansDeleted: 1 },
    );
  });

  it('are no orphans while a node that is not cleaned has them', async () => {
    const log = await setUp();
    await log.append(24);
    await log.merge();
    await updateSegmentList(jobContext(log.stores), log.stores.items, log.name, (list) => ({
      list: { ...list, cleanAtMs: log.clock.nowMs() + 100 * DAY },
      result: undefined,
    }));
    await log.clock.advance(2 * DAY);
    await log.sweep();
    expect((await log.batches()).length).toBe(24);
  });
});

/** A head with everything that is swept. */
async function prepared(): Promise<Log> {
  const log = await setUp({ partitions: 32, config: { 'retention.ms': 2 * HOUR } });
  await log.append(3, 20_000);
  await log.appendShared();
  await log.append(21);
  await log.merge();
  await log.clock.advance(2 * HOUR + 1);
  await log.orphan(log.clock.nowMs() - 2 * DAY);
  await log.expire();
  await log.clock.advance(GRACE_MS);
  return log;
}

async function state(log: Log) {
  const { version: _, writer: __, due, ...list } = await log.list();
  return {
    list,
    due: due.sweep?.atMs,
    names: await log.names(/^(hot|segments\/|batch|node|reference|segments#|head)/),
  };
}

describe('a sweep', () => {
  it('that died anywhere is finished by the next', async () => {
    const whole = await prepared();
    await whole.sweep();
    const expected = await state(whole);
    expect(expected.names.filter((one) => /^(batch|node)/.test(one))).toEqual([]);
    let deaths = 0;
    for (let requests = 0; ; requests++) {
      const log = await prepared();
      const died = await log.sweep(killedAfter(log.stores, requests)).then(
        () => false,
        () => true,
      );
      await log.sweep();
      expect(await state(log)).toEqual(expected);
      if (!died) break;
      deaths++;
    }
    expect(deaths).toBeGreaterThan(40);
  });

  it('beside others has the same result', async () => {
    const whole = await prepared();
    await whole.sweep();
    const log = await prepared();
    await Promise.all([log.sweep(), log.sweep(), log.sweep()]);
    expect(await state(log)).toEqual(await state(whole));
  });

  it('that is overtaken by another goes on behind it', async () => {
    const log = await setUp();
    await log.append(16);
    await log.merge();
    await log.clock.advance(GRACE_MS);
    const topic = await log.topic();
    let isOvertaken = false;
    const stores = beforeRequests(log.stores, async (request, [range]) => {
      if (isOvertaken || request !== 'query' || !(range as { pk: string }).pk.startsWith('node#')) return;
      isOvertaken = true;
      await sweepHead(jobContext(log.stores), topic, 0);
    });
    expect(await log.sweep(stores)).toMatchObject({ nodesDeleted: 0, list: { cleanedEntry: 16 } });
    expect([...(await log.nodes()), ...(await log.batches())]).toEqual([]);
  });

  it('does nothing to a head without a list', async () => {
    const log = await setUp();
    await log.append(1);
    expect(await log.sweep()).toMatchObject({ nextAtMs: undefined, list: { version: 0 } });
  });

  it('fails if a node is missing, and deletes nothing behind it', async () => {
    const log = await setUp();
    await log.append(24);
    await log.merge();
    await log.stores.items.delete(nodeKey(log.name, 8));
    await log.clock.advance(GRACE_MS);
    expect(await codeOf(log.sweep())).toBe('corrupt_data');
    expect((await log.batches()).length).toBe(24);
  });
});
