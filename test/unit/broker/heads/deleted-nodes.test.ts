import { describe, expect, it } from 'vitest';
import type { RecordOutcome } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { readHead } from '../../../../shared/broker/heads/items.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { HEAD, headKey, nodePartitionKey } from '../../../../shared/storage/keys.ts';
import { cleanMerged } from '../../../support/clean-merged.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, memoryBroker, memoryStores, record, valuesOf } from '../../../support/memory-broker.ts';
import { growOld, HOUR_MS, moveOn, send } from '../../../support/produce.ts';
import { turn } from '../../../support/simulated-clock.ts';

/** What appends need of tail nodes is still known when the nodes have been merged and deleted. */

async function setUp() {
  const stores = memoryStores();
  const broker = memoryBroker(stores);
  const { topic } = await broker.putTopic({ name: 't', partitions: 16 });
  const clean = () => cleanMerged(stores, topic.topicId);
  return { stores, broker, topicId: topic.topicId, clean };
}

/** Loses the notes of answers, so that a retry has to find its entry. */
function withoutAnswers<S extends ReturnType<typeof memoryStores>>(stores: S): S {
  return faultyStores(stores, ({ key, method }) =>
    method === 'update' && key.startsWith('idempotency#') ? { fault: 'lost_request' } : undefined,
  );
}

async function sendKeyed(broker: Broker, values: readonly string[], partition: number): Promise<unknown> {
  const records = values.map((value) => record(value, { partition }));
  try {
    const outcomes = await broker.appendRecords({ topic: 't', records, idempotencyKey: 'k' });
    return outcomes.map((outcome) =>
      outcome.ok ? `${outcome.offset}${outcome.duplicate ? '+' : ''}` : outcome.error.code,
    );
  } catch (error) {
    return (error as EventLogError).code;
  }
}

async function codesOf(append: Promise<readonly RecordOutcome[]>): Promise<string[]> {
  return (await append).map((outcome) => (outcome.ok ? 'ok' : outcome.error.code));
}

describe('a retry under an idempotency key', () => {
  it('gets its offsets from the item of its use', async () => {
    const { stores, broker, clean } = await setUp();
    await appendTo(broker, 't', 3, ['before']);
    expect(await sendKeyed(memoryBroker(withoutAnswers(stores)), ['a', 'b'], 3)).toEqual(['1', '2']);
    await moveOn(broker, 30);
    await clean();
    expect(await sendKeyed(memoryBroker(stores), ['a', 'b'], 3)).toEqual(['1+', '2+']);
  });

  it('is appended if no entry has it', async () => {
    const { stores, broker, clean } = await setUp();
    const isCommit = faultyStores(withoutAnswers(stores), ({ method, updates }) =>
      method === 'update' && updates?.[0]?.do === 'append' ? { fault: 'lost_request' } : undefined,
    );
    expect(await stores.clock.run(sendKeyed(memoryBroker(isCommit), ['a'], 3))).toEqual(['storage_unavailable']);
    await moveOn(broker, 30);
    await clean();
    expect(await sendKeyed(memoryBroker(stores), ['a'], 3)).toEqual(['0']);
  });

  it('finds that the use was shut out', async () => {
    const { stores, broker, clean } = await setUp();
    const early = { records: [record('x', { partition: 2 })], topic: 't', idempotencyKey: 'k', expectedOffset: 5 };
    const released = faultyStores(stores, ({ key, method, updates }) =>
      method === 'update' && key.startsWith('idempotency#') && updates?.[0]?.do === 'set'
        ? { fault: 'lost_request' }
        : undefined,
    );
    expect(await codesOf(memoryBroker(released).appendRecords(early))).toEqual(['offset_mismatch']);
    await moveOn(broker, 30);
    await clean();
    await appendTo(broker, 't', 2, ['0', '1', '2', '3', '4']);
    // The use is shut out for good, so the key is free for a new one only.
    expect(await codesOf(memoryBroker(stores).appendRecords(early))).toEqual(['idempotency_key_reused']);
  });
});

describe('a producer', () => {
  it('is known from its item', async () => {
    const { stores, broker, clean } = await setUp();
    await growOld(stores);
    for (let i = 0; i < 10; i++) expect(await send(broker, { sequence: i, values: [`${i}`] })).toBe(i);
    await moveOn(broker, 30);
    await clean();
    const fresh = memoryBroker(stores);
    expect(await send(fresh, { sequence: 9, values: ['9'] })).toBe('again 9');
    expect(await send(fresh, { sequence: 12, values: ['x'] })).toBe('out_of_order_sequence');
    expect(await send(fresh, { sequence: 10, values: ['10'] })).toBe(10);
  });

  it('is known to a process that stood still meanwhile', async () => {
    const { stores, broker, clean } = await setUp();
    await growOld(stores);
    expect(await send(broker, { sequence: 0, values: ['0'] })).toBe(0);
    const other = memoryBroker(stores);
    expect(await send(other, { sequence: 1, values: ['1'] })).toBe(1);
    await moveOn(other, 40);
    await clean();
    await stores.clock.advance(HOUR_MS);
    expect(await send(broker, { sequence: 1, values: ['1'] })).toBe('again 1');
    expect(await send(broker, { sequence: 2, values: ['2'] })).toBe(2);
  });
});

