import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerProcess } from '../support/server-process.ts';

/** A place for files that can be made full, and given room again, while a server works in it. */
export interface SmallDisk {
  /** How it is done here, in a few words. */
  readonly way: string;
  /** What must stand before a command whose files are to be on the disk. */
  readonly prefix: readonly string[];
  /** How appends to the full disk end. */
  readonly refusals: readonly string[];
  /** Leaves no room until `free`. Must be called again for a server that is started meanwhile. */
  fill(server: ServerProcess): Promise<void>;
  free(server: ServerProcess): Promise<void>;
  close(): Promise<void>;
}

const DISK_MIB = 48;

/**
 * A disk of its own, mounted at `folder`; where that is not allowed (it takes Linux and user namespaces, but no root),
 * a limit on the size of files.
 */
export async function makeSmallDisk(folder: string): Promise<SmallDisk> {
  return (await mountDisk(folder)) ?? limitFiles();
}

/**
 * A tmpfs in a mount namespace of its own, which is gone when the last process in it ends, however it ends: a process
 * that holds the namespace until its standard input ends, and servers that are started in it.
 */
async function mountDisk(folder: string): Promise<SmallDisk | undefined> {
  const script = `mount -t tmpfs -o size=${DISK_MIB}m tailrace "$0" && echo mounted && exec cat`;
  const parameters = ['--user', '--map-root-user', '--mount', 'sh', '-c', script, folder];
  const holder = spawn('unshare', parameters, { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = once(holder, 'exit').catch(() => undefined);
  const mounted = once(createInterface({ input: holder.stdout as Readable }), 'line').then(() => holder);
  return (await Promise.race([mounted, ended])) === holder ? new MountedDisk(holder, ended, folder) : undefined;
}

const BLOCK = Buffer.alloc(64 * 1_024, 'ballast ');
const REFILL_MS = 10;

class MountedDisk implements SmallDisk {
  readonly way = `tmpfs of ${DISK_MIB} MiB`;
  readonly refusals = ['storage_full'];
  readonly prefix: readonly string[];
  private readonly holder: ChildProcess;
  private readonly ended: Promise<unknown>;
  /** The namespace's files as seen from outside of it. */
  private readonly ballast: string;
  private isFull = false;
  private filling: Promise<void> | undefined;

  constructor(holder: ChildProcess, ended: Promise<unknown>, folder: string) {
    this.holder = holder;
    this.ended = ended;
    this.prefix = ['nsenter', '--target', String(holder.pid), '--user', '--mount', '--preserve-credentials'];
    this.ballast = `/proc/${holder.pid}/root${join(folder, 'ballast')}`;
  }

  async fill(): Promise<void> {
    this.isFull = true;
    await this.takeAll();
    this.filling ??= this.keepFull();
  }

  async free(): Promise<void> {
    this.isFull = false;
    await this.filling;
    this.filling = undefined;
    await rm(this.ballast, { force: true });
  }

  async close(): Promise<void> {
    await this.free();
    this.holder.stdin?.end();
    await this.ended;
  }

  /** What the server gives up, as when it cuts a log back, is taken too. */
  private async keepFull(): Promise<void> {
    while (this.isFull) {
      await sleep(REFILL_MS);
      await this.takeAll();
    }
  }

  private async takeAll(): Promise<void> {
    const file = await open(this.ballast, 'a');
    try {
      for (;;) await file.write(BLOCK);
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    } finally {
      await file.close();
    }
  }
}

/** No file of the server may be written past its first page. Small files may still be made. */
function limitFiles(): SmallDisk {
  const limit = async (server: ServerProcess, bytes: number | 'unlimited'): Promise<void> => {
    const { status, stderr } = spawnSync('prlimit', [`--pid=${server.pid}`, `--fsize=${bytes}:`], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`A full disk takes a tmpfs of one's own, or else prlimit: ${stderr}`);
  };
  return {
    way: 'RLIMIT_FSIZE',
    prefix: [],
    // SQLite takes a write that is too large for a file to be one that failed; only of objects it is known why.
    refusals: ['storage_unavailable', 'storage_full'],
    fill: (server) => limit(server, 4_096),
    free: (server) => limit(server, 'unlimited'),
    close: async () => {},
  };
}
