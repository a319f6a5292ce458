import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const KEEPER = fileURLToPath(new URL('./keeper.ts', import.meta.url));
const HOST = '127.0.0.1';
/** Below those of outgoing connections: 32,768 and up on Linux, 49,152 and up elsewhere. */
const PORTS = [20_000, 32_000] as const;
const PORT_ATTEMPTS = 100;
const POLL_MS = 50;
const HEALTH_TIMEOUT_MS = 2_000;
const STOP_WAIT_MS = 10_000;
/** For what the emulator wrote before its end. */
const READ_WAIT_MS = 1_000;
const LAST_LINES = 40;

/** What of the caller's environment an emulator sees: nothing that could lead it, or a function in it, to a real account. */
const INHERITED = ['PATH', 'LANG', 'LC_ALL', 'TZ'];

export interface EmulatorOptions {
  /** A free one if none is given. */
  readonly port?: number;
  /** Gets each line that the emulator writes. */
  readonly log?: (line: string) => void;
  /** How long it may take to answer. */
  readonly readyMs?: number;
}

export interface EmulatorSettings {
  readonly port: number;
  /** Of this run alone; removed when it ends. */
  readonly folder: string;
}

export interface EmulatorCommand {
  readonly command: string;
  readonly parameters: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface Emulator {
  /** `http://127.0.0.1:<port>`. */
  readonly endpoint: string;
  /** What the AWS SDKs, the AWS CLI and the CDK need to find it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Of this run alone; removed when it ends. */
  readonly folder: string;
  /** Resolves when it has ended, by `stop` or by itself. */
  readonly ended: Promise<void>;
  /** Ends every process and removes the folder. May be called again; every call waits for the end. */
  stop(): Promise<void>;
}

export interface KeptServer {
  /** On 127.0.0.1. */
  readonly port: number;
  /** Of this run alone; removed when it ends. */
  readonly folder: string;
  /** Resolves when it has ended, by `stop` or by itself. */
  readonly ended: Promise<void>;
  /** Asks it to end in order, and waits until it has. */
  finish(): Promise<void>;
  /** Ends every process and removes the folder. May be called again; every call waits for the end. */
  stop(): Promise<void>;
}

/** Starts an emulator of AWS and waits until it answers. See `startKeptServer` for what it promises. */
export async function startEmulator(
  name: string,
  prepare: (settings: EmulatorSettings) => EmulatorCommand | Promise<EmulatorCommand>,
  options: EmulatorOptions = {},
): Promise<Emulator> {
  const { port, folder, ended, stop } = await startKeptServer(name, prepare, isHealthy, options);
  const endpoint = `http://${HOST}:${port}`;
  return { folder, ended, stop, endpoint, environment: clientEnvironment(endpoint) };
}

/**
 * Starts a server and waits until it is ready. Rejects with its last lines when it ends or isn't ready in time; nothing of
 * it is left then, nor after `stop`, nor after the end of this process, however it ends.
 */
export async function startKeptServer(
  name: string,
  prepare: (settings: EmulatorSettings) => EmulatorCommand | Promise<EmulatorCommand>,
  isReady: (port: number) => Promise<boolean>,
  options: EmulatorOptions = {},
): Promise<KeptServer> {
  const reserved = await (options.port ? reserveWanted(options.port) : reservePorts(1));
  const [port = 0] = reserved.ports;
  const folder = await mkdtemp(join(tmpdir(), `tailrace-${name}-`));
  const command = await prepared(folder, () => prepare({ port, folder })).finally(() => reserved.release());
  const run = await launch(folder, command, options.log);
  try {
    await untilReady(() => isReady(port), run, options.readyMs ?? 60_000);
  } catch (error) {
    await run.stop();
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${name} did not start on ${HOST}:${port}: ${reason}\n${run.lastLines.join('\n')}`, {
      cause: error,
    });
  }
  return { port, folder, ended: run.ended, finish: run.finish, stop: run.stop };
}

/** Settings under which nobody's real account is reached. */
function clientEnvironment(endpoint: string): Record<string, string> {
  return {
    AWS_ENDPOINT_URL: endpoint,
    // The CDK's asset publisher asks for this one.
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: 'us-east-1',
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  };
}

/** Ports of the loopback that nobody else can take until `release`. */
export interface ReservedPorts {
  readonly ports: readonly number[];
  /** To be called when whoever listens on them is about to start. May be called again. */
  release(): Promise<void>;
}

/**
 * Holds so many ports, all different. After `release` only chance protects them, so they are outside of the range from which
 * systems give ports to outgoing connections. Rejects when no ports are free.
 */
export async function reservePorts(count: number): Promise<ReservedPorts> {
  const held: Server[] = [];
  for (let failures = 0; held.length < count; ) {
    const server = await hold(randomInt(...PORTS)).catch((error: unknown) => {
      if (++failures === PORT_ATTEMPTS) throw error;
    });
    if (server !== undefined) held.push(server);
  }
  return portsOf(held);
}

/** Without this look another emulator on the port would answer for ours. */
async function reserveWanted(port: number): Promise<ReservedPorts> {
  return portsOf([await hold(port)]);
}

async function hold(port: number): Promise<Server> {
  const server = createServer();
  server.listen({ port, host: HOST, exclusive: true });
  await once(server, 'listening');
  // Whoever fails before the release still ends.
  server.unref();
  return server;
}

function portsOf(held: readonly Server[]): ReservedPorts {
  const close = async (server: Server): Promise<void> => {
    server.close();
    await once(server, 'close');
  };
  let released: Promise<unknown> | undefined;
  return {
    ports: held.map((server) => (server.address() as AddressInfo).port),
    async release() {
      released ??= Promise.all(held.map(close));
      await released;
    },
  };
}

async function prepared(folder: string, prepare: () => EmulatorCommand | Promise<EmulatorCommand>) {
  try {
    return await prepare();
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Run {
  readonly keeper: ChildProcess;
  readonly lastLines: string[];
  readonly ended: Promise<void>;
  readonly finish: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

async function launch(folder: string, command: EmulatorCommand, log?: (line: string) => void): Promise<Run> {
  const keeper = spawn(process.execPath, [KEEPER, folder, command.command, ...command.parameters], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: { ...inheritedEnvironment(), ...command.environment },
  });
  const lastLines: string[] = [];
  const allRead = [keeper.stdout as Readable, keeper.stderr as Readable].map((input) => {
    const lines = createInterface({ input }).on('line', (line) => {
      lastLines.push(line);
      if (lastLines.length > LAST_LINES) lastLines.shift();
      log?.(line);
    });
    return once(lines, 'close');
  });
  let group: number | undefined;
  keeper.on('message', (message: { processGroup: number }) => {
    group = message.processGroup;
  });
  const ended = once(keeper, 'exit').then(async ([code]) => {
    if (code !== 0) {
      // Somebody killed the keeper: its work falls to us.
      if (group !== undefined) signalGroup(group, 'SIGKILL');
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    }
    // Not the keeper's `close`: that never comes to those who closed its channel.
    await Promise.race([Promise.all(allRead), sleep(READ_WAIT_MS, undefined, { ref: false })]);
  });
  // For those who never ask.
  ended.catch(() => undefined);
  await Promise.race([once(keeper, 'message'), ended]);
  const stop = async (): Promise<void> => {
    if (keeper.connected) keeper.disconnect();
    const late = sleep(STOP_WAIT_MS, undefined, { ref: false }).then(() => keeper.kill('SIGKILL'));
    await Promise.race([ended, late]);
    await ended;
  };
  const finish = async (): Promise<void> => {
    if (group !== undefined) signalGroup(group, 'SIGTERM');
    await ended;
  };
  return { keeper, lastLines, ended, finish, stop };
}

function signalGroup(group: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-group, signal);
  } catch {
    // It has ended.
  }
}

function inheritedEnvironment(): Record<string, string> {
  const values = INHERITED.map((name) => [name, process.env[name]]).filter(([, value]) => value !== undefined);
  const environment: Record<string, string> = Object.fromEntries(values);
  // `node` is the Node that runs the tests, so functions run on it.
  environment.PATH = `${dirname(process.execPath)}${delimiter}${environment.PATH ?? ''}`;
  return environment;
}

async function untilReady(isReady: () => Promise<boolean>, { keeper }: Run, readyMs: number): Promise<void> {
  const deadline = Date.now() + readyMs;
  for (;;) {
    if (keeper.exitCode !== null || keeper.signalCode !== null) throw new Error('it ended by itself');
    if (await isReady()) return;
    if (Date.now() > deadline) throw new Error(`it did not answer within ${readyMs} ms`);
    await sleep(POLL_MS);
  }
}

async function isHealthy(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://${HOST}:${port}/_localstack/health`, {
      signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS),
    });
    await response.arrayBuffer();
    return response.ok;
  } catch {
    return false;
  }
}
