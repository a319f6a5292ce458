import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { Isolation } from '../clients/contract.ts';
import { ConnectGroup } from '../connect/connect-group.ts';
import { Flow } from '../connect/flow.ts';
import { until } from '../connect/until.ts';
import type { Case } from './case.ts';
import type { World } from './world.ts';

const COMMITTED_MS = 60_000;
const READ_MS = 5_000;
/** How long a reader waits for what should not come. */
const QUIET_MS = 3_000;

/** Several processes start and, in the first case, the session of one of them ends. */
const TIMEOUT_MS = 240_000;

async function flowsOf(world: World, count: number): Promise<readonly Flow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-connect-'));
  world.atEnd(() => rm(folder, { recursive: true, force: true }));
  return Array.from({ length: count }, () => new Flow(folder, `compat-${randomUUID()}`));
}

/** Each line as often as it came first. */
function firsts(lines: readonly string[]): readonly string[] {
  return [...new Set(lines)];
}

async function workerKilled(world: World): Promise<void> {
  const group = new ConnectGroup(world);
  const flows = await flowsOf(world, 2);
  // At once, so that both want to create the topics of the group.
  await Promise.all([group.start(), group.start()]);
  for (const flow of flows) await flow.create(group);
  const names = flows.flatMap((flow) => flow.names);
  await group.untilRunning(names);
  const running = await Promise.all(names.map((name) => group.taskWorker(name)));
  expect(new Set(running).size, 'workers with tasks').toBe(2);
  for (const flow of flows) await flow.write(1_000);
  for (const flow of flows) {
    await flow.untilAllCame();
    expect(await flow.come()).toEqual(flow.written);
  }

  const [killed] = group.workers.filter(({ id }) => id === running[0]);
  if (killed === undefined) throw new Error(`${running[0]} is not a worker of the group`);
  const isBusy = flows.map((flow) => flow.write(5_000));
  await group.kill(killed);
  await Promise.all(isBusy);
  await group.untilRunning(names);
  for (const flow of flows) await flow.write(1_000);
  for (const flow of flows) {
    await flow.untilAllCame();
    expect(firsts(await flow.come())).toEqual(flow.written);
    const records = await world.readAll(flow.topic, 1, flow.written.length);
    expect(records.length).toBeGreaterThanOrEqual(flow.written.length);
  }
}

/** So long that a worker that is killed has an open transaction. */
const IN_TRANSACTIONS = {
  'exactly.once.support': 'required',
  'transaction.boundary': 'interval',
  'transaction.boundary.interval.ms': '2000',
};

interface Reading {
  readonly isolation: Isolation;
  readonly count: number;
  readonly timeoutMs: number;
}

/** Lines in the topic; Connect writes each with its schema. */
async function linesOf(world: World, topic: string, read: Reading) {
  const { records } = await world.referenceConsume({ topic, partitions: [0], from: 'earliest', ...read });
  return records.map(({ value }) => {
    const { payload } = JSON.parse(Buffer.from(value ?? '', 'base64').toString()) as { payload: string };
    return payload;
  });
}

/** Waits until all lines are committed; then each must be there once, in order. */
async function expectEachOnce(world: World, { topic, written }: Flow): Promise<void> {
  const isolation = 'read_committed';
  await until(`${written.length} committed lines`, COMMITTED_MS, async () => {
    const read = await linesOf(world, topic, { isolation, count: written.length, timeoutMs: READ_MS });
    return read.length === written.length;
  });
  const all = await linesOf(world, topic, { isolation, count: written.length + 1, timeoutMs: QUIET_MS });
  expect(all).toEqual(written);
}

async function hasOpenTransaction(world: World, topic: string): Promise<boolean> {
  const end = async (isolation: Isolation) =>
    (await world.referenceAdmin({ op: 'list-offsets', topic, partition: 0, at: 'latest', isolation })).offset;
  const stable = await end('read_committed');
  return stable !== (await end('read_uncommitted'));
}

