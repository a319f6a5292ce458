import { randomUUID } from 'node:crypto';
import { expect } from 'vitest';
import type { AgentRecord, Isolation } from '../clients/contract.ts';
import type { Case } from './case.ts';
import { base64, largeValue, numbered, numberOf, sorted, type World } from './world.ts';

const TIMEOUT_MS = 20_000;
/** How long a reader waits for what should not come. */
const QUIET_MS = 2_000;
const PARTITIONS = [0, 1, 2];

const CUTS_MS = 240_000;
const CUT_ROUNDS = 60;
/** Less than two transactions have, and than their answers. */
const CUT_BYTES = { requests: [2_000, 30_000], answers: [800, 2_000] } as const;
const CUT_RECORDS = 60;
const CUTS_MIN = 10;
/** Of each key: it does not get smaller where a client compresses. */
const PADDING_BYTES = 400;
/** How long everything is read. */
const CUT_READ_MS = 5_000;

function transactionalId(): string {
  return `transaction-${randomUUID()}`;
}

/** Values from `from` on, one after another over all partitions. */
function values(from: number, count: number): AgentRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    partition: i % PARTITIONS.length,
    key: null,
    value: base64(String(from + i)),
  }));
}

function numbers(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

/** The client and the Java client read this from all partitions, and nothing more. */
async function expectRead(world: World, topic: string, isolation: Isolation, wanted: readonly number[]) {
  const request = { topic, partitions: PARTITIONS, from: { offset: 0 }, isolation } as const;
  const exact = { ...request, count: wanted.length, timeoutMs: TIMEOUT_MS };
  const more = { ...request, count: wanted.length + 1, timeoutMs: QUIET_MS };
  for (const read of [await world.consume(exact), await world.referenceConsume(more)])
    expect(sorted(read.records.map(numberOf))).toEqual(wanted);
}

async function commit(world: World): Promise<void> {
  const [topic, id] = [await world.topic(PARTITIONS.length), transactionalId()];
  for (const round of [0, 1, 2])
    await world.transact({ transactionalId: id, topic, records: values(round * 30, 30), end: 'commit' });
  await expectRead(world, topic, 'read_committed', numbers(0, 90));
}

async function abort(world: World): Promise<void> {
  const [topic, id] = [await world.topic(PARTITIONS.length), transactionalId()];
  await world.transact({ transactionalId: id, topic, records: values(0, 30), end: 'abort' });
  await world.transact({ transactionalId: id, topic, records: values(30, 30), end: 'commit' });
  await world.transact({ transactionalId: id, topic, records: values(60, 3), end: 'abort' });
  await expectRead(world, topic, 'read_committed', numbers(30, 30));
  await expectRead(world, topic, 'read_uncommitted', numbers(0, 63));
}

async function offsets(world: World): Promise<void> {
  const [topic, id, group] = [await world.topic(PARTITIONS.length), transactionalId(), world.group()];
  await world.referenceProduce({ topic, records: values(0, 30) });
  const transact = (offsets: Readonly<Record<string, number>>, end: 'commit' | 'abort') =>
    world.transact({ transactionalId: id, topic, records: values(100, 3), commits: { group, offsets }, end });
  await transact({ 0: 4, 1: 5 }, 'commit');
  expect((await world.admin({ op: 'committed', group, topic })).offsets).toEqual({ 0: 4, 1: 5 });
  await transact({ 0: 7, 1: 8, 2: 9 }, 'abort');
  expect((await world.referenceAdmin({ op: 'committed', group, topic })).offsets).toEqual({ 0: 4, 1: 5 });
  await transact({ 1: 6, 2: 10 }, 'commit');
  expect((await world.referenceAdmin({ op: 'committed', group, topic })).offsets).toEqual({ 0: 4, 1: 6, 2: 10 });
}

async function fencing(world: World): Promise<void> {
  const [topic, id] = [await world.topic(PARTITIONS.length), transactionalId()];
  await world.transact({ transactionalId: id, topic, records: values(0, 30), end: 'none' });
  await world.transactElsewhere({ transactionalId: id, topic, records: values(30, 30), end: 'commit' });
  const zombie = world.transact({ transactionalId: id, topic, records: values(60, 30), end: 'commit' });
  await expect(zombie).rejects.toThrow(/fenced|epoch/i);
  await expectRead(world, topic, 'read_committed', numbers(30, 30));
}

async function mixed(world: World): Promise<void> {
  const [topic, first, second] = [await world.topic(PARTITIONS.length), transactionalId(), transactionalId()];
  await world.referenceProduce({ topic, records: values(0, 6) });
  await world.transact({ transactionalId: first, topic, records: values(6, 6), end: 'none' });
  await world.referenceProduce({ topic, records: values(12, 6), idempotent: true });
  await world.transact({ transactionalId: second, topic, records: values(18, 6), end: 'commit' });
  await expectRead(world, topic, 'read_committed', numbers(0, 6));
  await expectRead(world, topic, 'read_uncommitted', numbers(0, 24));
  await world.transact({ transactionalId: first, topic, records: values(24, 6), end: 'commit' });
  await expectRead(world, topic, 'read_committed', numbers(0, 30));
}

/** Connections end in the middle of requests and of answers: nobody knows whether a request was carried out. */
async function cuts(world: World): Promise<void> {
  const [topic, proxy] = [await world.topic(PARTITIONS.length), await world.cuttingProxy(CUT_BYTES)];
  const committed: number[] = [];
  const unknown: (readonly number[])[] = [];
  let id = transactionalId();
  for (let round = 0; round < CUT_ROUNDS; round++) {
    const [first, end] = [round * CUT_RECORDS, round % 3 === 1 ? 'abort' : 'commit'] as const;
    const records = values(first, CUT_RECORDS).map((record) => ({ ...record, key: largeValue(PADDING_BYTES) }));
    try {
      await world.transactThrough(proxy, { transactionalId: id, topic, records, end });
      if (end === 'commit') committed.push(...numbers(first, CUT_RECORDS));
    } catch {
      if (end === 'commit') unknown.push(numbers(first, CUT_RECORDS));
      // What it left open is ended by the next producer of the same id.
      await world.referenceTransact({ transactionalId: id, topic, records: [], end: 'abort' });
      id = transactionalId();
    }
  }
  expect(proxy.cuts()).toBeGreaterThan(CUTS_MIN);
  expect(unknown.length).toBeLessThan(CUT_ROUNDS / 2);
  const request = { topic, partitions: PARTITIONS, from: 'earliest', isolation: 'read_committed' } as const;
  const all = { ...request, count: CUT_ROUNDS * CUT_RECORDS, timeoutMs: CUT_READ_MS };
  const found = (await world.referenceConsume(all)).records.map(numberOf);
  // All of a transaction or nothing, and nothing twice.
  const kept = unknown.filter((each) => each.some((number) => found.includes(number)));
  expect(sorted(found)).toEqual(sorted([...committed, ...kept.flat()]));
}

async function admin(world: World): Promise<void> {
  const [topic, id] = [await world.topic(PARTITIONS.length), transactionalId()];
  const stateOf = async () => (await world.admin({ op: 'describe-transaction', transactionalId: id })).state;
  await world.transact({ transactionalId: id, topic, records: numbered(3), end: 'none' });
  expect((await world.admin({ op: 'list-transactions' })).transactionalIds).toContain(id);
  expect(await stateOf()).toBe('Ongoing');
  await world.transact({ transactionalId: id, topic, records: [], end: 'commit' });
  await expect.poll(stateOf, { timeout: TIMEOUT_MS }).toBe('CompleteCommit');
}

export const TRANSACTIONS: readonly Case[] = [
  { name: 'transaction-commit', run: commit },
  { name: 'transaction-abort', isCore: true, run: abort },
  { name: 'transaction-offsets', isCore: true, run: offsets },
  { name: 'transaction-fencing', isCore: true, run: fencing },
  { name: 'transaction-mixed', run: mixed },
  { name: 'transaction-cuts', needs: 'behindProxy', timeoutMs: CUTS_MS, run: cuts },
  { name: 'transactions-admin', run: admin },
];
