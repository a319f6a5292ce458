import { expect, it } from 'vitest';
import { HeldUp } from '../../../../shared/broker/memory/held-up.ts';

it('remembers a bounded number of producers that hold up readers, and forgets who was met least recently', () => {
  const heldUp = new HeldUp();
  const idsSince = (timeMs: number) => heldUp.holdersMetSince(timeMs).map(({ producerId }) => producerId);
  for (let producerId = 0; producerId < 100; producerId++)
    heldUp.metByReader([{ producerId, sinceMs: 1_000 - producerId }], 10_000 + producerId);
  heldUp.metByReader([{ producerId: 0, sinceMs: 1_000 }], 20_000);
  heldUp.metByReader([{ producerId: 500, sinceMs: 1 }], 20_001);
  expect(idsSince(0)).toHaveLength(100);
  expect([idsSince(0).includes(0), idsSince(0).includes(1)]).toEqual([true, false]);
  // The oldest transaction first.
  expect(idsSince(20_000)).toEqual([500, 0]);
  expect(idsSince(20_002)).toEqual([]);
  expect(heldUp.reads).toBe(102);
});

it('has those looked after that hold somebody up for a second', async () => {
  const heldUp = new HeldUp();
  const looked: number[] = [];
  heldUp.resolveWith(async (producerId) => {
    looked.push(producerId);
    throw new Error('The storage does not answer.');
  });
  const open = [0, 1, 2].map((producerId) => ({ producerId, sinceMs: producerId * 1_000 }));
  heldUp.met(open, 1_999);
  heldUp.metByReader(open, 2_000);
  expect(looked).toEqual([0, 0, 1]);
  expect(heldUp.reads).toBe(1);
});
