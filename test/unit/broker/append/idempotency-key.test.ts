import { describe, expect, it } from 'vitest';
import type { AppendRecordsRequest } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  bytes,
  codeOf,
  memoryBroker,
  memoryStores,
  record,
  requestsFor,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';

/** Where each record went, with `+` behind those that an earlier try had appended; or the code of an error. */
async function send(
  broker: Broker,
  key: string,
  values: readonly string[],
  more: Partial<AppendRecordsRequest> = {},
): Promise<unknown> {
  const records = values.map((value) => record(value));
  const outcomes = await codeOf(broker.appendRecords({ topic: 't', records, idempotencyKey: key, ...more }));
  if (typeof outcomes === 'string') return outcomes;
  return outcomes.map((outcome) =>
    outcome.ok ? `${outcome.partition}/${outcome.offset}${outcome.duplicate ? '+' : ''}` : outcome.error.code,
  );
}

const again = (sent: unknown): string[] => (sent as string[]).map((place) => `${place.replace('+', '')}+`);

async function setUp(partitions = 16): Promise<{ stores: ReturnType<typeof memoryStores>; a: Broker; b: Broker }> {
  const stores = memoryStores();
  const a = memoryBroker(stores);
  await a.putTopic({ name: 't', partitions });
  return { stores, a, b: memoryBroker(stores) };
}

async function total(broker: Broker): Promise<number> {
  const partitions = await broker.describePartitions('t');
  return partitions.reduce((sum, { highWatermark }) => sum + highWatermark, 0);
}

/** Stores that lose every note of an answer, as a crash right after the append would. */
function withoutAnswers<S extends ReturnType<typeof memoryStores>>(stores: S): S {
  return faultyStores(stores, ({ key, method }) =>
    method === 'update' && key.startsWith('idempotency#') ? { fault: 'lost_request' } : undefined,
  );
}

