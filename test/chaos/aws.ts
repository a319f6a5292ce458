import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Settings, toEnvironment } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { Chance } from '../simulation/world/chance.ts';
import { type AwsStores, makeAwsStores } from '../support/aws-stores.ts';
import { startScript } from '../support/server-process.ts';
import { BrokerLogClient } from './broker-client.ts';
import { DisturbedServer, performSteps } from './disturbed-server.ts';
import { FaultProxy } from './fault-proxy.ts';
import type { LogClient } from './log-client.ts';
import { type ChaosPlan, drawFault, PARTITIONS } from './plan.ts';
import { type ChaosSystem, TOPIC } from './run.ts';

/**
 * The log as functions have it, on S3 and DynamoDB as an emulator has them, with a proxy between that loses requests and
 * replies. Three brokers that share nothing but the emulator: two in this process, and one behind the HTTP API in a
 * process of its own, which is killed and stopped besides.
 */

const BROKERS_HERE = 2;
/** Short, so that in a run of seconds many requests time out, and appends of which it is not known whether they were made. */
const TIMEOUTS = { itemTimeoutMs: 400, objectTimeoutMs: 600, commitTimeoutMs: 800 } as const;
const STREAM_FAULTS = 5;
const SCRIPT = fileURLToPath(new URL('./function-process.ts', import.meta.url));

/** Takes a table, a bucket, a process, and this process's environment; `close` gives back all but the first two. */
export async function startAws(plan: ChaosPlan, emulator: Emulator): Promise<ChaosSystem> {
  const stores = await makeAwsStores(emulator.endpoint);
  const settings = { tableName: stores.name, bucketName: stores.name, ...TIMEOUTS };
  const proxy = await FaultProxy.start(emulator.endpoint);
  const { endpoint } = proxy;
  // Where a function finds them too.
  const restore = setEnvironment({
    ...emulator.environment,
    AWS_ENDPOINT_URL: endpoint,
    AWS_ENDPOINT_URL_S3: endpoint,
  });
  let server: DisturbedServer | undefined;
  try {
    const environment = toEnvironment(settings);
    server = await DisturbedServer.start(plan.seed, () => startScript(SCRIPT, [], { environment }));
    const system = new AwsSystem(plan, settings, stores, proxy, server, restore);
    await system.makeTopic();
    return system;
  } catch (error) {
    await server?.close();
    await proxy.close();
    stores.close();
    restore();
    throw error;
  }
}

/** Answers how to have it again as it was. */
function setEnvironment(variables: Readonly<Record<string, string>>): () => void {
  const before = Object.keys(variables).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, variables);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

class AwsSystem implements ChaosSystem {
  readonly ways: readonly LogClient[];
  private readonly plan: ChaosPlan;
  private readonly settings: Settings;
  private readonly stores: AwsStores;
  private readonly proxy: FaultProxy;
  private readonly server: DisturbedServer;
  private readonly restore: () => void;
  private readonly brokers: readonly Broker[];
  private readonly done = new Map<string, number>();

  constructor(
    plan: ChaosPlan,
    settings: Settings,
    stores: AwsStores,
    proxy: FaultProxy,
    server: DisturbedServer,
    restore: () => void,
  ) {
    this.plan = plan;
    this.settings = settings;
    this.stores = stores;
    this.proxy = proxy;
    this.server = server;
    this.restore = restore;
    this.brokers = Array.from({ length: BROKERS_HERE }, () => composeBroker(settings));
    this.ways = [...this.brokers.map((broker) => new BrokerLogClient(broker)), server.way];
  }

  get faults(): ReadonlyMap<string, number> {
    return new Map<string, number>([...this.done, ...this.proxy.faults]);
  }

  async makeTopic(): Promise<void> {
    await this.brokers[0]?.putTopic({ name: TOPIC, partitions: PARTITIONS });
  }

  async disturb(): Promise<void> {
    await Promise.all([this.disturbRequests(), this.disturbServer()]);
  }

  accountsFor(_f: unknown, error: string): boolean {
    return error === 'throttled' || error === 'storage_unavailable';
  }

  private async disturbRequests(): Promise<void> {
    const chance = new Chance(this.plan.seed, STREAM_FAULTS);
    for (const { waitMs, forMs, rates } of this.plan.phases) {
      await sleep(waitMs);
      this.proxy.decide = (request) => drawFault(rates, request, chance);
      await sleep(forMs);
      this.proxy.decide = undefined;
    }
  }

  private disturbServer(): Promise<void> {
    return performSteps(this.plan, this.done, (step) => this.server.perform(step));
  }

  async settle(): Promise<void> {
    // It may go on with what its clients have given up.
    await this.server.restart('SIGKILL');
    await this.proxy.idle();
    await Promise.all(this.brokers.map((broker) => broker.idle()));
  }

  async startAnew(): Promise<LogClient> {
    return new BrokerLogClient(composeBroker(this.settings));
  }

  findings(): string[] {
    return [];
  }

  async close(): Promise<void> {
    await this.server.close();
    await this.proxy.close();
    this.stores.close();
    this.restore();
  }
}
