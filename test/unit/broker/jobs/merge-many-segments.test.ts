import { expect, it } from 'vitest';
import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { ANNOUNCED_MS } from '../../../../shared/broker/jobs/grace.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import { announce } from '../../../../shared/log/segment/list-changes.ts';
import { unpackSegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { SEGMENT_LIST } from '../../../../shared/storage/keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import { beforeRequests, jobContext } from '../../../support/maintained-log.ts';
import { appendTo, bytes, memoryBroker, memoryStores, readAll } from '../../../support/memory-broker.ts';

const PARTITIONS = 16;
const SEGMENT_MS = 50;

/** A head of which nothing is merged, with some appends to all of its partitions, each of which `segment.ms` makes a segment. */
async function backlog(appends: number) {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const config = { 'segment.ms': SEGMENT_MS };
  const { topic } = await broker.putTopic({ name: 't', partitions: PARTITIONS, config });
  for (let i = 0; i < appends; i++) {
    const of = (partition: number) => ({ key: bytes('k'), value: bytes(`${i}`), headers: [], partition });
    await broker.appendRecords({ topic: 't', records: Array.from({ length: PARTITIONS }, (_, slot) => of(slot)) });
    await stores.clock.advance(SEGMENT_MS);
  }
  await broker.idle();
  return { stores, topicId: topic.topicId };
}

it('makes many segments in several merges, so that the list has room for them, and writes each once', async () => {
  const { stores, topicId } = await backlog(1_008);
  let segmentsPut = 0;
  const merged = new Set<number>();
  let listBytesMax = 0;
  const watched = beforeRequests(stores, (request, [first, second]) => {
    if (request === 'putObject' && String(first).startsWith('segments/')) segmentsPut++;
    const list = request === 'putItem' ? (second as Attributes)[SEGMENT_LIST.list] : undefined;
    if (!(list instanceof Uint8Array)) return;
    listBytesMax = Math.max(listBytesMax, list.length);
    merged.add(unpackSegmentList(list).mergedEntry);
  });
  const run = await stores.clock.run(memoryBroker(watched).mergeHead(topicId, 0));
  const mergedEntry = (run?.nodesMerged ?? 0) * TAIL_NODE_ENTRIES;
  expect(mergedEntry).toBeGreaterThan(950);
  expect(run).toMatchObject({ segmentsWritten: mergedEntry * PARTITIONS, list: { mergedEntry, announcements: [] } });
  expect(segmentsPut).toBe(mergedEntry * PARTITIONS);
  // Three nodes of 128 segments at a time.
  const steps = Array.from({ length: Math.ceil(mergedEntry / 24) }, (_, i) => Math.min(mergedEntry, (i + 1) * 24));
  expect([...merged]).toEqual([0, ...steps]);
  expect(listBytesMax).toBeLessThan(150_000);
  const values = (await readAll(memoryBroker(stores), 't', 15)).map(({ value }) => Buffer.from(value ?? []).toString());
  expect(values).toEqual(Array.from({ length: 1_008 }, (_, i) => `${i}`));
});

it('goes on in the next run where one was stopped', async () => {
  const { stores, topicId } = await backlog(160);
  const stop = new AbortController();
  const stopping = beforeRequests(stores, (request) => {
    if (request === 'putObject') stop.abort();
  });
  const first = await stores.clock.run(
    memoryBroker(stopping).mergeHead(topicId, 0, { force: true, signal: stop.signal }),
  );
  expect(first).toMatchObject({ nodesMerged: 3, segmentsWritten: 384, nextAtMs: stores.clock.nowMs() });
  const second = await stores.clock.run(memoryBroker(stores).mergeHead(topicId, 0, { force: true }));
  const merged = second?.list.mergedEntry;
  expect(merged).toBe((3 + (second?.nodesMerged ?? 0)) * TAIL_NODE_ENTRIES);
  expect(merged).toBeGreaterThanOrEqual(128);
});

it('waits while the list is crowded and another process joins segments, and then makes room and goes on', async () => {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 1 });
  const name = { topicId: topic.topicId, headNumber: 0 };
  const append = async () => {
    for (let i = 0; i < TAIL_NODE_ENTRIES; i++) await appendTo(broker, 't', 0, ['v']);
    await broker.idle();
  };
  const merge = (listedSegmentsMax: number) =>
    stores.clock.run(memoryBroker(stores, { listedSegmentsMax }).mergeHead(topic.topicId, 0, { force: true }));
  await append();
  await merge(128);
  await updateSegmentList(jobContext(stores), stores.items, name, (list) => {
    const names = [{ what: 'segment' as const, slot: 0, startOffset: 0 }];
    return { list: announce(list, 'coalesce', names, stores.clock.nowMs() + ANNOUNCED_MS)?.list, result: undefined };
  });
  for (let i = 0; i < PARTITIONS; i++) {
    await append();
    await merge(128);
  }
  await append();
  // Of at most one segment for each of 16 slots.
  expect(await merge(1)).toMatchObject({ nodesMerged: 0, segmentsJoined: 0, nextAtMs: stores.clock.nowMs() + 60_000 });
  await stores.clock.advance(ANNOUNCED_MS);
  expect(await merge(1)).toMatchObject({ nodesMerged: 1, segmentsJoined: 16, list: { mergedEntry: 18 * 8 } });
});
