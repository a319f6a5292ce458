import { describe, expect, it } from 'vitest';
import type { PartitionReport } from '../../../../shared/broker/verify/report.ts';
import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { packTotals, unpackTotals } from '../../../../shared/log/head/head.ts';
import { schedule } from '../../../../shared/log/segment/list-changes.ts';
import { addHashes, batchHash } from '../../../../shared/log/segment/set-hash.ts';
import { aroundStores, keyOf } from '../../../../shared/storage/around-stores.ts';
import {
  hotObjectKey,
  inlineBatchKey,
  NODE,
  nodePartitionKey,
  nodeSortKey,
  SEGMENT_PAGE,
  segmentObjectKey,
  segmentPageKey,
} from '../../../../shared/storage/keys.ts';
import type { ByteRange, ItemKey, ObjectStore } from '../../../../shared/storage/ports.ts';
import { DamagedLog } from '../../../support/damaged-log.ts';
import {
  appendTo,
  bytes,
  codeOf,
  type MemoryStores,
  memoryBroker,
  memoryStores,
  SeededRandom,
} from '../../../support/memory-broker.ts';
import { MergedLog } from '../../../support/merged-log.ts';
import {
  appendShapes,
  mergeAll,
  raiseStart,
  type ShapedLog,
  shapedLog,
  TOPIC,
  verifyAll,
} from '../../../support/shaped-log.ts';

/** The set hash of what readers get from the log start on. */
async function hashOfReads({ broker }: ShapedLog, { partition, logStartOffset, highWatermark }: PartitionReport) {
  let hash = 0n;
  let records = 0;
  let bytes = 0;
  for (let offset = logStartOffset; offset < highWatermark; ) {
    const { batches, nextOffset } = await broker.read({ topic: TOPIC, partition, from: { offset } });
    for await (const batch of batches) {
      const header = readBatchHeader(batch.bytes);
      hash = addHashes(hash, batchHash(header, batch.baseOffset));
      records += header.recordCount;
      bytes += header.bytes;
    }
    offset = nextOffset;
  }
  return { records, bytes, setHash: hash.toString(16).padStart(16, '0') };
}

