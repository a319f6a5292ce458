import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Broker } from '../../shared/broker/broker.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { startChosenEmulator } from '../localstack/start-emulator.ts';
import { type AwsStores, makeAwsStores } from '../support/aws-stores.ts';
import { appendTo } from '../support/memory-broker.ts';
import type { MemberLine } from './group-member.ts';

/** A group whose members are processes, on S3 and DynamoDB of an emulator. One of them is killed while it works. */

const GROUP = 'workers';
const TOPIC = 'jobs';
const PARTITIONS = 6;
const MEMBER = fileURLToPath(new URL('./group-member.ts', import.meta.url));

let emulator: Emulator;
let stores: AwsStores;
let broker: Broker;
const members: { readonly id: string; readonly child: ChildProcess; readonly lines: MemberLine[] }[] = [];

beforeAll(async () => {
  emulator = await startChosenEmulator();
  stores = await makeAwsStores(emulator.endpoint);
  broker = new Broker({ items: stores.items, objects: stores.objects, clock: systemClock, random: systemRandom });
}, 600_000);

afterAll(async () => {
  await Promise.all(members.map(({ child }) => ended(child, 'SIGKILL')));
  stores?.close();
  await emulator?.stop();
}, 60_000);

function startMember(id: string): (typeof members)[number] {
  const args = [MEMBER, emulator.endpoint, stores.name, GROUP, TOPIC, id];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines: MemberLine[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(JSON.parse(line) as MemberLine));
  const member = { id, child, lines };
  members.push(member);
  return member;
}

async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await exit;
}

/** Appends records to every partition, and returns when all of them are committed by the group. */
async function workThrough(records: number): Promise<void> {
  for (let i = 0; i < records; i++) await appendTo(broker, TOPIC, i % PARTITIONS, [`job ${i}`]);
  for (;;) {
    const { totalLagRecords, partitionsWithoutOffset } = await broker.groupLag({ group: GROUP, withTimes: false });
    if (totalLagRecords === 0 && partitionsWithoutOffset === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Waits until each of the members has partitions. */
async function shared(count: number): Promise<void> {
  for (;;) {
    const { state, members: described } = await broker.describeGroup(GROUP).catch(() => ({ state: '', members: [] }));
    if (state === 'stable' && described.length === count) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function rangesOf(what: MemberLine['what'], partition: number): [from: number, to: number][] {
  return members
    .flatMap(({ lines }) => lines)
    .filter((line) => line.what === what && line.partition === partition)
    .map(({ from, to }): [number, number] => [from, to])
    .sort(([a], [b]) => a - b);
}

test('a killed member loses no record, and nothing is committed by two members', { timeout: 180_000 }, async () => {
  await broker.putTopic({ name: TOPIC, partitions: PARTITIONS });
  const [killed] = ['a', 'b', 'c'].map(startMember);
  await shared(3);
  await workThrough(30);
  const more = workThrough(60);
  await new Promise((resolve) => setTimeout(resolve, 500));
  await ended(killed?.child as ChildProcess, 'SIGKILL');
  await more;
  await workThrough(30);
  await Promise.all(members.map(({ child }) => ended(child, 'SIGTERM')));

  expect(new Set(members.filter(({ lines }) => lines.length > 0).map(({ id }) => id)).size).toBe(3);
  for (let partition = 0; partition < PARTITIONS; partition++) {
    let processedTo = 0;
    for (const [from, to] of rangesOf('processed', partition)) {
      expect(from, `partition ${partition} skips offsets`).toBeLessThanOrEqual(processedTo);
      processedTo = Math.max(processedTo, to);
    }
    expect(processedTo).toBe(20);
    let committedTo = 0;
    for (const [from, to] of rangesOf('committed', partition)) {
      expect(from, `partition ${partition} is committed twice`).toBeGreaterThanOrEqual(committedTo);
      committedTo = to;
    }
  }
  expect(await broker.describeGroup(GROUP)).toMatchObject({ state: 'empty' });
});
