import { describe, expect, it } from 'vitest';
import { NO_TOPIC } from '../../../../shared/broker/usage/usage-meter.ts';
import { appendTo, bytes, codeOf, memoryBroker, record } from '../../../support/memory-broker.ts';

describe('what a request must not leave to chance, or blow up', () => {
  it('is the partition of an append that is for one offset or one sequence', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 3 });
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
    for (const condition of [{ expectedOffset: 0 }, { producer }]) {
      const loose = broker.appendRecords({ topic: 't', records: [record('x')], ...condition });
      expect(await codeOf(loose)).toBe('invalid_request');
      const [fixed] = await broker.appendRecords({
        topic: 't',
        records: [record('x', { partition: 2 })],
        ...condition,
      });
      expect(fixed?.ok || condition.expectedOffset === undefined).toBe(true);
    }
    await broker.putTopic({ name: 'one' });
    const [only] = await broker.appendRecords({ topic: 'one', records: [record('x')], expectedOffset: 0 });
    expect(only?.ok).toBe(true);
  });

  it('is a sequence over more batches than a repeated request would find', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', config: { 'max.message.bytes': '1000' } });
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
    const append = (count: number) =>
      broker.appendRecords({ topic: 't', records: Array(count).fill(record('x'.repeat(600))), producer });
    await expect(append(6)).rejects.toMatchObject({
      code: 'request_too_large',
      details: { field: 'Producer-Seq', batches: 6, batchesMax: 5 },
    });
    const first = await append(5);
    expect(first.map((outcome) => outcome.ok && outcome.offset)).toEqual([0, 1, 2, 3, 4]);
    expect(await append(5)).toEqual(first.map((outcome) => ({ ...outcome, duplicate: true })));
  });

  it('is a producer whose numbers do not fit, which would fail the appends of others too', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't' });
    const producer = { producerId: 1, producerEpoch: 0, baseSequence: 0 };
    const wrong: Partial<typeof producer>[] = [
      ...[-1, 1.5, 2 ** 53, Number.NaN].map((producerId) => ({ producerId })),
      ...[-1, 0.5, 32_768].map((producerEpoch) => ({ producerEpoch })),
      ...[-1, 0.5, 2 ** 31].map((baseSequence) => ({ baseSequence })),
    ];
    for (const [i, numbers] of wrong.entries()) {
      const records = [record('x', { partition: 0 })];
      const refused = codeOf(broker.appendRecords({ topic: 't', records, producer: { ...producer, ...numbers } }));
      expect(await Promise.all([appendTo(broker, 't', 0, ['fine']), refused])).toEqual([i, 'invalid_request']);
    }
  });

  it('is a record without a key in a compacted topic, which would lose it', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't' });
    const records = [record('a', { key: bytes('k') }), record('b'), record('c', { key: bytes('') })];
    const idempotencyKey = 'once';
    const before = await broker.appendRecords({ topic: 't', records, idempotencyKey });
    await broker.putTopic({ name: 't', config: { 'cleanup.policy': 'compact' } });
    const outcomes = await broker.appendRecords({ topic: 't', records });
    expect(outcomes.map((outcome) => outcome.ok || outcome.error.details.field)).toEqual([
      true,
      'records[1].key',
      true,
    ]);
    const whole = await broker.appendRecords({ topic: 't', records, atomic: true });
    expect(whole.map(({ ok }) => ok)).toEqual([false, false, false]);
    // What was appended before is answered as before.
    const again = await broker.appendRecords({ topic: 't', records, idempotencyKey });
    expect(again).toEqual(before.map((outcome) => ({ ...outcome, duplicate: true })));
  });

  it('is the size of a fetch plan, which carries inline batches', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 100 });
    const partitions = Array.from({ length: 100 }, (_, partition) => ({ partition, offset: 0 }));
    expect((await broker.planFetch({ topic: 't', partitions })).partitions).toHaveLength(100);
    const large = partitions.map((each) => ({ ...each, maxBytes: 1_048_576 }));
    expect(await codeOf(broker.planFetch({ topic: 't', partitions: large }))).toBe('invalid_request');
  });

  it('is a table of what was counted for topics that do not exist', async () => {
    const broker = memoryBroker();
    for (let i = 0; i < 100; i++) expect(await codeOf(broker.describeTopic(`typo-${i}`))).toBe('unknown_topic');
    expect(broker.usage().map((row) => row.topic)).toEqual([NO_TOPIC]);
    expect(broker.usage()[0]?.counts.getItem).toBe(100);
  });
});