describe('a verification', () => {
  it('finds nothing wrong in a whole log of all shapes, and counts what readers get', async () => {
    const log = await shapedLog();
    const { partitions, problems } = await verifyAll(log.broker, { deep: true });
    expect(problems).toEqual([]);
    expect(partitions.map(({ partition }) => partition)).toEqual(Array.from({ length: 18 }, (_, i) => i));
    for (const partition of partitions) expect(partition).toMatchObject(await hashOfReads(log, partition));
    expect(partitions[0]).toMatchObject({ segments: 5, unmergedParts: 16, tailParts: 5, logStartOffset: 0 });
    expect(partitions[1]).toMatchObject({ segments: 4, logStartOffset: 129, highWatermark: 234 });
    expect(partitions[16]).toMatchObject({ segments: 3, unmergedParts: 0, tailParts: 7, records: 31 });
    expect(partitions[17]).toMatchObject({ records: 0, batches: 0, segments: 0, setHash: '0'.repeat(16) });
  });

  it('has the same set hash before and after merging and joining', async () => {
    const log = await shapedLog();
    const before = await verifyAll(log.broker);
    await mergeAll(log);
    const after = await verifyAll(log.broker);
    expect(after.problems).toEqual([]);
    expect(after.partitions[0]).toMatchObject({ segments: 6, unmergedParts: 0, tailParts: 5 });
    const content = ({ partitions }: typeof before) =>
      partitions.map(({ setHash, records, batches, bytes }) => ({ setHash, records, batches, bytes }));
    expect(content(after)).toEqual(content(before));
  });

  it('goes on in another process, after any number of bytes', async () => {
    const log = await shapedLog();
    const whole = await verifyAll(log.broker);
    expect(whole.calls).toBe(1);
    for (const maxBytes of [1, 3_000, 100_000]) {
      const steps = await verifyAll(memoryBroker(log.stores), { maxBytes });
      expect(steps.calls).toBeGreaterThan(5);
      expect(steps.partitions).toEqual(whole.partitions);
      expect(steps.problems).toEqual([]);
    }
  });

  it('goes on in the middle of a segment', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    const { topic } = await broker.putTopic({ name: TOPIC });
    for (let i = 0; i < 8; i++) await appendTo(broker, TOPIC, 0, ['small']);
    await broker.idle();
    await broker.mergeHead(topic.topicId, 0, { force: true });
    for (let i = 0; i < 24; i++) await appendTo(broker, TOPIC, 0, ['v'.repeat(900_000)]);
    await broker.idle();
    await stores.clock.run(broker.mergeHead(topic.topicId, 0, { force: true }));
    const log = { stores, broker, topicId: topic.topicId };
    expect((await new DamagedLog(log).lastSegment()).bytes).toBeGreaterThan(2 * 8 * 1024 * 1024 - 2_000_000);
    const steps = await verifyAll(broker, { maxBytes: 1 });
    expect(steps).toMatchObject({ problems: [], partitions: [{ segments: 2, records: 32 }] });
    expect(steps.partitions).toEqual((await verifyAll(broker)).partitions);
    // A job puts the segment and the one before it together in between.
    let page = await broker.verifyTopic(TOPIC, { maxBytes: 1 });
    const isInSegment = (token = '') => /#[0-9a-f]{16}\.[0-9a-f]{16}#/.test(Buffer.from(token, 'base64url').toString());
    while (page.nextPageToken !== undefined && !isInSegment(page.nextPageToken))
      page = await broker.verifyTopic(TOPIC, { maxBytes: 1, pageToken: page.nextPageToken });
    expect(page.nextPageToken).toBeDefined();
    await new MergedLog(stores, topic.topicId).replace(0, 0, 2);
    await new MergedLog(stores, topic.topicId).clean();
    const rest = await verifyAll(broker, { maxBytes: 1, pageToken: page.nextPageToken });
    expect([rest.partitions, rest.problems]).toEqual([steps.partitions, []]);
    // The second chunk is damaged.
    const { key, bytes } = await new DamagedLog(log).lastSegment();
    await new DamagedLog(log).flip(key, bytes - 10);
    expect((await verifyAll(broker, { maxBytes: 1 })).problems).toMatchObject([
      { kind: 'damaged_segment', offset: 31 },
    ]);
  });

  it('goes on in the middle of the tail nodes of a head', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    const { topic } = await broker.putTopic({ name: TOPIC });
    for (let i = 0; i < 8 * 70; i++) await appendTo(broker, TOPIC, 0, ['v']);
    await broker.idle();
    const whole = await verifyAll(broker);
    expect(whole.partitions).toMatchObject([{ records: 560, unmergedParts: 560 }]);
    const steps = await verifyAll(broker, { maxBytes: 1 });
    expect([steps.partitions, steps.problems]).toEqual([whole.partitions, []]);
    // The first node of the second query follows the last one of the first.
    const key = { pk: nodePartitionKey(topic.topicId, 0), sk: nodeSortKey(8 * 64) };
    const damaged = new DamagedLog({ stores, broker, topicId: topic.topicId });
    await damaged.changeItem(key, (attributes) => {
      const totals = unpackTotals(attributes[NODE.before] as Uint8Array);
      return { ...attributes, [NODE.before]: packTotals(totals.map((one) => ({ ...one, bytes: one.bytes + 1 }))) };
    });
    const wrong = { kind: 'wrong_totals', storedAs: `${key.pk}/${key.sk}` };
    for (const maxBytes of [undefined, 1])
      expect((await verifyAll(broker, { maxBytes })).problems).toMatchObject([wrong, { kind: 'wrong_totals' }]);
  });

  it('goes on among the objects of a partition, and after many problems', async () => {
    const log = await shapedLog();
    for (let i = 0; i < 1_050; i++)
      await log.stores.objects.put(segmentObjectKey(log.topicId, 16, i, 99), [new Uint8Array(1)]);
    const { partitions, problems, calls } = await verifyAll(log.broker);
    expect([problems.length, partitions[16]?.orphans, calls]).toEqual([1_050, 1_050, 11]);
    expect(new Set(problems.map(({ storedAs }) => storedAs)).size).toBe(1_050);
  });

  it('ends after ten seconds, or when it is stopped', async () => {
    const log = await shapedLog();
    const { clock } = log.stores;
    const slow = aroundStores(log.stores, (_, run) => async (...args) => {
      await clock.sleep(4_000);
      return run(...args);
    });
    const { run } = clock as unknown as { run<T>(work: () => Promise<T>): Promise<T> };
    const page = await run.call(clock, () => memoryBroker({ ...slow, clock }).verifyTopic(TOPIC));
    expect(page).toMatchObject({ partitions: [], nextPageToken: expect.any(String) });
    const stopped = await log.broker.verifyTopic(TOPIC, { signal: AbortSignal.abort() });
    expect(stopped).toMatchObject({ partitions: [], nextPageToken: expect.any(String) });
    expect((await verifyAll(log.broker, { pageToken: stopped.nextPageToken })).partitions).toHaveLength(18);
  });

  it('looks at one partition only, if asked', async () => {
    const { broker } = await shapedLog();
    const { partitions } = await verifyAll(broker);
    expect((await verifyAll(broker, { partition: 16 })).partitions).toEqual([partitions[16]]);
    const steps = await verifyAll(broker, { partition: 1, maxBytes: 1 });
    expect(steps.partitions).toEqual([partitions[1]]);
  });

  it('refuses what it cannot do', async () => {
    const { broker } = await shapedLog();
    const { nextPageToken: pageToken } = await broker.verifyTopic(TOPIC, { maxBytes: 1 });
    expect(await codeOf(broker.verifyTopic('none'))).toBe('unknown_topic');
    expect(await codeOf(broker.verifyTopic('a b'))).toBe('invalid_request');
    expect(await codeOf(broker.verifyTopic(TOPIC, { partition: 18 }))).toBe('unknown_partition');
    for (const maxBytes of [0, -1, 1.5, Number.NaN, 64 * 1024 * 1024 + 1])
      expect(await codeOf(broker.verifyTopic(TOPIC, { maxBytes }))).toBe('invalid_request');
    for (const wrong of ['', 'x', Buffer.from('a#b').toString('base64url')])
      expect(await codeOf(broker.verifyTopic(TOPIC, { pageToken: wrong }))).toBe('invalid_request');
    expect(await codeOf(broker.verifyTopic(TOPIC, { pageToken, partition: 3 }))).toBe('invalid_request');
    await broker.deleteTopic(TOPIC);
    expect(await codeOf(broker.verifyTopic(TOPIC, { pageToken }))).toBe('unknown_topic');
    await broker.putTopic({ name: TOPIC });
    expect(await codeOf(broker.verifyTopic(TOPIC, { pageToken }))).toBe('invalid_request');
  });

  it('finds nothing in a topic that has no records', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: TOPIC, partitions: 3 });
    const { partitions, problems } = await verifyAll(broker);
    expect(problems).toEqual([]);
    expect(partitions).toHaveLength(3);
  });

  it('reads a second time what arrives damaged, cut or not at all', async () => {
    const log = await shapedLog();
    for (const spoil of [
      (bytes: Uint8Array) => bytes.map((byte, i) => (i === 100 || i === bytes.length - 1 ? byte ^ 1 : byte)),
      (bytes: Uint8Array) => bytes.slice(0, -1),
      () => undefined,
    ]) {
      const reads = new Map<string, number>();
      let spoiled = 0;
      const objects = {
        ...log.stores.objects,
        list: log.stores.objects.list.bind(log.stores.objects),
        get: async (key: string, range: ByteRange) => {
          const bytes = await log.stores.objects.get(key, range);
          const read = (reads.get(key) ?? 0) + 1;
          reads.set(key, read);
          // Of a segment the index and then the batches.
          if (bytes === undefined || (read !== 1 && !(read === 3 && key.startsWith('segments/')))) return bytes;
          spoiled++;
          return spoil(bytes);
        },
      } as ObjectStore;
      expect((await verifyAll(memoryBroker({ ...log.stores, objects }))).problems).toEqual([]);
      expect(spoiled).toBeGreaterThan(30);
    }
  });

  it('passes over what compaction left out, and finds it in a topic that was never compacted', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    const { topic } = await broker.putTopic({ name: TOPIC, config: { 'cleanup.policy': 'compact' } });
    const log = { stores, broker, topicId: topic.topicId };
    const merged = new MergedLog(stores, topic.topicId);
    for (let i = 0; i < 4; i++) {
      for (let j = 0; j < 8; j++) await appendTo(broker, TOPIC, 0, ['v'], { key: bytes('k') });
      await broker.idle();
      await mergeAll(log);
    }
    // Within a segment, at its end, and a whole segment.
    await merged.replace(0, 0, 1, ({ baseOffset }) => baseOffset !== 3 && baseOffset !== 7);
    await merged.replace(0, 2, 1, () => false);
    expect(await verifyAll(broker)).toMatchObject({ problems: [], partitions: [{ records: 22, segments: 3 }] });
    await broker.putTopic({ name: TOPIC, config: { 'cleanup.policy': 'delete' } });
    // A compaction is still scheduled, so one may have been under way.
    expect((await verifyAll(broker)).problems).toEqual([]);
    const damaged = new DamagedLog(log);
    await damaged.updateList(({ due: { compact: _, ...due }, ...list }) => ({ ...list, due }));
    const gaps = [
      { kind: 'gap', partition: 0, offset: 3, message: 'The offsets 3 to 3 are stored nowhere.' },
      { kind: 'gap', offset: 7 },
      { kind: 'gap', offset: 16, message: 'The offsets 16 to 23 are stored nowhere.' },
    ];
    expect((await verifyAll(broker)).problems).toMatchObject(gaps);
    expect((await verifyAll(broker, { maxBytes: 1 })).problems).toMatchObject(gaps);
    // As after the end of a compaction.
    await damaged.updateList((list) => ({
      ...list,
      slots: list.slots.map((slot) => ({ ...slot, compactedOffset: 20 })),
    }));
    expect((await verifyAll(broker)).problems).toMatchObject([{ kind: 'gap', offset: 20 }]);
    await raiseStart(log, 0, 24);
    expect((await verifyAll(broker)).problems).toEqual([]);
  });

  it('needs few requests', async () => {
    const log = await shapedLog();
    let requests = 0;
    const counted = aroundStores(log.stores, (_, run) => (...args) => {
      requests++;
      return run(...args);
    });
    const { partitions } = await verifyAll(memoryBroker({ ...counted, clock: log.stores.clock }));
    const parts = partitions.reduce((sum, one) => sum + one.unmergedParts + one.tailParts, 0);
    const segments = partitions.reduce((sum, one) => sum + one.segments, 0);
    // For each part 1, for each segment 2, for each partition the head, the list and the objects, and a few for each head.
    expect(requests).toBeLessThan(parts + 2 * segments + 6 * 18 + 2 * 12);
    // A call that is to do little does little: the head, the list, and one step.
    const reader = memoryBroker({ ...counted, clock: log.stores.clock });
    for (let pageToken: string | undefined; ; ) {
      requests = 0;
      const page = await reader.verifyTopic(TOPIC, { maxBytes: 1, pageToken });
      expect(requests).toBeLessThan(16);
      pageToken = page.nextPageToken;
      if (pageToken === undefined) break;
    }
  });
});