async function exactlyOnceWorkerKilled(world: World): Promise<void> {
  const group = new ConnectGroup(world, { isExactlyOnce: true });
  const [flow] = (await flowsOf(world, 1)) as [Flow];
  await Promise.all([group.start(), group.start()]);
  await flow.createSource(group, IN_TRANSACTIONS);
  await group.untilRunning([flow.source]);
  await flow.write(500);
  await expectEachOnce(world, flow);

  await until('an open transaction', COMMITTED_MS, async () => {
    await flow.write(100);
    return hasOpenTransaction(world, flow.topic);
  });
  const running = await group.taskWorker(flow.source);
  const [killed] = group.workers.filter(({ id }) => id === running);
  if (killed === undefined) throw new Error(`${running} is not a worker of the group`);
  const isBusy = flow.write(5_000);
  await group.kill(killed);
  await isBusy;
  await group.untilRunning([flow.source]);
  await flow.write(500);
  await expectEachOnce(world, flow);

  const uncommitted = { isolation: 'read_uncommitted', count: 2 * flow.written.length, timeoutMs: QUIET_MS } as const;
  expect((await linesOf(world, flow.topic, uncommitted)).length).toBeGreaterThan(flow.written.length);
  const position = await flow.inputBytes();
  await group.untilOffsets(flow.source, [{ partition: { filename: flow.input }, offset: { position } }]);
}

async function restarted(world: World): Promise<void> {
  const group = new ConnectGroup(world);
  const [flow] = (await flowsOf(world, 1)) as [Flow];
  const first = await group.start();
  await flow.create(group);
  await group.untilRunning(flow.names);
  await flow.write(100);
  await flow.untilAllCame();
  await group.finish(first);
  await flow.write(100);
  await group.start();
  expect(await group.connectors()).toEqual([...flow.names].sort());
  await group.untilRunning(flow.names);
  await flow.write(100);
  await flow.untilAllCame();
  // Whoever ends in order has committed what it did: nothing comes twice.
  expect(await flow.come()).toEqual(flow.written);
  for (const name of flow.names) await group.remove(name);
  expect(await group.connectors()).toEqual([]);
}

async function offsetsChanged(world: World): Promise<void> {
  const group = new ConnectGroup(world);
  const [flow] = (await flowsOf(world, 1)) as [Flow];
  await group.start();
  await flow.create(group);
  await group.untilRunning(flow.names);
  await flow.write(10);
  await flow.untilAllCame();

  await group.stop(flow.sink);
  const partition = { kafka_topic: flow.topic, kafka_partition: 0 };
  await group.untilOffsets(flow.sink, [{ partition, offset: { kafka_offset: 10 } }]);
  await group.alterOffsets(flow.sink, [{ partition, offset: { kafka_offset: 7 } }]);
  await group.resume(flow.sink);
  await flow.untilCount(13);
  expect(await flow.come()).toEqual([...flow.written, ...flow.written.slice(7)]);

  await group.stop(flow.sink);
  await group.resetOffsets(flow.sink);
  await group.untilOffsets(flow.sink, []);
  await group.resume(flow.sink);
  await flow.untilCount(23);
  expect(await flow.come()).toEqual([...flow.written, ...flow.written.slice(7), ...flow.written]);

  await group.stop(flow.source);
  await group.untilOffsets(flow.source, [
    { partition: { filename: flow.input }, offset: { position: await flow.inputBytes() } },
  ]);
  await group.resetOffsets(flow.source);
  await group.untilOffsets(flow.source, []);
  await group.resume(flow.source);
  await flow.untilCount(33);
  expect((await flow.come()).slice(23)).toEqual(flow.written);
}

export const CONNECT: readonly Case[] = [
  { name: 'connect-worker-killed', of: 'connect', timeoutMs: TIMEOUT_MS, run: workerKilled },
  { name: 'connect-exactly-once-worker-killed', of: 'connect', timeoutMs: TIMEOUT_MS, run: exactlyOnceWorkerKilled },
  { name: 'connect-restarted', of: 'connect', timeoutMs: TIMEOUT_MS, run: restarted },
  { name: 'connect-offsets-changed', of: 'connect', timeoutMs: TIMEOUT_MS, run: offsetsChanged },
];
