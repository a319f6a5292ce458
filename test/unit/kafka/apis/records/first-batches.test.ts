import { describe, expect, it } from 'vitest';
import { FirstBatches } from '../../../../../shared/kafka/apis/records/first-batches.ts';
import { SEQUENCE_MAX } from '../../../../../shared/log/limits.ts';
import { batchOf } from '../../../../support/produced.ts';

function batch(sequence: number, { topic = 't', partition = 0, epoch = 0, producerId = 7 } = {}) {
  return { topic, partition, batch: batchOf({ values: ['v'], producerId, epoch, sequence }) };
}

/** Whether the batch is tried; if so, it ends like this. */
async function send(first: FirstBatches, one: ReturnType<typeof batch>, isAppended: boolean): Promise<boolean> {
  const { isAdmitted, settle } = await first.admit([one]);
  settle([isAppended && isAdmitted[0] === true]);
  return isAdmitted[0] === true;
}

describe('the first batches of a producer', () => {
  it('wait for the one before, and are not tried if it failed until it is sent again', async () => {
    const first = new FirstBatches();
    const before = await first.admit([batch(0)]);
    const behind = send(first, batch(1), true);
    before.settle([false]);
    expect(await behind).toBe(false);
    expect(await send(first, batch(2), true)).toBe(false);
    expect(await send(first, batch(0), true)).toBe(true);
    expect(await send(first, batch(1), true)).toBe(true);
  });

  it('are not held up by those of another partition, epoch or producer', async () => {
    const first = new FirstBatches();
    expect(await send(first, batch(3), false)).toBe(true);
    expect(await send(first, batch(4, { partition: 1 }), true)).toBe(true);
    expect(await send(first, batch(4, { epoch: 1 }), true)).toBe(true);
    expect(await send(first, batch(4, { producerId: 8 }), true)).toBe(true);
    expect(await send(first, batch(4), true)).toBe(false);
  });

  it('may come with an earlier sequence, and sequences wrap', async () => {
    const first = new FirstBatches();
    await send(first, batch(SEQUENCE_MAX), false);
    expect(await send(first, batch(0), true)).toBe(false);
    expect(await send(first, batch(SEQUENCE_MAX - 2), false)).toBe(true);
    expect(await send(first, batch(SEQUENCE_MAX), true)).toBe(false);
    expect(await send(first, batch(SEQUENCE_MAX - 2), true)).toBe(true);
    expect(await send(first, batch(SEQUENCE_MAX), true)).toBe(true);
  });

  it('that are refused without a try hold up those behind them, unless one was appended before', async () => {
    const first = new FirstBatches();
    first.refused(batch(0));
    expect(await send(first, batch(1), true)).toBe(false);
    expect(await send(first, batch(0), true)).toBe(true);
    first.refused(batch(1));
    expect(await send(first, batch(2), true)).toBe(true);
  });

  it('are not remembered under a name that no topic has', async () => {
    const first = new FirstBatches();
    const topic = 'a'.repeat(250);
    expect(await send(first, batch(0, { topic }), false)).toBe(true);
    expect(await send(first, batch(1, { topic }), false)).toBe(true);
  });
});
