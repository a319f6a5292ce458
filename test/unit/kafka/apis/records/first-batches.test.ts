import { describe, expect, it } from 'vitest';
import { FirstBatches } from '../../../../../shared/kafka/apis/records/first-batches.ts';
import { batchOf } from '../../../../support/produced.ts';
import { turn } from '../../../../support/simulated-clock.ts';

interface Of {
  readonly producerId?: number;
  readonly epoch?: number;
  readonly partition?: number;
  readonly topic?: string;
}

function batch({ producerId = 1, epoch = 0, partition = 0, topic = 't' }: Of = {}) {
  return { topic, partition, batch: batchOf({ values: ['a'], producerId, epoch }) };
}

/** Whether it may be appended, or `waits` while that is not known. */
async function outcomeOf(admission: Promise<{ isAdmitted: readonly boolean[] }>): Promise<unknown> {
  const waits = turn().then(() => 'waits');
  return Promise.race([admission.then(({ isAdmitted }) => isAdmitted), waits]);
}

describe('the second batch of a producer', () => {
  it.each([
    ['is admitted when the first was appended', true],
    ['is not tried when the first failed', false],
  ])('waits, and %s', async (_, isAppended) => {
    const batches = new FirstBatches();
    const first = await batches.admit([batch()]);
    expect(first.isAdmitted).toEqual([true]);
    const second = batches.admit([batch()]);
    expect(await outcomeOf(second)).toBe('waits');
    first.settle([isAppended]);
    expect((await second).isAdmitted).toEqual([isAppended]);
  });

  it('makes the third wait for it, too', async () => {
    const batches = new FirstBatches();
    const first = await batches.admit([batch()]);
    const second = batches.admit([batch()]);
    const third = batches.admit([batch()]);
    first.settle([false]);
    (await second).settle([false]);
    expect((await third).isAdmitted).toEqual([false]);
  });

  it.each([
    ['producer', { producerId: 2 }],
    ['epoch', { epoch: 1 }],
    ['partition', { partition: 1 }],
    ['topic', { topic: 'u' }],
  ])('does not wait for one of another %s', async (_, other) => {
    const batches = new FirstBatches();
    await batches.admit([batch()]);
    expect((await batches.admit([batch(other)])).isAdmitted).toEqual([true]);
  });

  it('does not wait if no producer is named', async () => {
    const batches = new FirstBatches();
    const nameless = { topic: 't', partition: 0, batch: batchOf({ values: ['a'] }) };
    await batches.admit([nameless]);
    expect((await batches.admit([nameless])).isAdmitted).toEqual([true]);
  });

  it('is the first again after one that failed', async () => {
    const batches = new FirstBatches();
    (await batches.admit([batch()])).settle([false]);
    const again = await batches.admit([batch()]);
    expect(again.isAdmitted).toEqual([true]);
    again.settle([true]);
    await batches.admit([batch()]);
    // From the first success on nobody waits.
    expect((await batches.admit([batch()])).isAdmitted).toEqual([true]);
  });

  it('in one request with others waits for its own only', async () => {
    const batches = new FirstBatches();
    const first = await batches.admit([batch({ partition: 0 }), batch({ partition: 1 })]);
    const second = batches.admit([batch({ partition: 0 }), batch({ partition: 1 }), batch({ partition: 2 })]);
    first.settle([true, false]);
    expect((await second).isAdmitted).toEqual([true, false, true]);
  });
});
