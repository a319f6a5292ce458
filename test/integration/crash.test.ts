import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ServerProcess, startServer } from '../support/server-process.ts';

/**
 * The promise above all others: an acknowledged record is there, once, at its offset, whenever the process is killed.
 * 64 writers append to a real server; it is killed with SIGKILL at random moments, started again on the same folder, and
 * at the end everything is read.
 */

const KILLS = 50;
const WRITERS = 64;
const PARTITIONS = 4;

let folder: string;
let server: ServerProcess;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'tailrace-crash-'));
});

afterAll(async () => {
  await server?.end();
  await rm(folder, { recursive: true, force: true });
});

interface Ack {
  readonly partition: number;
  readonly offset: number;
}

interface Tally {
  readonly acknowledged: Map<string, Ack>;
  /** Sent, and never answered: each may be there once or not at all. */
  readonly uncertain: Set<string>;
  stop: boolean;
}

/** Odd writers retry under an idempotency key until they are sure; even ones leave an unanswered append alone. */
async function write(writer: number, tally: Tally): Promise<void> {
  const retries = writer % 2 === 1;
  for (let n = 0; !tally.stop; n++) {
    const value = `${writer}-${n}-${'x'.repeat((n * 997) % 3_000)}`;
    for (;;) {
      const ack = await append(value, writer, retries);
      if (ack !== undefined) {
        tally.acknowledged.set(value, ack);
        tally.uncertain.delete(value);
        break;
      }
      tally.uncertain.add(value);
      await sleep(10);
      if (!retries || tally.stop) break;
    }
  }
}

async function append(value: string, writer: number, once: boolean): Promise<Ack | undefined> {
  try {
    const response = await fetch(`${server.url}/v1/topics/crash/records`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(once ? { 'idempotency-key': value.slice(0, 40) } : {}) },
      body: JSON.stringify({ records: [{ key: `writer-${writer}`, value }] }),
      signal: AbortSignal.timeout(10_000),
    });
    const answer = (await response.json()) as { records: Ack[] };
    if (response.status !== 200) throw new Error(`${response.status} ${JSON.stringify(answer)}`);
    const { partition, offset } = answer.records[0] as Ack;
    return { partition, offset };
  } catch (error) {
    // The connection broke with the server; anything else is a failure of the test.
    if (error instanceof TypeError || (error instanceof Error && error.name === 'TimeoutError')) return undefined;
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function readAll(): Promise<Map<string, Ack[]>> {
  const found = new Map<string, Ack[]>();
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let offset = 0; ; ) {
      const response = await fetch(
        `${server.url}/v1/topics/crash/partitions/${partition}/records?offset=${offset}&limit=10000&maxBytes=8388608`,
      );
      const page = (await response.json()) as {
        records: { offset: number; value: string }[];
        nextOffset: number;
        highWatermark: number;
      };
      for (const record of page.records) {
        expect(record.offset).toBe(offset);
        offset++;
        found.set(record.value, [...(found.get(record.value) ?? []), { partition, offset: record.offset }]);
      }
      if (page.nextOffset >= page.highWatermark) break;
    }
  }
  return found;
}

test(`${WRITERS} writers lose and repeat nothing while the process is killed ${KILLS} times`, async () => {
  server = await startServer(folder);
  const made = await fetch(`${server.url}/v1/topics/crash`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ partitions: PARTITIONS }),
  });
  expect(made.status).toBe(201);
  const tally: Tally = { acknowledged: new Map(), uncertain: new Set(), stop: false };
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer, tally));
  for (let kill = 0; kill < KILLS; kill++) {
    await sleep(Math.random() * 300);
    await server.end();
    server = await startServer(folder);
  }
  await sleep(200);
  tally.stop = true;
  await Promise.all(writers);

  const found = await readAll();
  let repeated = 0;
  for (const [value, places] of found) {
    if (places.length > 1) repeated++;
    expect(tally.acknowledged.has(value) || tally.uncertain.has(value)).toBe(true);
  }
  expect(repeated).toBe(0);
  for (const [value, ack] of tally.acknowledged) expect(found.get(value), value.slice(0, 40)).toEqual([ack]);
  expect(tally.acknowledged.size).toBeGreaterThan(1_000);
  process.stdout.write(
    `crash test: ${KILLS} kills, ${tally.acknowledged.size} appends acknowledged, ${tally.uncertain.size} unanswered, ${found.size} records found\n`,
  );
}, 240_000);
