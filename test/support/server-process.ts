import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

const SERVER = fileURLToPath(new URL('../support/server.ts', import.meta.url));

/** A server in a separate process, for tests that interrupt it. It ends with this process. */
export interface ServerProcess {
  readonly url: string;
  readonly pid: number;
  /** Sends a signal that ends it, SIGKILL by default; resolves when it has ended. */
  end(signal?: NodeJS.Signals): Promise<void>;
  /**
   * Sends SIGSTOP, then SIGCONT after this time; then resolves. A separate process sends both: a stopped server cannot
   * notice the end of its parent, and must never remain stopped.
   */
  pause(ms: number): Promise<void>;
}

export interface ServerOptions {
  /** A command that runs the one after it. */
  readonly prefix?: readonly string[] | undefined;
  /** Variables in addition to this process's own. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Starts the embedded server on a data folder. @throws Error if the process ends instead */
export function startServer(folder: string, options?: ServerOptions): Promise<ServerProcess> {
  return startScript(SERVER, [folder], options);
}

/**
 * Runs a script that prints the URL of its server on the first line, and ends when its standard input ends. Resolves after
 * the URL is printed. @throws Error if the process ends instead
 */
export async function startScript(
  path: string,
  parameters: readonly string[],
  { prefix = [], environment = {} }: ServerOptions = {},
): Promise<ServerProcess> {
  const [command = '', ...rest] = [...prefix, process.execPath, path, ...parameters];
  const child = spawn(command, rest, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...environment } });
  const ended = once(child, 'exit');
  const line = once(createInterface({ input: child.stdout as Readable }), 'line');
  const [url] = (await Promise.race([line, ended])) as [unknown];
  if (typeof url !== 'string') throw new Error(`${path} ended with ${url ?? child.signalCode} before it answered.`);
  return {
    url,
    pid: child.pid as number,
    end: async (signal = 'SIGKILL') => {
      child.kill(signal);
      await ended;
    },
    pause: (ms) => stopFor(child, ms),
  };
}

async function stopFor(child: ChildProcess, ms: number): Promise<void> {
  const script = 'kill -STOP "$0" && sleep "$1"; kill -CONT "$0"';
  const stopper = spawn('sh', ['-c', script, String(child.pid), String(ms / 1_000)], { stdio: 'ignore' });
  await once(stopper, 'exit');
}
