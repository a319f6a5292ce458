import { expect } from 'vitest';
import type { Agent } from '../clients/agent.ts';
import type { Case } from './case.ts';
import { numbered, numberOf, sorted, type World } from './world.ts';

type Protocol = 'classic' | 'consumer';

const PARTITIONS = 4;
const ALL = [0, 1, 2, 3];

async function written(world: World, count: number): Promise<string> {
  const topic = await world.topic(PARTITIONS);
  await world.referenceProduce({ topic, records: numbered(count, 40) });
  return topic;
}

async function untilOwns(member: Agent, count: number): Promise<void> {
  await member.until(`${count} partitions`, () => member.owned().length === count);
}

async function untilShared(first: Agent, second: Agent): Promise<void> {
  const isShared = (): boolean => {
    const owned = [...first.owned(), ...second.owned()];
    return first.owned().length > 0 && second.owned().length > 0 && sorted(owned).join() === ALL.join();
  };
  await Promise.race([first.until('a share', isShared), second.until('a share', isShared)]);
}

function expectAll(members: readonly Agent[], from: number, to: number): void {
  const numbers = new Set(members.flatMap((member) => member.records().map(numberOf)));
  for (let i = from; i < to; i++) expect(numbers, `record ${i}`).toContain(i);
}

async function untilRead(members: readonly Agent[], from: number, to: number): Promise<void> {
  const isRead = (): boolean => {
    const numbers = new Set(members.flatMap((member) => member.records().map(numberOf)));
    for (let i = from; i < to; i++) if (!numbers.has(i)) return false;
    return true;
  };
  await Promise.race(
    members.filter(({ isAlive }) => isAlive).map((member) => member.until(`records to ${to}`, isRead)),
  );
  expectAll(members, from, to);
}

/** Values go on from `from`, so that what is read later is told from what was read before. */
function more(world: World, topic: string, from: number, to: number) {
  return world.referenceProduce({ topic, records: numbered(to, 40).slice(from) });
}

async function shared(world: World, protocol: Protocol): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const first = world.member({ topic, group, protocol });
  await untilRead([first], 0, 100);
  const second = world.member({ topic, group, protocol });
  await untilShared(first, second);
  await more(world, topic, 100, 200);
  await untilRead([first, second], 100, 200);
  expect(second.records().length).toBeGreaterThan(0);
}

async function memberKilled(world: World, protocol: Protocol): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const first = world.member({ topic, group, protocol, sessionTimeoutMs: 3_000 });
  const second = world.member({ topic, group, protocol, sessionTimeoutMs: 3_000 });
  await untilShared(first, second);
  await untilRead([first, second], 0, 100);
  second.kill();
  await more(world, topic, 100, 200);
  await untilOwns(first, PARTITIONS);
  await untilRead([first], 100, 200);
}

async function memberLeaves(world: World, protocol: Protocol): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  // Nobody waits for the end of a session as long as this: it must have left.
  const first = world.member({ topic, group, protocol, sessionTimeoutMs: 60_000 });
  const second = world.member({ topic, group, protocol, sessionTimeoutMs: 60_000 });
  await untilShared(first, second);
  await second.leave();
  await more(world, topic, 100, 200);
  await untilOwns(first, PARTITIONS);
  await untilRead([first, second], 0, 200);
}

async function resumes(world: World, protocol: Protocol): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const first = world.member({ topic, group, protocol, count: 40 });
  await first.finish();
  const second = world.member({ topic, group, protocol, count: 60 });
  await second.finish();
  const read = [...first.records(), ...second.records()].map(numberOf);
  expect(sorted(read)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  const { offsets = {} } = await world.referenceAdmin({ op: 'committed', group, topic });
  expect(Object.values(offsets).reduce((sum, offset) => sum + offset, 0)).toBe(100);
}

async function startsAtEnd(world: World): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const member = world.member({ topic, group, reset: 'latest' });
  await untilOwns(member, PARTITIONS);
  await new Promise((resolve) => setTimeout(resolve, 1_500));
  await more(world, topic, 100, 140);
  await untilRead([member], 100, 140);
  expect(Math.min(...member.records().map(numberOf))).toBe(100);
}

async function uncommitted(world: World): Promise<void> {
  const [topic, group] = [await written(world, 50), world.group()];
  for (let i = 0; i < 2; i++) {
    const member = world.member({ topic, group, commit: false, count: 50 });
    const { records } = await member.finish();
    expect(sorted(records.map(numberOf))).toEqual(Array.from({ length: 50 }, (_, i) => i));
    await member.leave();
  }
}

async function offsetsReset(world: World): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  await world.member({ topic, group, count: 100 }).finish();
  await world.admin({ op: 'reset-offsets', group, topic, offsets: { 0: 0, 1: 0, 2: 0, 3: 0 } });
  const { offsets } = await world.admin({ op: 'committed', group, topic });
  expect(offsets).toEqual({ 0: 0, 1: 0, 2: 0, 3: 0 });
  const again = world.member({ topic, group, count: 100 });
  expect((await again.finish()).records).toHaveLength(100);
}

async function described(world: World): Promise<void> {
  const [topic, group] = [await written(world, 20), world.group()];
  const member = world.member({ topic, group });
  await untilRead([member], 0, 20);
  expect(await world.admin({ op: 'describe-group', group })).toMatchObject({ state: 'Stable', members: 1 });
  expect((await world.admin({ op: 'list-groups' })).groups).toContain(group);
  await member.leave();
  await waitFor(async () => expect((await world.admin({ op: 'describe-group', group })).members).toBe(0));
}

async function deleted(world: World): Promise<void> {
  const [topic, group] = [await written(world, 20), world.group()];
  await world.member({ topic, group, count: 20 }).finish();
  await waitFor(async () => expect((await world.referenceAdmin({ op: 'describe-group', group })).members).toBe(0));
  await world.admin({ op: 'delete-group', group });
  expect((await world.referenceAdmin({ op: 'list-groups' })).groups).not.toContain(group);
}

async function staticMember(world: World): Promise<void> {
  const [topic, group] = [await written(world, 100), world.group()];
  const request = { topic, group, sessionTimeoutMs: 20_000 };
  const first = world.member({ ...request, instanceId: 'one' });
  const second = world.member({ ...request, instanceId: 'two' });
  await untilShared(first, second);
  const owned = sorted(second.owned());
  second.kill();
  const again = world.member({ ...request, instanceId: 'two' });
  await untilOwns(again, owned.length);
  expect(sorted(again.owned())).toEqual(owned);
}

async function waitFor(check: () => Promise<void>): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await check();
    } catch (error) {
      if (attempt === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

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

export const GROUPS: readonly Case[] = [
  ...(['classic', 'consumer'] as const).flatMap((protocol): Case[] => [
    { name: `group-${protocol}-shared`, run: (world) => shared(world, protocol) },
    { name: `group-${protocol}-member-killed`, isCore: true, run: (world) => memberKilled(world, protocol) },
    { name: `group-${protocol}-member-leaves`, run: (world) => memberLeaves(world, protocol) },
    { name: `group-${protocol}-resumes`, isCore: true, run: (world) => resumes(world, protocol) },
  ]),
  { name: 'group-static-member', isCore: true, run: staticMember },
  { name: 'group-starts-at-end', run: startsAtEnd },
  { name: 'group-uncommitted', run: uncommitted },
  { name: 'group-offsets-reset', isCore: true, run: offsetsReset },
  { name: 'group-described', run: described },
  { name: 'group-deleted', run: deleted },
  { name: 'group-upgrade', isCore: true, run: upgraded },
];
