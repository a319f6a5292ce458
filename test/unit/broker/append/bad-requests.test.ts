import { describe, expect, it } from 'vitest';
import { NO_TOPIC } from '../../../../shared/broker/usage/usage-meter.ts';
import { codeOf, memoryBroker, record } from '../../../support/memory-broker.ts';

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