describe('an append under an idempotency key', () => {
  it('is done once, whoever is asked to do it again', async () => {
    const { a, b } = await setUp();
    const sent = await send(a, 'k', ['x', 'y', 'z']);
    expect(sent).toHaveLength(3);
    for (const broker of [a, b, a]) expect(await send(broker, 'k', ['x', 'y', 'z'])).toEqual(again(sent));
    expect(await total(a)).toBe(3);
    expect(requestsFor(b, 'append')).toMatchObject({ updateItem: 0 });
  });

  it('costs 1 PutItem and 1 UpdateItem more than without', async () => {
    const { a } = await setUp();
    await appendTo(a, 't', 0, ['warm']);
    const before = requestsFor(a, 'append');
    await send(a, 'k', ['x']);
    const after = requestsFor(a, 'append');
    expect([after.putItem - before.putItem, after.updateItem - before.updateItem, after.query - before.query]).toEqual([
      2, 2, 0,
    ]);
  });

  it('is refused with other content', async () => {
    const { a, b } = await setUp();
    const key = { key: bytes('k') };
    await send(a, 'k', ['x', 'y']);
    const other: [string[], Partial<AppendRecordsRequest>][] = [
      [['x'], {}],
      [['y', 'x'], {}],
      [['x', 'y', 'z'], {}],
      [['xy', ''], {}],
      [[], { records: [record('x', key), record('y')] }],
      [[], { records: [record('x', { partition: 1 }), record('y')] }],
      [[], { records: [record('x', { timestampMs: 5 }), record('y')] }],
      [[], { records: [record('x', { headers: [{ key: 'h', value: null }] }), record('y')] }],
      [['x', 'y'], { atomic: true }],
      [[], { records: [record('x', { partition: 1 }), record('y', { partition: 1 })], expectedOffset: 0 }],
    ];
    for (const [values, more] of other) {
      for (const broker of [a, b]) expect(await send(broker, 'k', values, more)).toBe('idempotency_key_reused');
    }
    expect(await total(a)).toBe(2);
    expect(await send(a, 'k2', ['x'])).not.toBe('idempotency_key_reused');
  });

  it('takes keys of 1 to 255 characters', async () => {
    const { a } = await setUp();
    expect(await send(a, '', ['x'])).toBe('invalid_request');
    expect(await send(a, 'k'.repeat(256), ['x'])).toBe('invalid_request');
    expect(await send(a, '\u0000ключ'.padEnd(255, 'x'), ['x'])).toHaveLength(1);
  });

  it('is found by its once keys where the answer was not noted, however far the tail has moved on', async () => {
    const { stores, a, b } = await setUp();
    const crashing = memoryBroker(withoutAnswers(stores));
    const sent = await stores.clock.run(send(crashing, 'k', ['x', 'y', 'z']));
    for (const commits of [0, 5, 30, 600]) {
      for (let i = 0; i < commits; i++) {
        await appendTo(b, 't', i % 16, ['noise']);
        await b.idle();
      }
      const before = await total(a);
      const retry = memoryBroker(withoutAnswers(stores));
      expect(await stores.clock.run(send(retry, 'k', ['x', 'y', 'z'])), `after ${commits}`).toEqual(again(sent));
      expect(await total(a)).toBe(before);
    }
    expect(await send(a, 'k', ['x', 'y', 'z'])).toEqual(again(sent));
  });

  it('puts every record where the first try did, although partitions were added', async () => {
    const { stores, a, b } = await setUp(3);
    const keyed = Array.from({ length: 12 }, (_, i) => record(`v${i}`, { key: bytes(`key ${i}`) }));
    const crashing = memoryBroker(withoutAnswers(stores));
    const sent = await stores.clock.run(send(crashing, 'k', [], { records: keyed }));
    const sticky = await stores.clock.run(send(crashing, 'sticky', ['s']));
    await a.putTopic({ name: 't', partitions: 40 });
    expect(await send(b, 'k', [], { records: keyed })).toEqual(again(sent));
    expect(await send(b, 'sticky', ['s'])).toEqual(again(sticky));
    expect(await total(a)).toBe(13);
  });

  it('over several heads is completed by the next try where one ended half-way', async () => {
    const { stores, a, b } = await setUp(48);
    const records = [0, 1, 16, 17, 32].map((partition) => record(`p${partition}`, { partition }));
    const { topicId } = await a.describeTopic('t');
    const broken = faultyStores(stores, ({ key, method }) =>
      method === 'update' && key === `head#${topicId}#1` ? { fault: 'throttled' } : undefined,
    );
    const half = await stores.clock.run(send(memoryBroker(broken), 'k', [], { records }));
    expect(half).toEqual(['0/0', '1/0', 'throttled', 'throttled', '32/0']);
    expect(await send(b, 'k', [], { records })).toEqual(['0/0+', '1/0+', '16/0', '17/0', '32/0+']);
    expect(await send(a, 'k', [], { records })).toEqual(['0/0+', '1/0+', '16/0+', '17/0+', '32/0+']);
    expect(await total(a)).toBe(5);
  });

  it('is not begun in part where a topic can’t be read for all its batches', async () => {
    const { stores, a } = await setUp();
    const records = [0, 4, 9].map((partition) => record(`p${partition}`, { partition }));
    for (let at = 0; at < 10; at++) {
      let count = 0;
      // Topics are read anew for each step, and one of the reads fails.
      const broken = faultyStores(stores, ({ key }) =>
        key === 'topics' && count++ === at ? { fault: 'lost_request' } : undefined,
      );
      await send(memoryBroker(broken, { topicCacheMs: 0 }), `k${at}`, [], { records });
      expect(await send(a, `k${at}`, [], { records })).toHaveLength(3);
      expect(await total(a)).toBe(3 * (at + 1));
    }
  });

  it('sent several times to one broker at once is done once', async () => {
    const { a } = await setUp();
    const answers = await Promise.all([0, 1, 2].map(() => send(a, 'k', ['x', 'y'])));
    expect(new Set(answers.map((answer) => again(answer).join())).size).toBe(1);
    expect(await total(a)).toBe(2);
    const noise = Array.from({ length: 10 }, (_, i) => appendTo(a, 't', i, ['noise']));
    await Promise.all([...noise, ...[0, 1, 2].map(() => send(a, 'k2', ['x', 'y']))]);
    expect(await total(a)).toBe(2 + 10 + 2);
  });

  it('sent by several brokers at once is done once', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const { stores } = await setUp();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(30) }));
      const brokers = Array.from({ length: 4 }, () => memoryBroker(slow));
      const answers = await stores.clock.run(Promise.all(brokers.map((broker) => send(broker, 'k', ['x', 'y']))));
      expect(new Set(answers.map((answer) => again(answer).join())).size).toBe(1);
      expect(await stores.clock.run(total(brokers[0] as Broker))).toBe(2);
    }
  });

  it('is done once with any of its requests lost, or its reply', async () => {
    for (const fault of ['lost_request', 'lost_reply', 'late', 'repeated', 'throttled'] satisfies Fault[]) {
      for (let at = 0; at < 8; at++) {
        const { stores, b } = await setUp();
        let count = 0;
        const broken = faultyStores(stores, () => (count++ === at ? { fault, lateMs: 30_000 } : undefined));
        const first = await stores.clock.run(send(memoryBroker(broken), 'k', ['x', 'y']));
        const second = await stores.clock.run(send(b, 'k', ['x', 'y']));
        expect(second).toHaveLength(2);
        if (Array.isArray(first)) expect(again(second)).toEqual(again(first));
        await stores.clock.advance(60_000);
        expect(await total(b), `${fault} at ${at}`).toBe(2);
      }
    }
  });

  it('can be used anew after 24 hours, also where nothing was appended in between', async () => {
    const { stores, a, b } = await setUp();
    const first = await send(a, 'daily', ['monday'], { records: [record('monday', { partition: 3 })] });
    await stores.clock.advance(23 * 3_600_000);
    expect(await send(b, 'daily', [], { records: [record('tuesday', { partition: 3 })] })).toBe(
      'idempotency_key_reused',
    );
    await stores.clock.advance(2 * 3_600_000);
    const second = await stores.clock.run(send(b, 'daily', [], { records: [record('tuesday', { partition: 3 })] }));
    expect([first, second]).toEqual([['3/0'], ['3/1']]);
    expect(await send(a, 'daily', [], { records: [record('tuesday', { partition: 3 })] })).toEqual(['3/1+']);
    expect(await valuesOf(a, 't', 3)).toEqual(['monday', 'tuesday']);
  });

  it('belongs to the topic it met: made again meanwhile, a retry does not append twice', async () => {
    const { stores, a, b } = await setUp();
    // B has the topic in memory while A deletes it and makes it again.
    await appendTo(b, 't', 0, ['warm']);
    await a.deleteTopic('t');
    await a.putTopic({ name: 't', partitions: 16 });
    expect(await send(b, 'k', ['x'])).toEqual(['unknown_topic']);
    await stores.clock.advance(2_000);
    expect(await send(b, 'k', ['x'])).toHaveLength(1);
    for (let i = 0; i < 20; i++) {
      await appendTo(a, 't', 1, ['noise']);
      await a.idle();
    }
    await send(b, 'k', ['x']);
    expect(await total(a)).toBe(21);
  });

  it('does not go over to a topic that is made under the same name while it is noted', async () => {
    const { stores, a } = await setUp();
    let slow = true;
    const noting = faultyStores(stores, ({ key }) => {
      const delayMs = slow && key.startsWith('idempotency#') ? 5_000 : 0;
      slow &&= delayMs === 0;
      return { delayMs };
    });
    const sending = send(memoryBroker(noting), 'k', ['x']);
    await stores.clock.advance(1_000);
    await a.deleteTopic('t');
    await a.putTopic({ name: 't', partitions: 40 });
    expect(await stores.clock.run(sending)).toEqual(['unknown_topic']);
    expect(await total(a)).toBe(0);
    expect(await send(a, 'k', ['x'])).toHaveLength(1);
    expect(await total(a)).toBe(1);
  });

  it('fits the head together with others, however many batches they all have', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores, { lingerMs: 10 });
    await broker.putTopic({ name: 't', config: { 'max.message.bytes': 100 } });
    const records = Array.from({ length: 450 }, () => record('v', { partition: 0 }));
    const appends = Array.from({ length: 120 }, (_, i) =>
      broker.appendRecords({ topic: 't', idempotencyKey: `k${i}`, records }),
    );
    const failed = (await stores.clock.run(Promise.all(appends))).flat().filter(({ ok }) => !ok);
    expect(failed).toEqual([]);
  });

  it('is given free by a retry of a rejected append whose rejection could not be noted', async () => {
    const { stores, a } = await setUp(1);
    const forgetful = memoryBroker(withoutAnswers(stores));
    expect(await send(forgetful, 'k', ['x'], { expectedOffset: 5 })).toEqual(['offset_mismatch']);
    expect(await send(a, 'k', ['y'], { expectedOffset: 0 })).toBe('idempotency_key_reused');
    expect(await send(a, 'k', ['x'], { expectedOffset: 5 })).toEqual(['idempotency_key_reused']);
    expect(await send(a, 'k', ['y'], { expectedOffset: 0 })).toEqual(['0/0']);
  });

  it('is given free by each of several appends that are rejected at once, also twice', async () => {
    const { a } = await setUp(1);
    const early = { expectedOffset: 5 };
    const sent = ['k', 'k', 'l', 'm', 'm', 'n'].map((key) => send(a, key, ['x'], early));
    for (const answer of await Promise.all(sent)) expect(answer).toEqual(['offset_mismatch']);
    for (const [i, key] of ['k', 'l', 'm', 'n'].entries())
      expect(await send(a, key, ['y'], { expectedOffset: i }), key).toEqual([`0/${i}`]);
  });

  it('is known to a process that does not know yet of the partitions that the first try found', async () => {
    const { stores, a } = await setUp(1);
    const late = memoryBroker(withoutAnswers(stores), { topicCacheMs: 60_000 });
    expect(await appendTo(late, 't', 0, ['v'])).toBe(0);
    await a.putTopic({ name: 't', partitions: 64 });
    const values = Array.from({ length: 4 }, (_, i) => `v${i}`);
    for (let key = 0; key < 8; key++) {
      const sent = await send(memoryBroker(withoutAnswers(stores)), `k${key}`, values);
      expect(await send(late, `k${key}`, values)).toEqual(again(sent));
    }
  });

  it('holds an expected offset, once', async () => {
    const { a, b } = await setUp();
    const records = [record('x', { partition: 2 })];
    expect(await send(a, 'k', [], { records, expectedOffset: 1 })).toEqual(['offset_mismatch']);
    await appendTo(a, 't', 2, ['first']);
    expect(await send(b, 'k', [], { records, expectedOffset: 1 })).toEqual(['2/1']);
    expect(await send(a, 'k', [], { records, expectedOffset: 1 })).toEqual(['2/1+']);
    expect(await valuesOf(a, 't', 2)).toEqual(['first', 'x']);
  });

  it('that was shut out, and whose release was not noted, gives its key free at the next attempt', async () => {
    const { stores, a, b } = await setUp();
    const early = { records: [record('x', { partition: 2 })], expectedOffset: 1 };
    const crashing = memoryBroker(withoutAnswers(stores));
    expect(await stores.clock.run(send(crashing, 'k', [], early))).toEqual(['offset_mismatch']);
    const corrected = { records: [record('y', { partition: 2 })], expectedOffset: 0 };
    expect(await send(b, 'k', [], corrected)).toBe('idempotency_key_reused');
    // However far the tail moves, and although its offset is reached, the attempt stays shut out.
    for (const commits of [0, 30]) {
      for (let i = 0; i < commits; i++) {
        await appendTo(b, 't', 2, ['noise']);
        await b.idle();
      }
      const retry = memoryBroker(withoutAnswers(stores));
      expect(await stores.clock.run(send(retry, 'k', [], early))).toEqual(['idempotency_key_reused']);
    }
    expect(await send(a, 'k', [], early)).toEqual(['idempotency_key_reused']);
    expect(await send(b, 'k', [], { ...corrected, expectedOffset: 30 })).toEqual(['2/30']);
    expect(await valuesOf(a, 't', 2)).toEqual([...Array(30).fill('noise'), 'y']);
  });

  it('that can not be shut out is not rejected for certain, and is appended by a retry when its offset is reached', async () => {
    const { stores, a, b } = await setUp();
    const broken = memoryBroker(
      faultyStores(stores, ({ key, method }) =>
        method === 'update' && key.startsWith('head#') ? { fault: 'throttled' } : undefined,
      ),
    );
    const early = { records: [record('x', { partition: 2 })], expectedOffset: 1 };
    const request = { topic: 't', idempotencyKey: 'k', ...early };
    expect(await stores.clock.run(broken.appendRecords(request))).toMatchObject([
      { ok: false, error: { code: 'storage_unavailable', outcome: 'unknown', retry: 'as_is' } },
    ]);
    await appendTo(a, 't', 2, ['first']);
    expect(await send(b, 'k', [], early)).toEqual(['2/1']);
    expect(await send(a, 'k', [], early)).toEqual(['2/1+']);
    expect(await valuesOf(a, 't', 2)).toEqual(['first', 'x']);
  });

  it('that expects an offset ahead of the end is rejected or appended as its answer says, whatever is delayed', async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 80; seed++) {
      const { stores, a } = await setUp();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(60) }));
      const early = { records: [record('early', { partition: 2 })], expectedOffset: 1 };
      const attempts = [0, random.below(400)].map((waitMs) =>
        slow.clock.sleep(waitMs).then(() => send(memoryBroker(slow), 'k', [], early)),
      );
      const between = slow.clock.sleep(random.below(300)).then(() => appendTo(memoryBroker(slow), 't', 2, ['between']));
      const [first, second] = await stores.clock.run(Promise.all(attempts));
      const corrected = { records: [record('corrected', { partition: 2 })], expectedOffset: 0 };
      const last = await stores.clock.run(send(memoryBroker(slow), 'k', [], corrected));
      await stores.clock.run(between);
      const values = await valuesOf(a, 't', 2);
      const told = [first, second].map((answer) => String(answer).replace('+', ''));
      expect(values.filter((value) => value !== 'between').length, `seed ${seed}`).toBeLessThanOrEqual(1);
      expect(told.includes('2/1'), `seed ${seed}: ${told} ${values}`).toBe(values.includes('early'));
      expect(String(last) === '2/0', `seed ${seed}: ${last} ${values}`).toBe(values.includes('corrected'));
      seen.add(`${[...told].sort()} ${last}`);
    }
    expect(seen.size).toBeGreaterThan(3);
  });

  it('keeps no answer that is too long, and finds it again', async () => {
    const { a, b } = await setUp(1);
    const records = Array.from({ length: 3_000 }, (_, i) => record('v', { timestampMs: 1_000_000 + i }));
    const sent = await send(a, 'k', [], { records });
    expect(await send(b, 'k', [], { records })).toEqual(again(sent));
    expect(await total(a)).toBe(3_000);
  });
});
