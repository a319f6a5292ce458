/**
 * What takes a minute to install is installed once per user, and shared by all checkouts:
 *
 *     <root>/<name>-<key>/            a whole installation; the key is a hash of the recipe
 *     <root>/<name>-<key>.<token>/    one being made; renamed to the above when it is whole
 *     <root>/<name>-<key>.lock        the token of the process that is at it, touched while that process lives
 *
 * The rename decides: whoever comes first has made the installation, and a folder without a token is whole. So the lock
 * only spares work. When it fails (a laptop that slept with an installer running), the same thing is made twice, and the
 * second is thrown away. Everything below the root may be deleted at any time that nothing runs from it.
 */
import { createHash, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HEARTBEAT_MS = 2_000;
const STALE_MS = 15_000;
const POLL_MS = 200;

export interface Installation {
  /** With the version of what is installed: `localstack-2026.3.0`. */
  readonly name: string;
  /** The files that decide what is installed. A change in one of them makes another installation. */
  readonly recipe: readonly URL[];
  /** Fills the empty folder, which is renamed later: nothing in it may depend on its own path. */
  readonly install: (folder: string) => Promise<void>;
  /** Whether a whole installation can still be used: the Python it was made with may be gone. */
  readonly isUsable?: (folder: string) => boolean;
}

export interface CacheOptions {
  readonly root?: string;
  readonly heartbeatMs?: number;
  /** A lock that nobody touched for so long belongs to a process that died. */
  readonly staleMs?: number;
}

/** `$TAILRACE_CACHE`, else `$XDG_CACHE_HOME/tailrace`, else `~/.cache/tailrace`. An empty variable counts as none. */
export function cacheRoot(environment: NodeJS.ProcessEnv = process.env): string {
  if (environment.TAILRACE_CACHE) return environment.TAILRACE_CACHE;
  return join(environment.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tailrace');
}

/**
 * Resolves with the folder of the installation, which is made if it isn't there. Several processes may ask at once: one
 * makes it, the others wait. Rejects with what `install` rejected with, and then leaves nothing behind.
 */
export async function installOnce(installation: Installation, options: CacheOptions = {}): Promise<string> {
  const root = options.root ?? cacheRoot();
  const folder = join(root, `${installation.name}-${await recipeKey(installation.recipe)}`);
  const isWhole = () => existsSync(folder) && (installation.isUsable?.(folder) ?? true);
  if (isWhole()) return folder;
  await mkdir(root, { recursive: true });
  const token = randomUUID();
  const lock = `${folder}.lock`;
  while (!(await takeLock(folder, token, options.staleMs ?? STALE_MS))) {
    await sleep(POLL_MS);
    if (isWhole()) return folder;
  }
  const touch = () => {
    const now = new Date();
    utimes(lock, now, now).catch(() => undefined);
  };
  const heartbeat = setInterval(touch, options.heartbeatMs ?? HEARTBEAT_MS);
  const unfinished = `${folder}.${token}`;
  try {
    if (isWhole()) return folder;
    await rm(folder, { recursive: true, force: true });
    await mkdir(unfinished);
    await installation.install(unfinished);
    await rename(unfinished, folder).catch((error: unknown) => {
      if (!isWhole()) throw error;
    });
    return folder;
  } finally {
    clearInterval(heartbeat);
    await rm(unfinished, { recursive: true, force: true });
    if ((await readLock(lock)) === token) await rm(lock, { force: true });
  }
}

async function recipeKey(recipe: readonly URL[]): Promise<string> {
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`);
  for (const file of recipe) {
    const content = await readFile(file);
    hash.update(`\n${content.byteLength}\n`).update(content);
  }
  return hash.digest('hex').slice(0, 12);
}

async function takeLock(folder: string, token: string, staleMs: number): Promise<boolean> {
  const lock = `${folder}.lock`;
  if (await createLock(lock, token)) return true;
  if (!(await isStale(lock, staleMs))) return false;
  // Of several that find it stale, one gets to rename it.
  const dead = `${lock}.${token}`;
  try {
    await rename(lock, dead);
  } catch {
    return false;
  }
  // Between our look and our rename another may have replaced it by a living one, whose folder must stay.
  if (await isStale(dead, staleMs)) {
    const deadToken = await readLock(dead);
    if (deadToken) await rm(`${folder}.${deadToken}`, { recursive: true, force: true });
  }
  await rm(dead, { force: true });
  return createLock(lock, token);
}

async function createLock(lock: string, token: string): Promise<boolean> {
  try {
    await writeFile(lock, token, { flag: 'wx' });
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function isStale(lock: string, staleMs: number): Promise<boolean> {
  const found = await stat(lock).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > staleMs;
}

function readLock(lock: string): Promise<string | undefined> {
  return readFile(lock, 'utf8').catch(() => undefined);
}
