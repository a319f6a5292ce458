import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { TAIL_ENTRIES_MAX } from '../../../../shared/log/head/head.ts';
import { HEAD } from '../../../../shared/storage/keys.ts';
import type { ItemKey } from '../../../../shared/storage/ports.ts';
import { type DecideFault, type FaultPlan, faultyStores } from '../../../support/faulty-stores.ts';
import { happeningBefore } from '../../../support/group-world.ts';
import { appendTo, codeOf, memoryBroker, memoryStores, valuesOf } from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

/** The commit's conditions, each met on purpose. */

interface World {
  readonly stores: ReturnType<typeof memoryStores>;
  /** A broker without faults. */
  readonly other: Broker;
  readonly headKey: ItemKey;
}

async function setUp(): Promise<World> {
  const stores = memoryStores();
  const other = memoryBroker(stores);
  const { topic } = await other.putTopic({ name: 't', partitions: 16 });
  return { stores, other, headKey: { pk: `head#${topic.topicId}#0`, sk: '-' } };
}

/** Faults for the n-th commit that is sent, counted from 0: updates of the head that add an entry. */
function onCommit(plans: Readonly<{ [n: number]: FaultPlan }>): DecideFault {
  let count = 0;
  return ({ method, updates }) => (method === 'update' && updates?.[0]?.do === 'append' ? plans[count++] : undefined);
}

async function outcomeOf(work: Promise<unknown>): Promise<unknown> {
  return work.catch((error: unknown) => (error instanceof EventLogError ? [error.code, error.outcome] : error));
}

async function moveOn(broker: Broker, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    await appendTo(broker, 't', 9, ['noise']);
    await broker.idle();
  }
}

