import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Kafka, KafkaJSConnectionError, logLevel } from 'kafkajs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Broker } from '../../shared/broker/broker.ts';
import { recordsOf } from '../../shared/log/batch/stored-batch.ts';
import { ALL_SCOPES } from '../../shared/log/scopes.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { startChosenEmulator } from '../localstack/start-emulator.ts';
import { type AwsStores, makeAwsStores } from '../support/aws-stores.ts';

/** Two Kafka gateways, each a process as in its container, over one log on S3 and DynamoDB of an emulator. */

const TOPIC = 'events';
/** Two heads. */
const PARTITIONS = 32;
/** Of each producer. */
const PARTITIONS_EACH = 8;
const GROUP = 'readers';
/** Clients hear of changes of the gateways after so long. */
const METADATA_MS = 1_000;
const MAIN = fileURLToPath(new URL('../../functions/gateway/main.ts', import.meta.url));

let emulator: Emulator;
let stores: AwsStores;
let broker: Broker;
let sasl: { readonly mechanism: 'scram-sha-512'; readonly username: string; readonly password: string };
const gateways: Gateway[] = [];

interface Gateway {
  readonly child: ChildProcess;
  readonly address: string;
}

beforeAll(async () => {
  emulator = await startChosenEmulator();
  stores = await makeAwsStores(emulator.endpoint);
  broker = new Broker({ items: stores.items, objects: stores.objects, clock: systemClock, random: systemRandom });
  const { id, key } = await broker.createApiKey({ name: 'clients', scopes: ALL_SCOPES });
  sasl = { mechanism: 'scram-sha-512', username: id, password: key };
  gateways.push(...(await Promise.all([startGateway(), startGateway()])));
}, 600_000);

afterAll(async () => {
  for (const { child } of gateways) if (child.exitCode === null) child.kill('SIGKILL');
  stores?.close();
  await emulator?.stop();
}, 60_000);

async function startGateway(): Promise<Gateway> {
  const environment = {
    AWS_ENDPOINT_URL: emulator.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
    TAILRACE_TABLE: stores.name,
    TAILRACE_BUCKET: stores.name,
    TAILRACE_KAFKA_HOST: '127.0.0.1',
    TAILRACE_KAFKA_ADVERTISED_HOST: '127.0.0.1',
    TAILRACE_KAFKA_PORT: '0',
    TAILRACE_KAFKA_HEALTH_PORT: '0',
    TAILRACE_KAFKA_TLS: 'none',
  };
  const child = spawn(process.execPath, [MAIN], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...environment },
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { level, advertised, ...rest } = JSON.parse(line) as { readonly level: string; readonly advertised?: string };
    if (level === 'ERROR') throw new Error(`A gateway cannot start: ${JSON.stringify(rest)}`);
    if (advertised === undefined) continue;
    child.stdout.resume();
    return { child, address: advertised };
  }
  throw new Error('A gateway ended before it listened.');
}

/** A client that first asks these gateways. */
function clientOf(...addresses: readonly (Gateway | undefined)[]): Kafka {
  return new Kafka({
    brokers: addresses.map((gateway) => String(gateway?.address)),
    sasl,
    logLevel: logLevel.NOTHING,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  });
}

/**
 * Writes to its own partitions, one record at a time to each, until it is told to stop; returns how many of each were
 * acknowledged. A send of kafkajs must concern one broker only: where one of two fails, and the other has answered and then
 * gets its partitions too, kafkajs takes their records for sent.
 */
async function produceUntil(
  kafka: Kafka,
  number: number,
  stopping: AbortSignal,
  acknowledged: () => void,
): Promise<number> {
  const producer = kafka.producer({ idempotent: true, metadataMaxAge: METADATA_MS });
  await producer.connect();
  let rounds = 0;
  for (; !stopping.aborted; rounds++) {
    const value = String(rounds);
    await Promise.all(
      Array.from({ length: PARTITIONS_EACH }, (_, i) =>
        producer.send({ topic: TOPIC, messages: [{ value, partition: number * PARTITIONS_EACH + i }] }),
      ),
    );
    acknowledged();
  }
  await producer.disconnect();
  return rounds;
}

