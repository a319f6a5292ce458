import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kafka, logLevel, Partitioners } from 'kafkajs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleGateway } from '../../infra/constructs/bundle.ts';
import { Broker } from '../../shared/broker/broker.ts';
import { ALL_SCOPES } from '../../shared/log/scopes.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { startMiniStack } from '../localstack/start-ministack.ts';
import { type AwsStores, makeAwsStores } from '../support/aws-stores.ts';
import { type GatewayProcess, startGatewayProcess } from '../support/gateway-process.ts';

/**
 * The gateway as its container runs it, from the bundle and its environment, over an emulator of S3 and DynamoDB. The load
 * balancer is left out: clients connect to the process, and are told its own address.
 */

let emulator: Emulator;
let stores: AwsStores;
let folder: string;
let key: { readonly id: string; readonly key: string };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tailrace-gateway-'));
  bundleGateway(folder);
  emulator = await startMiniStack();
  stores = await makeAwsStores(emulator.endpoint);
  const broker = new Broker({ ...stores, clock: systemClock, random: systemRandom });
  key = await broker.createApiKey({ name: 'test', scopes: ALL_SCOPES });
}, 300_000);

afterAll(async () => {
  stores?.close();
  await emulator?.stop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

const start = (more: Readonly<Record<string, string>> = {}): Promise<GatewayProcess> =>
  startGatewayProcess(join(folder, 'index.mjs'), {
    ...emulator.environment,
    TAILRACE_TABLE: stores.name,
    TAILRACE_BUCKET: stores.name,
    TAILRACE_KAFKA_HOST: '127.0.0.1',
    TAILRACE_KAFKA_PORT: '0',
    TAILRACE_KAFKA_HEALTH_PORT: '0',
    TAILRACE_KAFKA_ADVERTISED_HOST: '127.0.0.1',
    TAILRACE_KAFKA_TLS: 'load_balancer',
    TAILRACE_KAFKA_PARTITIONS_DEFAULT: '4',
    TAILRACE_KAFKA_DRAIN_MS: '20000',
    ...more,
  });

const clientOf = ({ port }: GatewayProcess, mechanism: 'plain' | 'scram-sha-256'): Kafka =>
  new Kafka({
    brokers: [`127.0.0.1:${port}`],
    logLevel: logLevel.NOTHING,
    retry: { retries: 2, initialRetryTime: 50 },
    sasl: { mechanism: mechanism as 'plain', username: key.id, password: key.key },
  });

/** All values of a topic, by reading its partitions to their ends. */
async function valuesOf(gateway: GatewayProcess, topic: string): Promise<string[]> {
  const kafka = clientOf(gateway, 'plain');
  const admin = kafka.admin();
  await admin.connect();
  const count = (await admin.fetchTopicOffsets(topic)).reduce((sum, { high }) => sum + Number(high), 0);
  await admin.disconnect();
  const consumer = kafka.consumer({ groupId: `${topic}-all` });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const values: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  if (count === 0) resolve();
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.push(String(message.value));
      if (values.length === count) resolve();
    },
  });
  await promise;
  await consumer.disconnect();
  return values;
}

/** What `/health` answers, until nobody answers any more. */
async function statusesUntilTheEnd({ healthUrl }: GatewayProcess): Promise<number[]> {
  const statuses: number[] = [];
  for (;;) {
    try {
      const { status } = await fetch(healthUrl);
      if (statuses.at(-1) !== status) statuses.push(status);
    } catch {
      return statuses;
    }
    await sleep(20);
  }
}

describe('a gateway that gets a signal', () => {
  it('answers what is in work, loses nothing that it acknowledged, and ends with 0', async () => {
    const first = await start();
    expect((await fetch(`${first.healthUrl}/table`)).status).toBe(200);
    const kafka = clientOf(first, 'scram-sha-256');
    const admin = kafka.admin();
    await admin.connect();
    await admin.createTopics({ topics: [{ topic: 'quiet', numPartitions: 1 }] });
    await admin.disconnect();

    // A long poll that alone would last longer than the gateway has to drain.
    const waiting = kafka.consumer({ groupId: 'waiting', maxWaitTimeInMs: 60_000 });
    await waiting.connect();
    await waiting.subscribe({ topic: 'quiet' });
    await waiting.run({ eachMessage: async () => {} });

    const acknowledged = new Set<string>();
    const producers = Array.from({ length: 4 }, () =>
      kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner }),
    );
    const writers = producers.map(async (producer, writer) => {
      await producer.connect();
      for (let n = 0; ; n++) {
        const value = `${writer}-${n}`;
        try {
          await producer.send({ topic: 'load', messages: [{ key: value, value }] });
          acknowledged.add(value);
        } catch {
          return;
        }
      }
    });
    // Is told that the connection ends, and does not end it: so the gateway drains for a while.
    const stuck = connect({ port: first.port, host: '127.0.0.1', allowHalfOpen: true });
    const told = new Promise<void>((resolve) => stuck.once('end', resolve));
    stuck.on('error', () => {}).resume();

    while (acknowledged.size < 200) await sleep(20);
    const statuses = statusesUntilTheEnd(first);
    await sleep(100);
    first.signal('SIGTERM');
    await told;
    const late = connect(first.port, '127.0.0.1');
    const refused = await new Promise((resolve) => late.once('error', resolve).once('connect', () => resolve('open')));
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
    expect(await first.ended).toBe(0);
    stuck.destroy();
    expect(await statuses).toEqual([200, 503]);
    expect(first.lines.at(-1)).toMatchObject({ isClean: true, answered: true, settled: true });
    await Promise.all(writers);
    await Promise.all(producers.map((producer) => producer.disconnect()));
    await waiting.disconnect();

    const second = await start();
    const found = new Set(await valuesOf(second, 'load'));
    expect([...acknowledged].filter((value) => !found.has(value))).toEqual([]);
    second.signal('SIGTERM');
    expect(await second.ended).toBe(0);
    expect(JSON.stringify([...first.lines, ...second.lines])).not.toContain(key.key.slice(-20));
  }, 120_000);
});

describe('a gateway that cannot start', () => {
  it.each([
    [{ TAILRACE_KAFKA_TLS: '' }, 'TAILRACE_KAFKA_TLS'],
    [{ TAILRACE_KAFKA_ADVERTISED_HOST: '' }, 'TAILRACE_KAFKA_ADVERTISED_HOST'],
    [{ TAILRACE_TABLE: 'nothing-of-this-name' }, 'nothing-of-this-name'],
  ])(
    'says why, and ends with 1: %j',
    async (environment, says) => {
      await expect(start(environment)).rejects.toThrow(new RegExp(`ended with 1.*cannot start.*${says}`));
    },
    60_000,
  );
});