/** What every job does, at once: nothing that a verification has seen stays where it was. */
async function disturb(log: ShapedLog, start: number): Promise<void> {
  const merged = new MergedLog(log.stores, log.topicId);
  await appendShapes(log.broker, 9);
  await mergeAll(log);
  for (let at = 0; at + 2 <= ((await merged.list()).slots[0]?.segments.length ?? 0); at++)
    await merged.replace(0, at, 2);
  await merged.spill(0, 1);
  await new DamagedLog(log).updateList((list) => schedule(list, 'sweep', log.stores.clock.nowMs()));
  await raiseStart(log, 1, start);
  await merged.drop(1, start);
  await merged.clean({ keepsShared: true });
  await new MergedLog(log.stores, log.topicId, 1).clean({ keepsShared: true });
}

/** A process between whose requests something happens. */
function disturbedAt(stores: MemoryStores, happens: (request: number) => Promise<void>) {
  const count = { requests: 0 };
  // Requests are made at once, and what happens expects nobody beside it.
  let last = Promise.resolve();
  const disturbed = aroundStores(stores, (_, run) => async (...args) => {
    last = last.then(() => happens(count.requests++));
    await last;
    return run(...args);
  });
  return { broker: memoryBroker({ ...disturbed, clock: stores.clock }), count };
}

