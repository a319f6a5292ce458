import { describe, expect, it } from 'vitest';
import { readSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { ANNOUNCED_MS } from '../../../../shared/broker/jobs/grace.ts';
import type { SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { segmentObjectKey, USE, useKey } from '../../../../shared/storage/keys.ts';
import { dyingStores } from '../../../support/dying-stores.ts';
import { type FaultPlan, faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, memoryBroker, memoryStores, record, SeededRandom } from '../../../support/memory-broker.ts';

/** A head with seven merged segments in two slots, and nodes with a producer's and a keyed batch for the eighth. */
async function setUp() {
  const stores = memoryStores();
  const broker = memoryBroker(stores, {}, new SeededRandom(5));
  const { topic } = await broker.putTopic({ name: 't', partitions: 16 });
  const name = { topicId: topic.topicId, headNumber: 0 };
  const append = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await appendTo(broker, 't', i % 2, [`${i}`]);
    await broker.idle();
  };
  for (let i = 0; i < 7; i++) {
    await append(8);
    await broker.mergeHead(name.topicId, 0, { force: true });
  }
  const producer = { producerId: 5, producerEpoch: 0, baseSequence: 0 };
  await appendTo(broker, 't', 0, ['produced'], { producer });
  await broker.appendRecords({ topic: 't', records: [record('keyed', { partition: 1 })], idempotencyKey: 'k' });
  await append(14);
  const merge = (through: typeof stores) =>
    memoryBroker(through, {}, new SeededRandom(6)).mergeHead(name.topicId, 0, { force: true });
  return { stores, name, merge, list: () => readSegmentList(stores.items, name) };
}

type World = Awaited<ReturnType<typeof setUp>>;

/** The offsets of each slot's segments, which all exist; and no object is there that the list does not name. */
async function checked({ stores, name, list }: World): Promise<string> {
  const now = await list();
  const named = new Set<string>();
  const keyOf = (slot: number, one: { startOffset: number; version: number }): string =>
    segmentObjectKey(name.topicId, slot, one.startOffset, one.version);
  for (const [slot, { segments }] of now.slots.entries()) for (const one of segments) named.add(keyOf(slot, one));
  const { keys } = await stores.objects.list('segments/', { limit: 1_000 });
  for (const key of named) expect(keys).toContain(key);
  for (const { slot, ...one } of [...now.garbage, ...now.announcements.flatMap(({ names }) => names)])
    named.add(keyOf(slot, one));
  for (const key of keys) expect([...named]).toContain(key);
  return offsets(now);
}

function offsets({ mergedEntry, slots }: SegmentList): string {
  const ranges = slots.map(({ segments }) => segments.map((one) => `${one.startOffset}-${one.endOffset}`).join(' '));
  return `${mergedEntry}: ${ranges.join(', ')}`;
}

async function itemsOf({ stores, name }: World) {
  const { items } = await stores.items.query({ pk: `use#${name.topicId}#0`, limit: 10 });
  const { items: producers } = await stores.items.query({ pk: `producer#${name.topicId}#0`, limit: 10 });
  expect(useKey(name.topicId, 0, items[0]?.sk ?? '').pk).toBe(`use#${name.topicId}#0`);
  return [items.length, producers.length];
}

const MERGED = '72: 0-36, 0-36';

describe('a merge that dies', () => {
  it.each(['is_sent', 'is_not_sent'] as const)('at any request, which %s, is made up for by the next', async (last) => {
    let died = 0;
    for (let requests = 0; ; requests++) {
      const world = await setUp();
      const dying = dyingStores(world.stores, requests, last);
      const end = await Promise.race([world.merge(dying.stores), dying.died]);
      await checked(world);
      if (end !== 'died') break;
      died++;
      await world.stores.clock.advance(ANNOUNCED_MS);
      await world.merge(world.stores);
      expect(await checked(world)).toBe(MERGED);
      expect(await itemsOf(world)).toEqual([1, 1]);
    }
    expect(died).toBeGreaterThan(40);
  });
});

it('keeps the use of an idempotency key for two hours longer than the note of it', async () => {
  const { stores, name, merge } = await setUp();
  const nowMs = stores.clock.nowMs();
  await merge(stores);
  const { items } = await stores.items.query({ pk: `use#${name.topicId}#0`, limit: 10 });
  const hours = items.map(({ attributes }) => (Number(attributes[USE.expiresAt]) - Math.ceil(nowMs / 1_000)) / 3_600);
  expect(hours).toEqual([26]);
});

describe('two merges at once', () => {
  it('merge once', async () => {
    for (const delays of [1, 2, 3, 5, 8, 13]) {
      const world = await setUp();
      let requests = 0;
      const delayed = faultyStores(world.stores, (): FaultPlan => ({ delayMs: (requests++ * delays) % 7 }));
      await world.stores.clock.run(
        Promise.all([world.merge(delayed), world.merge(delayed), world.merge(world.stores)]),
      );
      await world.stores.clock.advance(ANNOUNCED_MS);
      await world.merge(world.stores);
      expect(await checked(world)).toBe(MERGED);
    }
  });
});

describe('a merge that stands still', () => {
  it('before any request, while another merges everything, does no harm', async () => {
    for (let at = 0; at < 40; at++) {
      const world = await setUp();
      let requests = 0;
      const slow = faultyStores(world.stores, (): FaultPlan | undefined =>
        requests++ === at ? { delayMs: 4 * ANNOUNCED_MS } : undefined,
      );
      const late = world.merge(slow);
      await world.stores.clock.advance(2 * ANNOUNCED_MS);
      await world.merge(world.stores);
      await world.stores.clock.run(late);
      expect(await checked(world), `at request ${at}`).toBe(MERGED);
    }
  });
});