describe('a commit', () => {
  it('that is sent again below, after it was applied, is applied once', async () => {
    const { stores, other } = await setUp();
    const broker = memoryBroker(faultyStores(stores, onCommit({ 0: { fault: 'repeated' } })));
    expect(await appendTo(broker, 't', 0, ['a'])).toBe(0);
    expect(await valuesOf(other, 't', 0)).toEqual(['a']);
  });

  it('whose reply was lost is found in the tail', async () => {
    const { stores, other } = await setUp();
    await appendTo(other, 't', 0, ['before']);
    const broker = memoryBroker(faultyStores(stores, onCommit({ 0: { fault: 'lost_reply' } })));
    expect(await stores.clock.run(appendTo(broker, 't', 0, ['a', 'b']))).toBe(1);
    expect(await valuesOf(other, 't', 0)).toEqual(['before', 'a', 'b']);
  });

  it('whose reply cannot be read may have been applied', async () => {
    const { stores, headKey } = await setUp();
    const ofNewerVersion = Uint8Array.of(99, 0);
    const mixed = happeningBefore(
      stores,
      (request, key) => request === 'updateItem' && key === headKey.pk,
      () => stores.items.update(headKey, [{ do: 'append', name: HEAD.tail, values: [ofNewerVersion] }]),
    );
    expect(await outcomeOf(appendTo(memoryBroker(mixed), 't', 0, ['a']))).toEqual(['corrupt_data', 'unknown']);
    expect((await stores.items.get(headKey)).attributes).toMatchObject({ [HEAD.next(0)]: 1 });
  });

  it.each([8, 20, 700])('whose reply was lost is found in a tail node, after %d other entries', async (entries) => {
    const { stores, other } = await setUp();
    await moveOn(other, 3);
    const broker = memoryBroker(faultyStores(stores, onCommit({ 0: { fault: 'lost_reply' } })));
    const appended = appendTo(broker, 't', 0, ['a', 'b']);
    await turn();
    await moveOn(other, entries);
    expect(await stores.clock.run(appended)).toBe(0);
    expect(await valuesOf(other, 't', 0)).toEqual(['a', 'b']);
  });

  it('that arrives late, after its sender gave up on it and the tail has moved on, is refused', async () => {
    const { stores, other } = await setUp();
    await moveOn(other, 5);
    const broker = memoryBroker(faultyStores(stores, onCommit({ 0: { fault: 'late', lateMs: 100_000 } })));
    const appended = appendTo(broker, 't', 0, ['a']);
    await turn();
    await moveOn(other, 30);
    expect(await stores.clock.run(appended)).toBe(0);
    await moveOn(other, 30);
    await stores.clock.advance(200_000);
    expect(await valuesOf(other, 't', 0)).toEqual(['a']);
  });

  it('that arrives late, while what was sent in its place is in the tail, is refused', async () => {
    const { stores, other } = await setUp();
    const broker = memoryBroker(faultyStores(stores, onCommit({ 0: { fault: 'late', lateMs: 5_000 } })));
    expect(await stores.clock.run(appendTo(broker, 't', 0, ['a']))).toBe(0);
    await stores.clock.advance(10_000);
    expect(await valuesOf(other, 't', 0)).toEqual(['a']);
  });

  it('waits where the tail is full, and moves it', async () => {
    const { stores, other, headKey } = await setUp();
    let moves = false;
    const stuck = memoryBroker(
      faultyStores(stores, ({ key, method }) =>
        !moves && method === 'put' && key.startsWith('node#') ? { fault: 'throttled' } : undefined,
      ),
    );
    for (let i = 0; i < TAIL_ENTRIES_MAX; i++) await stores.clock.run(appendTo(stuck, 't', 0, [`${i}`]));
    await stuck.idle();
    const tailLength = async (): Promise<number> =>
      ((await stores.items.get(headKey)).attributes as { t: Uint8Array[] }).t.length;
    expect(await tailLength()).toBe(TAIL_ENTRIES_MAX);
    const appended = appendTo(stuck, 't', 0, ['last']);
    await stores.clock.advance(3_000);
    expect(await tailLength()).toBe(TAIL_ENTRIES_MAX);
    moves = true;
    expect(await stores.clock.run(appended)).toBe(TAIL_ENTRIES_MAX);
    await stores.clock.run(stuck.idle());
    expect(await tailLength()).toBeLessThan(8);
    expect(await valuesOf(other, 't', 0)).toHaveLength(TAIL_ENTRIES_MAX + 1);
  });

  it('that could not be settled says `unknown` if any try may still be applied, and `not_applied` only if none can', async () => {
    for (const [faults, expected, count] of [
      [Array<FaultPlan>(40).fill({ fault: 'throttled' }), ['throttled', 'not_applied'], 0],
      [[{ fault: 'lost_reply' }, ...Array<FaultPlan>(40).fill({ fault: 'throttled' })], ['throttled', 'unknown'], 1],
      [
        [{ fault: 'late', lateMs: 90_000 }, ...Array<FaultPlan>(40).fill({ fault: 'throttled' })],
        ['throttled', 'unknown'],
        1,
      ],
      [Array<FaultPlan>(40).fill({ fault: 'lost_request' }), ['storage_unavailable', 'unknown'], 0],
    ] as const) {
      const { stores, other } = await setUp();
      const broker = memoryBroker(faultyStores(stores, onCommit(faults)));
      expect(await stores.clock.run(outcomeOf(appendTo(broker, 't', 0, ['a'])))).toEqual(expected);
      await stores.clock.advance(100_000);
      expect(await valuesOf(other, 't', 0)).toHaveLength(count);
    }
  });

  it('that met a full tail after a try was lost does not say `not_applied`', async () => {
    const { stores, other } = await setUp();
    let moves = false;
    let commits: Readonly<{ [n: number]: FaultPlan }> = {};
    let sent = 0;
    const broker = memoryBroker(
      faultyStores(stores, ({ key, method, updates }) => {
        if (method === 'put' && key.startsWith('node#') && !moves) return { fault: 'throttled' };
        return method === 'update' && updates?.[0]?.do === 'append' ? commits[sent++] : undefined;
      }),
    );
    for (let i = 0; i < TAIL_ENTRIES_MAX; i++) await stores.clock.run(appendTo(broker, 't', 0, [`${i}`]));
    await stores.clock.run(broker.idle());
    sent = 0;
    // The first try is under way for long, the second is refused for the full tail, and then nothing goes through.
    commits = { ...Array<FaultPlan>(40).fill({ fault: 'throttled' }), 0: { fault: 'late', lateMs: 15_000 }, 1: {} };
    const appended = outcomeOf(appendTo(broker, 't', 0, ['late']));
    await stores.clock.advance(1_000);
    moves = true;
    expect(await stores.clock.run(appended)).toEqual(['throttled', 'unknown']);
    await stores.clock.advance(30_000);
    expect(await valuesOf(other, 't', 0)).toHaveLength(TAIL_ENTRIES_MAX + 1);
  });

  it('whose data could not be written is not applied', async () => {
    const { stores, other } = await setUp();
    const broken = faultyStores(stores, ({ key }) => (key.startsWith('batch#') ? { fault: 'lost_reply' } : undefined));
    // The second put under the same id meets the bytes of the first.
    expect(await stores.clock.run(appendTo(memoryBroker(broken), 't', 0, ['a']).catch(String))).toContain(
      'reply was lost',
    );
    expect(await valuesOf(other, 't', 0)).toEqual([]);
    let puts = 0;
    const once = faultyStores(stores, ({ key }) =>
      key.startsWith('batch#') && puts++ === 0 ? { fault: 'lost_reply' } : undefined,
    );
    expect(await stores.clock.run(appendTo(memoryBroker(once), 't', 0, ['a']))).toBe(0);
    let objects = 0;
    const large = faultyStores(stores, ({ method }) =>
      method === 'put_object' && objects++ === 0 ? { fault: 'lost_reply' } : undefined,
    );
    expect(await stores.clock.run(appendTo(memoryBroker(large), 't', 0, ['x'.repeat(50_000)]))).toBe(1);
  });

  it('of a batch id that another has taken draws another id', async () => {
    for (const value of ['small', 'x'.repeat(50_000)]) {
      const { stores, other } = await setUp();
      const constant = { bytes: (length: number) => new Uint8Array(length).fill(7) };
      let draws = 0;
      const counted = { bytes: (length: number) => new Uint8Array(length).fill(draws++ < 4 ? 7 : draws) };
      expect(await appendTo(memoryBroker(stores, {}, constant), 't', 0, [`first ${value}`])).toBe(0);
      expect(await stores.clock.run(appendTo(memoryBroker(stores, {}, counted), 't', 0, [`second ${value}`]))).toBe(1);
      expect(await valuesOf(other, 't', 0)).toEqual([`first ${value}`, `second ${value}`]);
    }
  });

  it('of one batch id to two heads is kept apart, in the table and in memory', async () => {
    const constant = { bytes: (length: number) => new Uint8Array(length).fill(7) };
    const broker = memoryBroker(memoryStores(), {}, constant);
    await broker.putTopic({ name: 't', partitions: 32 });
    for (const partition of [0, 16]) expect(await appendTo(broker, 't', partition, [`of ${partition}`])).toBe(0);
    for (const partition of [0, 16]) expect(await valuesOf(broker, 't', partition)).toEqual([`of ${partition}`]);
  });

  it('to a topic that is being deleted never comes after the deletion', async () => {
    const { stores, other } = await setUp();
    const broker = memoryBroker(
      faultyStores(stores, onCommit({ 0: { fault: 'late', lateMs: 10_000 }, 1: { delayMs: 2_000 } })),
    );
    const appended = codeOf(appendTo(broker, 't', 0, ['a']));
    await turn();
    await other.deleteTopic('t');
    const made = await other.putTopic({ name: 't', partitions: 16 });
    expect(await stores.clock.run(appended)).toBe(0);
    await stores.clock.advance(20_000);
    // It went to the new topic, as its author asked for a name.
    expect(made.created).toBe(true);
    expect(await valuesOf(other, 't', 0)).toEqual(['a']);
  });
});

describe('the request of a commit', () => {
  it('refuses an atomic append that would not fit', async () => {
    const { other } = await setUp();
    const batches = Array.from({ length: 22 }, (_, i) => ({
      topic: 't',
      partition: i % 16,
      batch: encodeBatch([{ timestampMs: 1, key: null, value: null, headers: [] }], {
        producer: { producerId: i, producerEpoch: 0, baseSequence: 0 },
      }),
    }));
    expect(await codeOf(other.append({ batches, atomic: true }))).toBe('request_too_large');
    const fitting = await other.append({ batches: batches.slice(0, 21), atomic: true });
    expect(fitting.every((outcome) => outcome.ok)).toBe(true);
  });
});