/** Whether the gateway tells its clients of so many. */
async function knows(gateway: Gateway | undefined, count: number): Promise<void> {
  const admin = clientOf(gateway).admin();
  await admin.connect();
  const known = async (): Promise<number | undefined> => {
    try {
      return (await admin.describeCluster()).brokers.length;
    } catch (error) {
      // kafkajs asks any of those that it was told of, also one that is gone.
      if (error instanceof KafkaJSConnectionError) return undefined;
      throw error;
    }
  };
  while ((await known()) !== count) await new Promise((later) => setTimeout(later, 200));
  await admin.disconnect();
}

test('clients of two gateways lose nothing and keep their order when one is killed', { timeout: 180_000 }, async () => {
  const [killed, other] = gateways;
  await Promise.all([knows(killed, 2), knows(other, 2)]);
  const admin = clientOf(other).admin();
  await admin.connect();
  await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: PARTITIONS }] });

  const read = new Set<string>();
  const consumers = [killed, other].map((first) =>
    clientOf(first, other).consumer({
      groupId: GROUP,
      sessionTimeout: 10_000,
      heartbeatInterval: 500,
      metadataMaxAge: METADATA_MS,
    }),
  );
  for (const consumer of consumers) {
    await consumer.connect();
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true });
    await consumer.run({
      eachMessage: async ({ partition, message }) => {
        read.add(`${partition}: ${message.value}`);
      },
    });
  }

  const stopping = new AbortController();
  const counts = Array.from({ length: PARTITIONS / PARTITIONS_EACH }, () => 0);
  const all = Promise.all(
    counts.map((_, i) =>
      // Half of them knew only the gateway that is killed, until it told them of the other.
      produceUntil(i % 2 === 0 ? clientOf(killed) : clientOf(other), i, stopping.signal, () => {
        counts[i] = (counts[i] as number) + 1;
      }),
    ),
  );
  const more = async (rounds: number): Promise<void> => {
    const from = [...counts];
    while (counts.some((count, i) => count < (from[i] as number) + rounds))
      await Promise.race([all, new Promise((later) => setTimeout(later, 50))]);
  };
  await more(5);
  killed?.child.kill('SIGKILL');
  await more(10);
  stopping.abort();
  const rounds = await all;

  // Each record once, in order: a retry of what the killed gateway had appended is recognised by the other.
  for (let partition = 0; partition < PARTITIONS; partition++) {
    const stored: number[] = [];
    for (;;) {
      const result = await broker.read({ topic: TOPIC, partition, from: { offset: stored.length } });
      if (result.nextOffset === stored.length) break;
      for await (const batch of result.batches)
        for (const { value } of recordsOf(batch)) stored.push(Number(Buffer.from(value ?? []).toString()));
    }
    const count = rounds[Math.floor(partition / PARTITIONS_EACH)] as number;
    expect(stored).toEqual(Array.from({ length: count }, (_, round) => round));
  }

  // The members may read some again, and leave nothing out.
  const total = rounds.reduce((sum, count) => sum + count * PARTITIONS_EACH, 0);
  while (read.size < total) await new Promise((later) => setTimeout(later, 100));

  await knows(other, 1);
  // kafkajs replaces its fetchers when it hears that a broker is gone. Stopped while it does so, the new ones spin without
  // giving way to anything (`fetchManager.js`), and no time limit of a test is noticed.
  await new Promise((later) => setTimeout(later, 3 * METADATA_MS));
  for (const consumer of consumers) await consumer.disconnect();
  await admin.disconnect();
  other?.child.kill('SIGTERM');
  expect(await once(other?.child as ChildProcess, 'exit')).toEqual([0, null]);
});
