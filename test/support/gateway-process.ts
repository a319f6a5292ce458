import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** The Kafka gateway as its container runs it: a process of its own, from the bundle. */
export interface GatewayProcess {
  readonly port: number;
  readonly healthUrl: string;
  /** The lines of its log so far, parsed. */
  readonly lines: readonly LogLine[];
  signal(name: 'SIGTERM' | 'SIGKILL'): void;
  /** Resolves to the code with which it ended. */
  readonly ended: Promise<number | null>;
}

export type LogLine = Readonly<Record<string, unknown>> & { readonly message: string };

/** Resolves when it serves. @throws Error with what it said, if it ends instead */
export async function startGatewayProcess(
  bundle: string,
  environment: Readonly<Record<string, string>>,
): Promise<GatewayProcess> {
  const child = spawn(process.execPath, [bundle], { env: { ...environment }, stdio: ['ignore', 'pipe', 'pipe'] });
  const lines: LogLine[] = [];
  const errors: string[] = [];
  child.stderr.on('data', (chunk: Buffer) => errors.push(String(chunk)));
  const ended = exitOf(child);
  const { promise, resolve, reject } = Promise.withResolvers<LogLine>();
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as LogLine;
    lines.push(line);
    if (line.message === 'The gateway serves.') resolve(line);
  });
  void ended.then((code) => reject(new Error(`It ended with ${code}: ${JSON.stringify(lines)} ${errors.join('')}`)));
  const { port, healthPort } = await promise;
  return {
    port: Number(port),
    healthUrl: `http://127.0.0.1:${healthPort}/health`,
    lines,
    signal: (name) => child.kill(name),
    ended,
  };
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  const [code] = await once(child, 'close');
  return code as number | null;
}
