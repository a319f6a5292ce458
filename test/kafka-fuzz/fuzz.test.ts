import { expect, it } from 'vitest';
import { fuzz } from './run.ts';

it('changed frames are answered, or close their connection, and harm nothing else', async () => {
  const { errors, isUnharmed, answered, closed, heapBytesMax } = await fuzz(1, 4_000);
  expect(errors).toEqual([]);
  expect(isUnharmed).toBe(true);
  // Both happen often, or the frames are not what they should be.
  expect(answered).toBeGreaterThan(1_000);
  expect(closed).toBeGreaterThan(500);
  expect(heapBytesMax).toBeLessThan(400 * 2 ** 20);
});
