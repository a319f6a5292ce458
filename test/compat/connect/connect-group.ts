import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { KeptServer } from '../../localstack/emulator.ts';
import type { World } from '../cases/world.ts';
import { startProgram } from '../server/start-program.ts';
import { until } from './until.ts';

const MAIN = 'org.apache.kafka.connect.cli.ConnectDistributed';
const READY_MS = 90_000;
const REQUEST_MS = 20_000;
const RUNNING_MS = 60_000;
const OFFSETS_MS = 20_000;
const CONFLICT_WAIT_MS = 200;
const CONFLICTS_MAX = 100;

/** The workers are in a rebalance: the request is to be sent again. */
const CONFLICT = 409;

export type Configs = Readonly<Record<string, string>>;

interface Task {
  readonly state: string;
  readonly worker_id: string;
}

interface Status {
  readonly connector: Task;
  readonly tasks: readonly (Task & { readonly id: number; readonly trace?: string })[];
}

export interface ConnectorOffset {
  readonly partition: Readonly<Record<string, unknown>>;
  readonly offset: Readonly<Record<string, unknown>> | null;
}

/** A worker of Kafka Connect in distributed mode. */
export interface Worker {
  /** As its group knows it: `127.0.0.1:<port>`. */
  readonly id: string;
  readonly server: KeptServer;
}

/** The workers of one group of Kafka Connect, on the server of a case, and what its REST interface is asked. */
export class ConnectGroup {
  readonly #world: World;
  readonly #id = `connect-${randomUUID()}`;
  readonly #workers = new Set<Worker>();
  readonly #isExactlyOnce: boolean;

  /** `isExactlyOnce`: its workers write what sources have read, and how far they have read, in transactions. */
  constructor(world: World, { isExactlyOnce = false } = {}) {
    this.#world = world;
    this.#isExactlyOnce = isExactlyOnce;
  }

  /** Starts a worker; resolves when it has joined the group and has read the group's topics. */
  async start(): Promise<Worker> {
    const server = await startProgram(
      {
        name: 'connect',
        command: this.#world.command,
        main: MAIN,
        properties: (port) => this.#properties(port),
        isReady: isHealthy,
      },
      { readyMs: READY_MS },
    );
    const worker = { id: `127.0.0.1:${server.port}`, server };
    this.#workers.add(worker);
    this.#world.atEnd(() => server.stop());
    return worker;
  }

  /** Kills the worker, as a crash does. */
  async kill(worker: Worker): Promise<void> {
    this.#workers.delete(worker);
    await worker.server.stop();
  }

  /** Asks the worker to end, so that it commits its offsets and leaves the group. */
  async finish(worker: Worker): Promise<void> {
    this.#workers.delete(worker);
    await worker.server.finish();
  }

