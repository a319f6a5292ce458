import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { type RunningGateway, startGateway } from '../../../../functions/gateway/start-gateway.ts';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { SASL_HANDSHAKE } from '../../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { systemClock } from '../../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../../shared/storage/system/random.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import { gatewayEnvironment } from '../../../support/gateway-environment.ts';
import { KafkaConnection } from '../../../support/kafka-gateway.ts';
import { type MemoryStores, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

const running: RunningGateway[] = [];
afterEach(async () => {
  for (const gateway of running.splice(0)) await gateway.drain(AbortSignal.abort());
});

interface Line {
  readonly level: string;
  readonly message: string;
  readonly [field: string]: unknown;
}

interface Started {
  readonly gateway: RunningGateway;
  readonly lines: readonly Line[];
  readonly health: (path: string) => Promise<{ status: number; body: unknown }>;
}

async function start(
  broker: Broker = memoryBroker({ ...memoryStores(), clock: systemClock }),
  more: Parameters<typeof gatewayEnvironment>[0] = {},
  metadataUrl?: string,
): Promise<Started> {
  const lines: Line[] = [];
  const gateway = await startGateway({
    broker,
    environment: gatewayEnvironment(more),
    tableName: 't',
    jwt: undefined,
    metadataUrl,
    clock: systemClock,
    random: systemRandom,
    log: (level, message, fields) => lines.push({ level, message, ...fields }),
  });
  running.push(gateway);
  const health: Started['health'] = async (path) => {
    const response = await fetch(`http://127.0.0.1:${gateway.healthPort}${path}`);
    return { status: response.status, body: await response.json() };
  };
  return { gateway, lines, health };
}

/** Stores of which the table can be cut off. */
function cuttable(): { readonly stores: MemoryStores; readonly table: { isCut: boolean } } {
  const table = { isCut: false };
  const plain: MemoryStores = { ...memoryStores(), clock: systemClock };
  const stores = faultyStores(plain, ({ method }) =>
    table.isCut && !method.endsWith('Object') ? { fault: 'lost_request' } : undefined,
  );
  return { stores, table };
}

describe('a gateway says how it is', () => {
  it('while it serves, whether or not the table is reached', async () => {
    const { stores, table } = cuttable();
    const { health } = await start(memoryBroker(stores));
    expect(await health('/health')).toEqual({ status: 200, body: { state: 'serving' } });
    expect(await health('/nothing')).toMatchObject({ status: 404 });
    table.isCut = true;
    expect(await health('/health/table')).toEqual({ status: 503, body: { state: 'serving', table: 'not_reached' } });
    // A table that fails is no reason to replace the gateway.
    expect(await health('/health')).toEqual({ status: 200, body: { state: 'serving' } });
  });

  it('with the table, by a read that answers all questions of a moment', async () => {
    let reads = 0;
    const stores = faultyStores({ ...memoryStores(), clock: systemClock }, ({ key }) => {
      reads += key === 'cluster' ? 1 : 0;
      return undefined;
    });
    const { health } = await start(memoryBroker(stores));
    const before = reads;
    for (let i = 0; i < 3; i++) expect((await health('/health/table')).status).toBe(200);
    expect(reads - before).toBe(1);
  });
});

describe('a gateway that starts', () => {
  it('fails if the table cannot be reached, and lets go of its ports', async () => {
    const { stores, table } = cuttable();
    table.isCut = true;
    const port = await freePort();
    await expect(start(memoryBroker(stores), { port })).rejects.toThrow(EventLogError);
    table.isCut = false;
    expect((await start(memoryBroker(stores), { port })).gateway.port).toBe(port);
  });

  it('names the variable of a port that is taken', async () => {
    const { port, healthPort } = (await start()).gateway;
    await expect(start(undefined, { port })).rejects.toThrow(
      /TAILRACE_KAFKA_PORT names cannot be used: listen EADDRINUSE/,
    );
    await expect(start(undefined, { healthPort })).rejects.toThrow(/TAILRACE_KAFKA_HEALTH_PORT names .* EADDRINUSE/);
  });

  it('asks every caller for a key', async () => {
    const { gateway } = await start();
    const client = new KafkaConnection(connect(gateway.port, '127.0.0.1'));
    const answer = await client.send(SASL_HANDSHAKE, 1, { mechanism: 'none' });
    expect(answer).toMatchObject({ mechanisms: ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN'] });
    client.cut();
  });

  it('advertises what it is told, or the address of its task on ECS', async () => {
    const described = { Networks: [{ NetworkMode: 'awsvpc', IPv4Addresses: ['10.0.2.106'] }] };
    const ecs = createServer((_, response) => response.end(JSON.stringify(described)));
    await new Promise<void>((resolve) => ecs.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(ecs.address() as AddressInfo).port}/v4/x`;
    try {
      const own = await start(undefined, { advertisedHost: undefined }, url);
      expect(own.lines.at(-1)).toMatchObject({ advertised: `10.0.2.106:${own.gateway.port}` });
      const told = await start(undefined, { advertisedHost: 'k.example', advertisedPort: 9_092 }, url);
      expect(told.lines.at(-1)).toMatchObject({ advertised: 'k.example:9092' });
      described.Networks = [];
      await expect(start(undefined, { advertisedHost: undefined }, url)).rejects.toThrow(/ECS did not tell/);
    } finally {
      ecs.close();
    }
    const lacking = start(undefined, { advertisedHost: undefined });
    await expect(lacking).rejects.toThrow(/lacks TAILRACE_KAFKA_ADVERTISED_HOST/);
  });
});

describe('a gateway that drains', () => {
  it('tells its traffic a last time, by API', async () => {
    const { gateway, lines } = await start();
    const client = new KafkaConnection(connect(gateway.port, '127.0.0.1'));
    await client.send(SASL_HANDSHAKE, 1, { mechanism: 'PLAIN' });
    client.cut();
    running.splice(0);
    expect(await gateway.drain(new AbortController().signal)).toBe(true);
    const told = lines.find(({ message }) => message.startsWith('Traffic'));
    expect(told).toMatchObject({
      table: 't',
      KafkaRequests: 1,
      KafkaErrors: 0,
      connectionsAccepted: 1,
      apis: { SaslHandshake: { requests: 1, errors: 0 } },
    });
    expect(Number(told?.KafkaBytesIn)).toBeGreaterThan(10);
    expect(Number(told?.KafkaBytesOut)).toBeGreaterThan(10);
    expect(lines.at(-1)).toMatchObject({ level: 'INFO', isClean: true });
  });
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
