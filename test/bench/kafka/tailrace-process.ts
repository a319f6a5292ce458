import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { CompatServer } from '../../compat/server/server.ts';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: { start: string } };
/** What `npm start` gives to Node. */
const STARTED = scripts.start.split(' ').slice(1);

/** Starts what `npm start` runs, on free ports, in a folder that is gone afterwards. @throws Error if it ends instead */
export async function startTailraceProcess(): Promise<CompatServer & { readonly pid: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-bench-kafka-'));
  const child = spawn(process.execPath, [...STARTED, '--port', '0', '--kafka-port', '0', '--data', folder], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const stop = async (): Promise<void> => {
    child.kill();
    await ended;
    await rm(folder, { recursive: true, force: true });
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const bootstrap = /^ {2}Kafka\s+(\S+:\d+)$/.exec(line)?.[1];
    if (bootstrap === undefined) continue;
    child.stdout.resume();
    return { bootstrap, stop, pid: child.pid as number };
  }
  await stop();
  throw new Error('Tailrace ended before it listened.');
}