  get workers(): readonly Worker[] {
    return [...this.#workers];
  }

  /** Makes a connector or changes it. */
  async configure(name: string, configs: Configs): Promise<void> {
    await this.#request('PUT', `/connectors/${name}/config`, configs);
  }

  async connectors(): Promise<readonly string[]> {
    return ((await this.#request('GET', '/connectors')) as string[]).sort();
  }

  async remove(name: string): Promise<void> {
    await this.#request('DELETE', `/connectors/${name}`);
  }

  /** Ends the tasks of a connector, and keeps its configs and offsets. */
  async stop(name: string): Promise<void> {
    await this.#request('PUT', `/connectors/${name}/stop`);
    await until(`the end of the tasks of ${name}`, RUNNING_MS, async () => {
      const { connector, tasks } = await this.#status(name);
      return connector.state === 'STOPPED' && tasks.length === 0;
    });
  }

  async resume(name: string): Promise<void> {
    await this.#request('PUT', `/connectors/${name}/resume`);
  }

  /** Waits until a connector has these offsets. Connect may show those of a moment ago. */
  async untilOffsets(name: string, wanted: readonly ConnectorOffset[]): Promise<void> {
    let found: unknown;
    await until(`offsets of ${name}`, OFFSETS_MS, async () => {
      found = ((await this.#request('GET', `/connectors/${name}/offsets`)) as { offsets: unknown }).offsets;
      return isDeepStrictEqual(found, wanted);
    }).catch((error: unknown) => {
      throw new Error(`${String(error)}: ${JSON.stringify(found)} in place of ${JSON.stringify(wanted)}`);
    });
  }

  async alterOffsets(name: string, offsets: readonly ConnectorOffset[]): Promise<void> {
    await this.#request('PATCH', `/connectors/${name}/offsets`, { offsets });
  }

  async resetOffsets(name: string): Promise<void> {
    await this.#request('DELETE', `/connectors/${name}/offsets`);
  }

  /** The worker that runs the only task of the connector. */
  async taskWorker(name: string): Promise<string | undefined> {
    return (await this.#status(name)).tasks[0]?.worker_id;
  }

  /** Waits until each connector and its only task run on workers that live. */
  async untilRunning(names: readonly string[]): Promise<void> {
    const isRunning = ({ state, worker_id: worker }: Task): boolean =>
      state === 'RUNNING' && this.workers.some(({ id }) => id === worker);
    for (const name of names) {
      await until(`that ${name} runs`, RUNNING_MS, async () => {
        const { connector, tasks } = await this.#status(name);
        const failed = tasks.find(({ state }) => state === 'FAILED');
        if (failed !== undefined) throw new Error(`Task ${failed.id} of ${name} failed: ${failed.trace}`);
        return isRunning(connector) && tasks.length === 1 && tasks.every(isRunning);
      });
    }
  }

  async #status(name: string): Promise<Status> {
    return (await this.#request('GET', `/connectors/${name}/status`)) as Status;
  }

  async #request(method: string, path: string, body?: unknown): Promise<unknown> {
    for (let conflicts = 0; ; conflicts++) {
      const [worker] = this.#workers;
      const response = await fetch(`http://${worker?.id}${path}`, {
        method,
        signal: AbortSignal.timeout(REQUEST_MS),
        ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
      });
      const text = await response.text();
      if (response.ok) return text === '' ? undefined : JSON.parse(text);
      // A connector that was just made has no status yet.
      const isEarly = response.status === 404 && method === 'GET';
      if ((response.status !== CONFLICT && !isEarly) || conflicts === CONFLICTS_MAX)
        throw new Error(`${method} ${path}: ${response.status} ${text}`);
      await sleep(CONFLICT_WAIT_MS);
    }
  }

  #properties(port: number): Configs {
    return {
      'bootstrap.servers': this.#world.server.bootstrap,
      'group.id': this.#id,
      listeners: `http://127.0.0.1:${port}`,
      'rest.advertised.host.name': '127.0.0.1',
      'key.converter': 'org.apache.kafka.connect.storage.StringConverter',
      'value.converter': 'org.apache.kafka.connect.json.JsonConverter',
      'value.converter.schemas.enable': 'true',
      'config.storage.topic': `${this.#id}-configs`,
      'offset.storage.topic': `${this.#id}-offsets`,
      'status.storage.topic': `${this.#id}-status`,
      // Kafka runs as one node here, and the default is 3.
      'config.storage.replication.factor': '1',
      'offset.storage.replication.factor': '1',
      'status.storage.replication.factor': '1',
      'offset.flush.interval.ms': '500',
      // So that a case does not wait for the defaults, of 10 s and of 5 min, when a worker is gone.
      'session.timeout.ms': '6000',
      'heartbeat.interval.ms': '1000',
      'scheduled.rebalance.max.delay.ms': '1000',
      'plugin.discovery': 'service_load',
      ...(this.#isExactlyOnce ? { 'exactly.once.source.support': 'enabled' } : {}),
    };
  }
}

async function isHealthy(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(REQUEST_MS) });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
