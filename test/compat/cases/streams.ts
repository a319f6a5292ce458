import { expect } from 'vitest';
import { WordCount } from '../streams/word-count.ts';
import type { Case } from './case.ts';
import type { World } from './world.ts';

const TIMEOUT_MS = 240_000;

async function instanceKilled(world: World): Promise<void> {
  const counting = await WordCount.create(world);
  const [first] = await Promise.all([counting.start(), counting.start()]);
  await counting.write(200);
  await counting.untilCounted();
  await counting.untilCommitted();
  // Its counts are only in the changelog now.
  await first.stop();
  await counting.write(200);
  await counting.untilCounted();
}

async function restarted(world: World): Promise<void> {
  const counting = await WordCount.create(world);
  const first = await counting.start();
  await counting.write(100);
  await counting.untilCounted();
  await first.finish();
  await counting.write(100);
  await counting.start();
  await counting.untilCounted();
}

async function exactlyOnceInstanceKilled(world: World): Promise<void> {
  const counting = await WordCount.create(world, { isExactlyOnce: true });
  const [first] = await Promise.all([counting.start(), counting.start()]);
  await counting.write(200);
  await counting.untilCountedOnce();
  await counting.writeUntilOpen();
  const killed = first.stop();
  for (let i = 0; i < 20; i++) await counting.write(20);
  await killed;
  await counting.untilCountedOnce();
  expect(await counting.aborted()).toBeGreaterThan(0);
}

async function exactlyOnceRestarted(world: World): Promise<void> {
  const counting = await WordCount.create(world, { isExactlyOnce: true });
  const first = await counting.start();
  await counting.writeUntilOpen();
  await first.stop();
  const started = counting.start();
  for (let i = 0; i < 20; i++) await counting.write(20);
  await started;
  await counting.untilCountedOnce();
  expect(await counting.aborted()).toBeGreaterThan(0);
}

export const STREAMS: readonly Case[] = [
  { name: 'streams-instance-killed', of: 'streams', timeoutMs: TIMEOUT_MS, run: instanceKilled },
  { name: 'streams-restarted', of: 'streams', timeoutMs: TIMEOUT_MS, run: restarted },
  {
    name: 'streams-exactly-once-instance-killed',
    of: 'streams',
    timeoutMs: TIMEOUT_MS,
    run: exactlyOnceInstanceKilled,
  },
  { name: 'streams-exactly-once-restarted', of: 'streams', timeoutMs: TIMEOUT_MS, run: exactlyOnceRestarted },
];
