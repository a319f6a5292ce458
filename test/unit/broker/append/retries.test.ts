import { describe, expect, it, vi } from 'vitest';
import type { AppendRecordsRequest } from '../../../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { appendTo, codeOf, memoryBroker, memoryStores, record, valuesOf } from '../../../support/memory-broker.ts';

/**
 * The three ways to make an append safe to retry or conditional, alone and together: a producer sequence (P), an
 * idempotency key (K), an expected offset (M); each as a first attempt, a retry, a retry by another process, and a request
 * that is corrected after it was rejected.
 */

type Attempt = Partial<AppendRecordsRequest> & { readonly value?: string; readonly partition?: number };
/** `again`: the answer of the first time, told from a first one. */
type Step = readonly [by: 'same' | 'restarted', attempt: Attempt, answer: string];

const P = { producer: { producerId: 0, producerEpoch: 0, baseSequence: 0 } };
const P1 = { producer: { producerId: 0, producerEpoch: 0, baseSequence: 1 } };
const K = { idempotencyKey: 'k' };
const M = (expectedOffset: number) => ({ expectedOffset });

/** One record is in partition 0 before the first step. */
const cases: readonly { readonly what: string; readonly steps: readonly Step[]; readonly log: readonly string[] }[] = [
  {
    what: 'nothing: every attempt appends',
    steps: [
      ['same', {}, 'offset 1'],
      ['same', {}, 'offset 2'],
      ['restarted', {}, 'offset 3'],
    ],
    log: ['before', 'x', 'x', 'x'],
  },
  {
    what: 'P: a retry gets the first answer, also from another process',
    steps: [
      ['same', P, 'offset 1'],
      ['same', P, 'offset 1 again'],
      ['restarted', P, 'offset 1 again'],
      ['restarted', P1, 'offset 2'],
      ['same', P, 'offset 1 again'],
    ],
    log: ['before', 'x', 'x'],
  },
  {
    what: 'P: a rejected sequence is corrected',
    steps: [
      ['same', P, 'offset 1'],
      ['same', { producer: { ...P.producer, baseSequence: 5 } }, 'out_of_order_sequence'],
      ['restarted', P1, 'offset 2'],
    ],
    log: ['before', 'x', 'x'],
  },
  {
    what: 'K: a retry gets the first answer, also from another process',
    steps: [
      ['same', K, 'offset 1'],
      ['same', K, 'offset 1 again'],
      ['restarted', K, 'offset 1 again'],
      ['same', { ...K, value: 'other' }, 'idempotency_key_reused'],
      ['restarted', { ...K, value: 'other' }, 'idempotency_key_reused'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K: a partition that does not exist leaves the key free',
    steps: [
      ['same', { ...K, partition: 99 }, 'unknown_partition'],
      ['restarted', { ...K, partition: 99 }, 'unknown_partition'],
      ['same', { ...K, partition: 0 }, 'offset 1'],
      ['restarted', { ...K, partition: 0 }, 'offset 1 again'],
      ['same', { ...K, partition: 99 }, 'idempotency_key_reused'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K: a record that is too large leaves the key free',
    steps: [
      ['same', { ...K, value: 'x'.repeat(2_000_000) }, 'record_too_large'],
      ['restarted', K, 'offset 1'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K: an atomic append over several heads leaves the key free',
    steps: [
      [
        'same',
        { ...K, atomic: true, records: [record('x', { partition: 0 }), record('x', { partition: 16 })] },
        'invalid_request',
      ],
      ['restarted', { ...K, records: [record('x', { partition: 0 })], atomic: true }, 'offset 1'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'M: a retry can not tell its own record from others',
    steps: [
      ['same', M(1), 'offset 1'],
      ['same', M(1), 'offset_mismatch'],
      ['restarted', M(1), 'offset_mismatch'],
      ['restarted', M(2), 'offset 2'],
    ],
    log: ['before', 'x', 'x'],
  },
  {
    what: 'P and M: a retry of an append that was applied gets the first answer',
    steps: [
      ['same', { ...P, ...M(1) }, 'offset 1'],
      ['same', { ...P, ...M(1) }, 'offset 1 again'],
      ['restarted', { ...P, ...M(1) }, 'offset 1 again'],
      ['same', { ...P1, ...M(1) }, 'offset_mismatch'],
      ['restarted', { ...P1, ...M(2) }, 'offset 2'],
      ['same', { ...P1, ...M(2) }, 'offset 2 again'],
    ],
    log: ['before', 'x', 'x'],
  },
  {
    what: 'P and M: a rejected request does not use up its sequence',
    steps: [
      ['same', { ...P, ...M(0) }, 'offset_mismatch'],
      ['restarted', { ...P, ...M(0) }, 'offset_mismatch'],
      ['same', { ...P, ...M(7) }, 'offset_mismatch'],
      ['restarted', { ...P, ...M(1) }, 'offset 1'],
      ['same', { ...P, ...M(1) }, 'offset 1 again'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K and M: a retry of an append that was applied gets the first answer',
    steps: [
      ['same', { ...K, ...M(1) }, 'offset 1'],
      ['same', { ...K, ...M(1) }, 'offset 1 again'],
      ['restarted', { ...K, ...M(1) }, 'offset 1 again'],
      ['restarted', { ...K, ...M(2) }, 'idempotency_key_reused'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K and M: a request that came too late is corrected under its key',
    steps: [
      ['same', { ...K, ...M(0) }, 'offset_mismatch'],
      ['same', { ...K, ...M(0) }, 'offset_mismatch'],
      ['restarted', { ...K, ...M(1) }, 'offset 1'],
      ['same', { ...K, ...M(1) }, 'offset 1 again'],
      ['restarted', { ...K, ...M(0) }, 'idempotency_key_reused'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K and M: a request that came too early is corrected under its key',
    steps: [
      ['same', { ...K, ...M(2) }, 'offset_mismatch'],
      ['restarted', { ...K, ...M(2) }, 'offset_mismatch'],
      ['restarted', { ...K, ...M(1) }, 'offset 1'],
      ['same', { ...K, ...M(1) }, 'offset 1 again'],
      ['restarted', { ...K, ...M(2) }, 'idempotency_key_reused'],
    ],
    log: ['before', 'x'],
  },
  {
    what: 'K and M: a rejected request is corrected to another partition and other content',
    steps: [
      ['same', { ...K, ...M(3) }, 'offset_mismatch'],
      ['restarted', { ...K, ...M(0), partition: 1, value: 'y' }, 'offset 0'],
      ['same', { ...K, ...M(0), partition: 1, value: 'y' }, 'offset 0 again'],
    ],
    log: ['before'],
  },
  {
    what: 'P and K: one of them is asked for, and the key stays free',
    steps: [
      ['same', { ...P, ...K }, 'invalid_request'],
      ['restarted', { ...P, ...K, ...M(1) }, 'invalid_request'],
      ['same', K, 'offset 1'],
      ['restarted', P, 'offset 2'],
    ],
    log: ['before', 'x', 'x'],
  },
];

async function answerTo(broker: Broker, { value = 'x', partition = 0, ...more }: Attempt): Promise<string> {
  const request = { topic: 't', records: [record(value, { partition })], ...more };
  const outcomes = await codeOf(broker.appendRecords(request));
  if (typeof outcomes === 'string') return outcomes;
  const [outcome] = outcomes;
  if (outcome?.ok !== true) return String(outcome?.error.code);
  return `offset ${outcome.offset}${outcome.duplicate ? ' again' : ''}`;
}

describe('an append that can be retried, is conditional, or both', () => {
  it.each(cases)('$what', async ({ steps, log }) => {
    const stores = memoryStores();
    const same = memoryBroker(stores);
    await same.putTopic({ name: 't', partitions: 17 });
    await appendTo(same, 't', 0, ['before']);
    await same.allocateProducerId();
    const answers: string[] = [];
    for (const [by, attempt] of steps) {
      const broker = by === 'same' ? same : memoryBroker(stores);
      answers.push(await answerTo(broker, attempt));
      await broker.idle();
    }
    expect(answers).toEqual(steps.map(([, , answer]) => answer));
    expect(await valuesOf(same, 't', 0)).toEqual(log);
  });
});

describe('an append that expects an offset ahead of the end', () => {
  it('is not applied by an attempt that stalled until the end was there, once its key was given free', async () => {
    const stores = memoryStores();
    const a = memoryBroker(stores);
    await a.putTopic({ name: 't' });
    await appendTo(a, 't', 0, ['before']);
    // The attempt has noted its key, and stalls while it writes its data.
    const slow = memoryBroker(
      faultyStores(stores, ({ method, key }) =>
        method === 'put' && key.startsWith('batch#') ? { delayMs: 400 } : undefined,
      ),
    );
    const late = answerTo(slow, { ...K, ...M(2) });
    await vi.waitFor(() => expect(stores.clock.sleeping).toBeGreaterThan(0));
    expect(await answerTo(a, { ...K, ...M(2) })).toBe('offset_mismatch');
    expect(await answerTo(a, { ...K, ...M(1), value: 'corrected' })).toBe('offset 1');
    expect(await stores.clock.run(late)).toBe('idempotency_key_reused');
    expect(await valuesOf(a, 't', 0)).toEqual(['before', 'corrected']);
  });

  it('costs 1 UpdateItem more when it is rejected than one that came too late', async () => {
    const stores = memoryStores();
    const a = memoryBroker(stores);
    await a.putTopic({ name: 't' });
    await appendTo(a, 't', 0, ['before']);
    const writes = async (attempt: Attempt): Promise<number> => {
      const before = await countWrites(a);
      await answerTo(a, attempt);
      return (await countWrites(a)) - before;
    };
    // A note, an inline batch, and the release of the note; then also the entry that shuts the attempt out, and a batch
    // for the look at what became of it.
    const late = await writes({ idempotencyKey: 'late', ...M(0) });
    const early = await writes({ idempotencyKey: 'early', ...M(9) });
    expect([late, early]).toEqual([3, 5]);
  });
});

async function countWrites(broker: Broker): Promise<number> {
  await broker.idle();
  return broker.usage().reduce((sum, { counts }) => sum + counts.putItem + counts.updateItem, 0);
}

describe('a retry under an idempotency key', () => {
  it('makes the same batches after the topic has another max.message.bytes', async () => {
    const stores = memoryStores();
    const a = memoryBroker(stores);
    await a.putTopic({ name: 't', config: { 'max.message.bytes': 1_000 } });
    const records = Array.from({ length: 5 }, () => record('x'.repeat(300), { partition: 0 }));
    const request = { topic: 't', records, idempotencyKey: 'k' };
    // The answer is not noted, as after a crash right behind the commit.
    const crashing = memoryBroker(
      faultyStores(stores, ({ key, method }) =>
        method === 'update' && key.startsWith('idempotency#') ? { fault: 'lost_request' } : undefined,
      ),
    );
    const first = await stores.clock.run(crashing.appendRecords(request));
    await a.putTopic({ name: 't', config: { 'max.message.bytes': 500 } });
    const again = await memoryBroker(stores).appendRecords(request);
    expect(again.map((outcome) => outcome.ok && outcome.duplicate)).toEqual([true, true, true, true, true]);
    expect(again.map((outcome) => outcome.ok && outcome.offset)).toEqual(
      first.map((outcome) => outcome.ok && outcome.offset),
    );
  });
});