describe('a verification beside jobs', () => {
  it('raises no false alarm, whichever of its requests they come before', { timeout: 120_000 }, async () => {
    let total = 1;
    for (let at = 0; at < total; at++) {
      const stores = memoryStores();
      const broker = memoryBroker(stores, {}, new SeededRandom(1));
      const { topic } = await broker.putTopic({ name: TOPIC, partitions: 17 });
      const log = { stores, broker, topicId: topic.topicId };
      for (let i = 0; i < 6; i++) {
        await appendShapes(broker, 8);
        await mergeAll(log);
        for (const slot of i === 1 ? [0, 1] : []) await new MergedLog(stores, topic.topicId).spill(slot, 2);
      }
      await appendShapes(broker, 12);
      const before = await verifyAll(broker);
      const { broker: verifier, count } = disturbedAt(stores, async (request) => {
        if (request === at) await disturb(log, 40);
      });
      const { problems, partitions } = await verifyAll(verifier, {
        partition: at % 2,
        maxBytes: at % 3 === 0 ? 1 : undefined,
      });
      expect(problems, `before request ${at}`).toEqual([]);
      const [was, is] = [before.partitions[at % 2], partitions[0]];
      // The first partition loses nothing: what was counted before and after the change is what was there.
      if (at % 2 === 0 && is?.highWatermark === was?.highWatermark)
        expect(is).toMatchObject({ setHash: was?.setHash, records: was?.records });
      total = Math.max(total, Math.min(count.requests, 90));
    }
    expect(total).toBeGreaterThan(30);
  });

  it('ends if the topic is deleted meanwhile', async () => {
    for (const at of [1, 5, 20, 60]) {
      const log = await shapedLog();
      const { broker } = disturbedAt(log.stores, async (request) => {
        if (request === at) await log.broker.deleteTopic(TOPIC);
      });
      expect(await codeOf(broker.verifyTopic(TOPIC))).toBe('unknown_topic');
    }
  });

  it('takes no data for lost that retention has dropped before it was merged', async () => {
    let total = 1;
    for (let at = 0; at < total; at++) {
      const log = await shapedLog();
      const { tail, partitions } = await new DamagedLog(log).head();
      const { broker, count } = disturbedAt(log.stores, async (request) => {
        if (request !== at) return;
        await raiseStart(log, 0, partitions[0]?.nextOffset ?? 0);
        await raiseStart(log, 1, partitions[1]?.nextOffset ?? 0);
        for (const { entry } of tail) {
          if (entry.location === 'inline') await log.stores.items.delete(inlineBatchKey(log.topicId, 0, entry.batchId));
          else if (entry.location === 'hot')
            await log.stores.objects.delete(hotObjectKey(entry.batchId, log.topicId, 0));
        }
      });
      expect((await verifyAll(broker, { partition: 0 })).problems, `before request ${at}`).toEqual([]);
      total = count.requests;
    }
    expect(total).toBeGreaterThan(20);
  });

  it('calls nothing an orphan that a late job gives up meanwhile', async () => {
    const log = await shapedLog();
    const { clock } = log.stores;
    const key = segmentObjectKey(log.topicId, 3, 7, 1);
    const page = segmentPageKey(log.topicId, 0, { slot: 3, startOffset: 7, version: 2 });
    await log.stores.objects.put(key, [new Uint8Array(3)]);
    await log.stores.items.put(page, { [SEGMENT_PAGE.segments]: new Uint8Array(3) });
    const giveUp = (what: 'segment' | 'page', version: number) =>
      new DamagedLog(log).updateList((list) => ({
        ...list,
        garbage: [...list.garbage, { what, slot: 3, startOffset: 7, version, dueAtMs: 1 }],
      }));
    const stores = aroundStores(log.stores, (request, run) => async (...args) => {
      if (request === 'getObject' && keyOf(args) === key) await giveUp('segment', 1);
      if (request === 'getItem' && (args[0] as ItemKey).sk === page.sk) await giveUp('page', 2);
      return run(...args);
    });
    const orphans = [
      { kind: 'orphan', headNumber: 0, storedAs: `${page.pk}/${page.sk}` },
      { kind: 'orphan', partition: 3, storedAs: key },
    ];
    expect((await verifyAll(log.broker)).problems).toMatchObject(orphans);
    expect((await verifyAll(memoryBroker({ ...stores, clock }))).problems).toEqual([]);
  });

  it('takes no node for lost that a sweep has deleted before the ones around it', async () => {
    const log = await shapedLog();
    const { mergedEntry } = await new DamagedLog(log).list();
    let queries = 0;
    const stores = aroundStores(log.stores, (request, run) => async (...args) => {
      // The first query of nodes is that of the head's check.
      if (request === 'query' && keyOf(args).startsWith('node#') && ++queries === 2) {
        await mergeAll(log);
        await new DamagedLog(log).updateList((list) => ({
          ...list,
          cleanBelow: list.mergedEntry,
          cleanedEntry: list.mergedEntry,
        }));
        await log.stores.items.delete({ pk: nodePartitionKey(log.topicId, 0), sk: nodeSortKey(mergedEntry + 8) });
      }
      return run(...args);
    });
    const { problems } = await verifyAll(memoryBroker({ ...stores, clock: log.stores.clock }), { partition: 0 });
    expect(problems).toEqual([]);
    expect(queries).toBeGreaterThan(1);
  });

  it.each(Array.from({ length: 12 }, (_, seed) => seed))('raises no false alarm, in any order (%i)', async (seed) => {
    const random = new SeededRandom(seed);
    const stores = memoryStores();
    const log = await shapedLog(stores);
    const merged = new MergedLog(log.stores, log.topicId);
    let start = 130;
    const steps = [
      () => appendShapes(log.broker, 1 + random.below(12)),
      () => mergeAll(log),
      () => merged.clean({ keepsShared: true }),
      () => new MergedLog(log.stores, log.topicId, 1).clean({ keepsShared: true }),
      async () => {
        const { segments = [] } = (await merged.list()).slots[0] ?? {};
        if (segments.length > 2) await merged.replace(0, random.below(segments.length - 1), 2);
      },
      async () => {
        const { segments = [] } = (await merged.list()).slots[0] ?? {};
        if (segments.length > 3) await merged.spill(0, 2);
      },
      async () => {
        start = Math.min(start + random.below(9), (await log.broker.describePartitions(TOPIC))[1]?.highWatermark ?? 0);
        await raiseStart(log, 1, start);
        await merged.drop(1, start).catch(() => {});
      },
    ];
    const { broker } = disturbedAt(log.stores, async () => {
      if (random.below(3) === 0) await steps[random.below(steps.length)]?.();
    });
    for (const maxBytes of [undefined, 1, 50_000]) {
      // A merge rests between its steps.
      const { problems } = await stores.clock.run(verifyAll(broker, { maxBytes }));
      expect(problems).toEqual([]);
    }
  });
});
