import { describe, expect, it } from 'vitest';
import type { ProducedRecord } from '../../../shared/client/produce/pending-record.ts';
import type { EventLogError } from '../../../shared/log/errors.ts';
import { readAll, SeededRandom, text, valuesOf } from '../../support/memory-broker.ts';
import { clientLog, type Fault, type Transport } from './client-log.ts';

const FAULTS: readonly Fault[] = ['before', 'after', 'twice', 'late', 'throttled', undefined, undefined, undefined];
const SEEDS = Array.from({ length: 20 }, (_, i) => i);
const KEYS = 7;
const RECORDS = 300;

describe.each<Transport>(['embedded', 'http'])('a producer, %s', (transport) => {
  it.each(SEEDS)('appends each record once and in order of its key, whatever is lost (seed %i)', async (seed) => {
    const made = clientLog(transport, seed);
    const { app, clock } = made;
    await app.broker.putTopic({ name: 'orders', partitions: 3 });
    const random = new SeededRandom(seed);
    made.fault = () => FAULTS[random.below(FAULTS.length)];
    const log = made.log({ lingerMs: 3, batchBytes: 600 });
    const places = await clock.run(async () => {
      const promises = [];
      for (let i = 0; i < RECORDS; i++) {
        promises.push(log.produce('orders', { key: `k${i % KEYS}`, value: `v${i}` }));
        if (random.below(10) === 0) await clock.sleep(random.below(20));
      }
      const settled = await Promise.all(promises);
      await log.close();
      // What is late arrives now.
      await clock.sleep(10_000);
      return settled;
    });
    const found = new Map<string, string>();
    const order = new Map<string, number[]>();
    for (let partition = 0; partition < 3; partition++) {
      for (const record of await readAll(app.broker, 'orders', partition)) {
        const value = text(record.value);
        expect(found.has(value), value).toBe(false);
        found.set(value, `${partition}/${record.offset}`);
        const key = text(record.key);
        order.set(key, [...(order.get(key) ?? []), Number(value.slice(1))]);
      }
    }
    expect(places.map((_, i) => found.get(`v${i}`))).toEqual(
      places.map(({ partition, offset }) => `${partition}/${offset}`),
    );
    expect(found.size).toBe(RECORDS);
    for (const numbers of order.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(made.attempts).toBeGreaterThan(20);
    expect(made.inFlightMost).toBeGreaterThan(2);
  });

  it.each(SEEDS)('tells the truth about each record when time runs out (seed %i)', async (seed) => {
    const made = clientLog(transport, seed);
    const { app, clock } = made;
    await app.broker.putTopic({ name: 'orders' });
    const random = new SeededRandom(seed);
    // Half of the time the network is bad for good.
    made.fault = () => (Math.floor(clock.nowMs() / 400) % 2 === 0 ? FAULTS[random.below(5)] : undefined);
    const log = made.log({
      lingerMs: 1,
      batchBytes: 300,
      deliveryTimeoutMs: 150,
      requestTimeoutMs: 60,
      retryBackoffMs: 10,
    });
    const settled = await clock.run(async () => {
      const promises: Promise<ProducedRecord>[] = [];
      for (let i = 0; i < RECORDS; i++) {
        const produced = log.produce('orders', { value: `v${i}` });
        produced.catch(() => {});
        promises.push(produced);
        if (random.below(3) === 0) await clock.sleep(random.below(20));
      }
      const ends = await Promise.allSettled(promises);
      await clock.sleep(10_000);
      return ends;
    });
    const values = await valuesOf(app.broker, 'orders', 0);
    expect(new Set(values).size).toBe(values.length);
    const numbers = values.map((value) => Number(value.slice(1)));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    const untrue = settled.flatMap((end, i) => {
      if (end.status === 'fulfilled') return values[end.value.offset] === `v${i}` ? [] : [i];
      const { outcome } = end.reason as EventLogError;
      return outcome === 'unknown' || !values.includes(`v${i}`) ? [] : [i];
    });
    expect(untrue).toEqual([]);
    const outcomes = new Set(
      settled.map((end) => (end.status === 'fulfilled' ? 'ok' : (end.reason as EventLogError).outcome)),
    );
    expect(outcomes).toContain('ok');
    expect(outcomes).toContain('unknown');
  });
});
