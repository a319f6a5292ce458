import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../shared/broker/broker.ts';
import { connect, EventLog } from '../../../shared/client/event-log.ts';
import type { LogApi } from '../../../shared/client/log-api.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { partitionForKey } from '../../../shared/log/topic/partitioner.ts';
import { bytes, readAll, text, valuesOf } from '../../support/memory-broker.ts';
import { turn } from '../../support/simulated-clock.ts';
import { clientLog, type Transport } from './client-log.ts';

/** The broker is used as it is: this line compiles only if it has what the client needs. */
const asLog = (broker: Broker): LogApi => broker;

async function errorOf(work: Promise<unknown>): Promise<{ code: string; outcome: string; retry: string }> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof EventLogError)) throw error ?? new Error('It did not fail.');
  const { code, outcome, retry } = error;
  return { code, outcome, retry };
}

describe.each<Transport>(['embedded', 'http'])('a producer, %s', (transport) => {
  async function withTopic(partitions = 1, config: Record<string, string | number> = {}) {
    const made = clientLog(transport);
    await made.app.broker.putTopic({ name: 'orders', partitions, config });
    return made;
  }

  it('puts keys where Kafka does, and records without a key together until their batch is sent', async () => {
    const { app, clock, log } = await withTopic(4);
    const orders = log();
    const places = await clock.run(async () => {
      const keyed = await Promise.all(['a', 'b', 'c', 'd'].map((key) => orders.produce('orders', { key, value: 1 })));
      const first = await Promise.all([1, 2, 3].map((value) => orders.produce('orders', { value })));
      const next = await orders.produce('orders', { value: 4 });
      const chosen = await orders.produce('orders', { key: 'a', value: 5, partition: 3 });
      return { keyed, first, next, chosen };
    });
    expect(places.keyed.map(({ partition }) => partition)).toEqual(
      ['a', 'b', 'c', 'd'].map((key) => partitionForKey(bytes(key), 4)),
    );
    expect(new Set(places.first.map(({ partition }) => partition)).size).toBe(1);
    expect(places.next.partition).not.toBe(places.first[0]?.partition);
    expect(places.chosen.partition).toBe(3);
    expect(await readAll(app.broker, 'orders', 3)).toContainEqual(
      expect.objectContaining({ key: bytes('a'), value: bytes('5'), timestampMs: places.chosen.timestamp }),
    );
  });

  it('gathers records for the linger time, or until a batch is full, and never has more than five in flight', async () => {
    const made = await withTopic();
    const log = made.log({ lingerMs: 50, batchBytes: 1_000 });
    await made.clock.run(() => log.produce('orders', { value: 'first' }));
    made.attempts = 0;
    const few = [log.produce('orders', { value: 'a' }), log.produce('orders', { value: 'b' })];
    await made.clock.advance(49);
    expect(made.attempts).toBe(0);
    await made.clock.run(Promise.all(few));
    expect(made.attempts).toBe(1);
    const many = Array.from({ length: 12 }, () => log.produce('orders', { value: 'x'.repeat(900) }));
    await turn();
    expect(made.inFlight).toBe(5);
    await made.clock.run(Promise.all(many));
    expect(made.inFlightMost).toBe(5);
  });

  it('compresses, and gives the topic’s own time', async () => {
    const { app, clock, log } = await withTopic(1, { 'message.timestamp.type': 'LogAppendTime' });
    const packed = log({ compression: 'gzip' });
    const values = Array.from({ length: 50 }, (_, i) => `${'y'.repeat(100)}${i}`);
    const produced = Promise.all(values.map((value) => packed.produce('orders', { value, timestamp: 17 })));
    let isDone = false;
    void produced.finally(() => {
      isDone = true;
    });
    // The stream compresses in a thread of its own, which knows nothing of simulated time.
    while (!isDone) {
      await clock.advance(1);
      await setTimeout(1);
    }
    const places = await produced;
    expect(await valuesOf(app.broker, 'orders', 0)).toEqual(values);
    expect(places[0]?.timestamp).toBeGreaterThan(1_000_000);
    const [state] = await app.broker.describePartitions('orders');
    expect(state?.bytes).toBeLessThan(1_000);
  });

  it('rejects with the log’s own errors', async () => {
    const made = await withTopic(1, { 'max.message.bytes': 2_000 });
    const log = made.log();
    const failing = (topic: string, more: object) =>
      made.clock.run(errorOf(log.produce(topic, { value: 'v', ...more })));
    expect(await failing('nowhere', {})).toMatchObject({ code: 'unknown_topic', outcome: 'not_applied' });
    expect(await failing('orders', { partition: 7 })).toMatchObject({ code: 'unknown_partition' });
    expect(await failing('orders', { value: 'z'.repeat(3_000) })).toMatchObject({ code: 'record_too_large' });
    expect(await failing('orders', { value: Number.NaN })).toMatchObject({ code: 'invalid_request' });
    expect(await failing('orders', { value: '\ud800' })).toMatchObject({ code: 'invalid_request' });
  });

  it('rejects a wrong record alone, and goes on with those beside and behind it, in order', async () => {
    const made = await withTopic(1, { 'message.timestamp.after.max.ms': 1_000 });
    const log = made.log();
    const far = made.clock.nowMs() + 100_000;
    const produced = [1, 2, 3, 4, 5].map((value) =>
      log.produce('orders', { value, ...(value === 3 ? { timestamp: far } : {}) }),
    );
    const settled = await made.clock.run(Promise.allSettled(produced));
    expect(settled.map(({ status }) => status)).toEqual([
      'fulfilled',
      'fulfilled',
      'rejected',
      'fulfilled',
      'fulfilled',
    ]);
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['1', '2', '4', '5']);
  });

  it('splits a batch that has become too large for its topic', async () => {
    const made = await withTopic();
    const log = made.log({ batchBytes: 100_000 });
    await made.clock.run(log.produce('orders', { value: 'first' }));
    await made.app.broker.putTopic({ name: 'orders', config: { 'max.message.bytes': 700 } });
    await made.clock.advance(2_000);
    const values = Array.from({ length: 8 }, (_, i) => `${i}`.repeat(300));
    await made.clock.run(Promise.all(values.map((value) => log.produce('orders', { value }))));
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['first', ...values]);
  });

  it('goes on, in order, after batches that were lost for certain or for all it knows', async () => {
    for (const fault of ['throttled', 'before'] as const) {
      const made = await withTopic();
      const log = made.log({ lingerMs: 0, batchBytes: 1, deliveryTimeoutMs: 3_000, requestTimeoutMs: 500 });
      await made.clock.run(log.produce('orders', { value: 'first' }));
      made.attempts = 0;
      // The second batch never gets through; those behind it are rejected, and are in nobody's doubt.
      const startMs = made.clock.nowMs();
      made.fault = (_, { batches }) => {
        const batch = new TextDecoder('latin1').decode(batches[0]?.batch);
        return batch.includes('lost') ? fault : undefined;
      };
      const produced = ['lost', 'b', 'c', 'd'].map((value) => log.produce('orders', { value }));
      const settled = await made.clock.run(Promise.allSettled(produced));
      expect(made.clock.nowMs() - startMs).toBeLessThan(3_100);
      const { reason } = settled[0] as PromiseRejectedResult;
      expect(reason).toMatchObject({ outcome: fault === 'before' ? 'unknown' : 'not_applied' });
      // What stands behind it meets its own delivery timeout, or is appended in order.
      const values = await valuesOf(made.app.broker, 'orders', 0);
      const appended = ['b', 'c', 'd'].filter((_, i) => settled[i + 1]?.status === 'fulfilled');
      expect(values).toEqual(['first', ...appended]);
      made.fault = () => undefined;
      await made.clock.run(log.produce('orders', { value: 'last' }));
      expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['first', ...appended, 'last']);
    }
  });

  it('does not send a record again under another number while an attempt may still arrive', async () => {
    const made = await withTopic();
    const log = made.log({
      lingerMs: 0,
      batchBytes: 1,
      deliveryTimeoutMs: 300,
      requestTimeoutMs: 50,
      retryBackoffMs: 20,
    });
    await made.clock.run(log.produce('orders', { value: 'first' }));
    let attemptsOfB = 0;
    made.fault = (_, { batches }) => {
      const batch = new TextDecoder('latin1').decode(batches[0]?.batch);
      if (batch.includes('value-a')) return 'late';
      return batch.includes('value-b') && attemptsOfB++ === 0 ? 'late' : undefined;
    };
    const a = errorOf(log.produce('orders', { value: 'value-a' }));
    await made.clock.advance(150);
    const b = errorOf(log.produce('orders', { value: 'value-b' }));
    expect(await made.clock.run(Promise.all([a, b]))).toMatchObject([{ outcome: 'unknown' }, { outcome: 'unknown' }]);
    await made.clock.advance(2_000);
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['first', 'value-a', 'value-b']);
  });

  it('lets no record past one that waits for room, and withdraws none that was sent', async () => {
    const made = await withTopic();
    const log = made.log().producer({ bufferBytes: 1_000, lingerMs: 0 });
    const abort = new AbortController();
    const large = 'x'.repeat(600);
    const sent = log.produce('orders', { value: large }, { signal: abort.signal });
    const second = log.produce('orders', { value: large });
    const third = log.produce('orders', { value: 'small' });
    while (made.inFlight === 0) await turn();
    abort.abort(new Error('too late'));
    const places = await made.clock.run(Promise.all([sent, second, third]));
    expect(places.map(({ offset }) => offset)).toEqual([0, 1, 2]);
  });

  it('takes another id if its own is fenced', async () => {
    const made = await withTopic();
    const log = made.log();
    await made.clock.run(log.produce('orders', { value: 'a' }));
    const producer = { producerId: 0, producerEpoch: 5, baseSequence: 0 };
    const other = [{ key: null, value: bytes('other'), headers: [], timestampMs: made.clock.nowMs() }];
    const batch = encodeBatch(other, { producer });
    const [outcome] = await made.app.broker.append({ batches: [{ topic: 'orders', partition: 0, batch }] });
    expect(outcome?.ok).toBe(true);
    const fenced = await made.clock.run(errorOf(log.produce('orders', { value: 'b' })));
    expect(fenced).toMatchObject({ code: 'producer_fenced', outcome: 'not_applied' });
    await made.clock.run(log.produce('orders', { value: 'c' }));
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['a', 'other', 'c']);
  });

  it('goes on in a topic that was made again', async () => {
    const made = await withTopic();
    const log = made.log();
    await made.clock.run(log.produce('orders', { value: 'old' }));
    await made.clock.run(made.app.broker.deleteTopic('orders'));
    await made.clock.run(made.app.broker.putTopic({ name: 'orders' }));
    const produced = await made.clock.run(log.produce('orders', { value: 'new' }));
    expect(produced.offset).toBe(0);
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['new']);
  });

  it('keeps its buffer within bounds, lets records wait for room, and rejects those that wait too long', async () => {
    const made = await withTopic();
    const log = made.log().producer({ bufferBytes: 1_000, maxBlockMs: 200, deliveryTimeoutMs: 10_000 });
    made.fault = () => 'throttled';
    const value = 'x'.repeat(400);
    const produced = [1, 2, 3].map(() => log.produce('orders', { value }));
    let isReady = false;
    void log.ready().then(() => {
      isReady = true;
    });
    expect(await made.clock.run(errorOf(produced[2] as Promise<unknown>))).toMatchObject({
      code: 'throttled',
      outcome: 'not_applied',
    });
    expect(isReady).toBe(true);
    const fourth = log.produce('orders', { value });
    made.fault = () => undefined;
    await made.clock.run(Promise.all([produced[0], produced[1], fourth]));
    expect(await valuesOf(made.app.broker, 'orders', 0)).toHaveLength(3);
    expect(await errorOf(log.produce('orders', { value: value.repeat(3) }))).toMatchObject({
      code: 'record_too_large',
    });
  });

  it('flushes at once, withdraws what is not sent, and accepts nothing after its end', async () => {
    const made = await withTopic();
    const log = made.log({ lingerMs: 60_000 });
    const abort = new AbortController();
    const kept = log.produce('orders', { value: 'kept' });
    const withdrawn = log.produce('orders', { value: 'withdrawn' }, { signal: abort.signal });
    abort.abort(new Error('no longer'));
    await expect(withdrawn).rejects.toThrow('no longer');
    const startMs = made.clock.nowMs();
    await made.clock.run(log.flush());
    expect(made.clock.nowMs() - startMs).toBeLessThan(100);
    expect((await kept).offset).toBe(0);
    await made.clock.run(log.close());
    expect(await valuesOf(made.app.broker, 'orders', 0)).toEqual(['kept']);
    expect(await errorOf(log.produce('orders', { value: 'after' }))).toMatchObject({ code: 'shutting_down' });
  });

  it('gives up what is not settled when it is closed in a hurry, and says what it knows', async () => {
    const made = await withTopic();
    const log = made.log({ lingerMs: 0 });
    made.fault = () => 'before';
    const sent = log.produce('orders', { value: 'sent' });
    await made.clock.advance(20);
    const unsent = log.produce('orders', { value: 'unsent' });
    const errors = Promise.all([errorOf(sent), errorOf(unsent)]);
    await made.clock.run(log.close({ timeoutMs: 100 }));
    const [first, second] = await errors;
    expect(first).toMatchObject({ code: 'shutting_down', outcome: 'unknown' });
    expect(second).toMatchObject({ code: 'shutting_down', outcome: 'not_applied' });
  });

  it('names an option that there is not', async () => {
    const log = (await withTopic()).log();
    const error = (details: object) => expect.objectContaining({ code: 'invalid_request', details });
    expect(() => log.producer({ lingerMS: 1 } as object)).toThrow(error({ field: 'lingerMS' }));
    expect(() => connect({ url: 'http://127.0.0.1:8080', apikey: 'k' } as { url: string })).toThrow(
      error({ field: 'apikey' }),
    );
    const options = { partition: 0, form: { offset: 1 } };
    await expect(log.read('orders', options)).rejects.toEqual(error({ field: 'form' }));
  });

  it('reads what it wrote', async () => {
    const made = await withTopic();
    const log = made.log();
    const headers = [{ name: 'h', value: Uint8Array.of(255, 0) }];
    await made.clock.run(
      Promise.all([
        log.produce('orders', { key: 'k', value: { a: 1 }, headers }),
        log.produce('orders', { key: 'k', value: null }),
        log.produce('orders', { value: Uint8Array.of(254, 0) }),
      ]),
    );
    const page = await made.clock.run(log.read('orders', { partition: 0 }));
    expect(page).toMatchObject({ nextOffset: 3, highWatermark: 3, logStartOffset: 0 });
    expect(page.records.map(({ key, value }) => [key, value])).toEqual([
      ['k', { a: 1 }],
      ['k', null],
      [null, Uint8Array.of(254, 0)],
    ]);
    expect(page.records[0]?.headers).toEqual(headers);
    expect((await log.read('orders', { partition: 0, from: { offset: 1 }, maxRecords: 1 })).nextOffset).toBe(2);
  });
});

describe('the broker', () => {
  it('is a log for the client as it is', async () => {
    const { app, clock } = clientLog('embedded');
    await app.broker.putTopic({ name: 'orders' });
    const log = new EventLog(asLog(app.broker), { clock });
    await clock.run(log.produce('orders', { value: 'v' }));
    expect(text((await readAll(app.broker, 'orders', 0))[0]?.value ?? null)).toBe('v');
  });
});
