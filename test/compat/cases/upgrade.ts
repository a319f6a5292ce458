import { expect } from 'vitest';
import type { Case } from './case.ts';
import { more, untilOwns, untilRead, untilShared, written } from './groups.ts';
import type { World } from './world.ts';

const PARTITIONS = 4;

/** A group changes from the classic protocol to KIP-848 and back, while one of its members always reads. */
async function upgraded(world: World): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const classic = world.member({ topic, group, protocol: 'classic' });
  await untilRead([classic], 0, 100);
  const consumer = world.member({ topic, group, protocol: 'consumer' });
  await untilShared(classic, consumer);
  await more(world, topic, 100, 200);
  await untilRead([classic, consumer], 100, 200);
  expect(consumer.records().length).toBeGreaterThan(0);
  await classic.leave();
  await untilOwns(consumer, PARTITIONS);
  await more(world, topic, 200, 300);
  await untilRead([consumer], 200, 300);
  const back = world.member({ topic, group, protocol: 'classic' });
  await untilShared(consumer, back);
  await consumer.leave();
  await untilOwns(back, PARTITIONS);
  await more(world, topic, 300, 400);
  await untilRead([back], 300, 400);
  await back.leave();
  const { offsets = {} } = await world.referenceAdmin({ op: 'committed', group, topic });
  expect(Object.values(offsets).reduce((sum, offset) => sum + offset, 0)).toBe(400);
}

export const UPGRADE: readonly Case[] = [{ name: 'group-upgrade', isCore: true, run: upgraded }];