describe('a producer that is loaded while nodes are merged and deleted', () => {
  it('is known all the same', async () => {
    const { stores, broker, clean } = await setUp();
    await growOld(stores);
    for (let i = 0; i < 3; i++) expect(await send(broker, { sequence: i, values: [`${i}`] })).toBe(i);
    await moveOn(broker, 30);
    let reads = 0;
    const slow = faultyStores(stores, ({ key, method }) =>
      method === 'get' && key.startsWith('checkpoint#') && reads++ === 0 ? { delayMs: HOUR_MS } : undefined,
    );
    const again = send(memoryBroker(slow, { commitTimeoutMs: 9 * HOUR_MS }), { sequence: 2, values: ['2'] });
    await stores.clock.advance(HOUR_MS + 1);
    await clean();
    expect(await stores.clock.run(again)).toBe('again 2');
    expect(reads).toBe(2);
  });
});

describe('a commit whose reply was lost', () => {
  /** A broker whose first commit takes effect or not, and whose next request to the head waits for an hour. */
  async function slowCommit(fault: 'lost_request' | 'lost_reply') {
    const world = await setUp();
    let commits = 0;
    const slow = faultyStores(world.stores, ({ method, updates }) => {
      if (method !== 'update' || updates?.[0]?.do !== 'append') return undefined;
      return commits++ === 0 ? { fault } : { delayMs: HOUR_MS };
    });
    const append = appendTo(memoryBroker(slow, { commitTimeoutMs: 3 * HOUR_MS }), 't', 0, ['slow']).catch(
      (error: unknown) => (error instanceof EventLogError ? [error.code, error.outcome] : error),
    );
    await world.stores.clock.advance(HOUR_MS / 2);
    await moveOn(world.broker, 40);
    return { ...world, append };
  }

  it('is found in the nodes that are left', async () => {
    const { stores, append } = await slowCommit('lost_reply');
    expect(await stores.clock.run(append)).toBe(0);
  });

  it.each(['lost_request', 'lost_reply'] as const)('stays open if its node may be gone (%s)', async (fault) => {
    const { stores, append, clean } = await slowCommit(fault);
    await clean();
    expect(await stores.clock.run(append)).toEqual(['storage_unavailable', 'unknown']);
  });

  it('is reported as damage if a node is missing that was not deleted', async () => {
    const { stores, append, topicId } = await slowCommit('lost_reply');
    await stores.items.delete({ pk: nodePartitionKey(topicId, 0), sk: '0000000000000000' });
    expect(await stores.clock.run(append)).toEqual(['corrupt_data', 'unknown']);
  });
});

describe('data that may have been swept', () => {
  it('is not committed, and the append fails as not applied', async () => {
    const { stores, broker, topicId } = await setUp();
    await appendTo(broker, 't', 0, ['a']);
    const frozen = memoryBroker(
      faultyStores(stores, ({ key, method }) =>
        method === 'put' && key.startsWith('batch#') ? { delayMs: 24 * HOUR_MS } : undefined,
      ),
      { commitTimeoutMs: 72 * HOUR_MS },
    );
    const append = appendTo(frozen, 't', 0, ['late']).catch((error: unknown) => error);
    await turn();
    const refusesBefore = stores.clock.nowMs() + 1;
    await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.refusesBefore, value: refusesBefore }]);
    expect(await stores.clock.run(append)).toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
    expect(await stores.clock.run(appendTo(frozen, 't', 1, ['new']))).toBe(0);
    expect(await valuesOf(broker, 't', 0)).toEqual(['a']);
  });
});

describe('data that may have been swept, by a process that remembers the head', () => {
  it('is not committed either', async () => {
    const { stores, broker, topicId } = await setUp();
    let isSlow = false;
    const frozen = memoryBroker(
      faultyStores(stores, ({ key, method }) =>
        isSlow && method === 'put' && key.startsWith('batch#') ? { delayMs: 24 * HOUR_MS } : undefined,
      ),
      { commitTimeoutMs: 72 * HOUR_MS, headCacheMs: 1_000 * HOUR_MS },
    );
    await appendTo(frozen, 't', 0, ['a']);
    isSlow = true;
    const append = appendTo(frozen, 't', 0, ['late']).catch((error: unknown) => error);
    await turn();
    const refusesBefore = stores.clock.nowMs() + 1;
    await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.refusesBefore, value: refusesBefore }]);
    expect(await stores.clock.run(append)).toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied' });
    expect(await valuesOf(broker, 't', 0)).toEqual(['a']);
  });
});

describe('an entry whose data a later entry needs too', () => {
  it('says so, and the last one does not', async () => {
    const { stores, broker, topicId } = await setUp();
    const producer = { producerId: 7, producerEpoch: 0 };
    // The second append depends on the first: it repeats its batch.
    await Promise.all([
      appendTo(broker, 't', 0, ['x'], { producer: { ...producer, baseSequence: 0 } }),
      appendTo(broker, 't', 0, ['x'], { producer: { ...producer, baseSequence: 0 } }),
      appendTo(broker, 't', 1, ['y']),
    ]);
    const { tail } = await readHead(stores.items, { topicId, headNumber: 0 });
    expect(tail.map(({ entry }) => [entry.parts.length, entry.continued])).toEqual([
      [1, true],
      [1, undefined],
    ]);
    expect(tail[0]?.entry.batchId).toEqual(tail[1]?.entry.batchId);
  });
});
