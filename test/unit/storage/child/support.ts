import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

/** A fresh path, removed after the test. */
export function temporaryPath(): string {
  const path = mkdtempSync(join(tmpdir(), 'tailrace-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

export function scriptPath(name: string): string {
  return fileURLToPath(new URL(`./${name}`, import.meta.url));
}

/** Starts one of the scripts beside this file; it is killed after the test at the latest. */
export function start(name: string, ...parameters: string[]): ChildProcessWithoutNullStreams {
  const child = spawn(process.execPath, [scriptPath(name), ...parameters]);
  child.stderr.resume();
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

export async function firstLine(child: ChildProcessWithoutNullStreams): Promise<string> {
  for await (const line of createInterface({ input: child.stdout })) return line;
  throw new Error('The script has printed nothing.');
}

export async function ended(child: ChildProcessWithoutNullStreams): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  await new Promise((resolve) => child.once('exit', resolve));
}

/** Why small and read-only disks can't be mounted here, or undefined where they can. */
export const mountingImpossible: string | undefined = (() => {
  const { status, stderr, error } = unshare('mount -t tmpfs none "$0"', tmpdir());
  if (status === 0) return undefined;
  return `unshare and mount are needed to make a disk for this test: ${error?.message ?? stderr.trim()}`;
})();

/** Runs a shell command in a mount namespace of its own; `parameters` are `$0`, `$1`, … */
export function unshare(command: string, ...parameters: string[]) {
  const all = ['--user', '--map-root-user', '--mount', 'sh', '-ec', command, ...parameters];
  return spawnSync('unshare', all, { encoding: 'utf8', timeout: 60_000 });
}

/** Names, modes and contents of everything below a folder, to see that nothing has changed. */
export function fingerprint(folder: string): Record<string, string> {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return Object.fromEntries(
    names.map((name) => {
      const path = join(folder, name);
      const { mode, size } = statSync(path);
      const isFile = statSync(path).isFile();
      const hash = isFile ? createHash('sha256').update(readFileSync(path)).digest('hex') : 'folder';
      return [name, `${mode.toString(8)} ${isFile ? size : ''} ${hash}`];
    }),
  );
}
