/**
 * Stands between a test run and an emulator, so that nothing stays behind however the run ends: Ctrl-C, a failed
 * assertion, SIGKILL. It has a session of its own, which no signal from a terminal reaches, and the emulator with all its
 * processes is one process group. When the channel to the run closes, or the emulator ends by itself, it kills that
 * group, removes the folder of the run, and ends.
 *
 *     node keeper.ts <folder> <command> [parameter...]
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

const KILL_WAIT_MS = 2_000;
const POLL_MS = 20;

const [folder, command, ...parameters] = process.argv.slice(2);
if (folder === undefined || command === undefined) throw new Error('keeper.ts needs a folder and a command');

// In its own folder, since Python looks for modules where it is started.
const emulator = spawn(command, parameters, {
  cwd: folder,
  detached: true,
  stdio: ['ignore', 'inherit', 'inherit'],
});
let ending = false;

function killGroup(group: number): void {
  try {
    process.kill(-group, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

/**
 * Whether a process of the group still runs. Those that are dead, but not buried by the first process of a container, count
 * for the kernel as members; only Linux tells, and elsewhere the first process does its duty.
 */
function isRunning(group: number): boolean {
  if (process.platform !== 'linux') {
    try {
      return process.kill(-group, 0);
    } catch {
      return false;
    }
  }
  return readdirSync('/proc').some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    const [state, , memberOf] = processStatus(pid);
    return Number(memberOf) === group && state !== 'Z' && state !== 'X';
  });
}

/** State, parent, process group, and more. */
function processStatus(pid: string): string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/** Nothing is told to end in peace: it has no state that anyone will read. */
async function end(group: number | undefined): Promise<void> {
  if (ending) return;
  ending = true;
  const deadline = Date.now() + KILL_WAIT_MS;
  while (group !== undefined && isRunning(group) && Date.now() < deadline) {
    killGroup(group);
    await sleep(POLL_MS);
  }
  await rm(folder as string, { recursive: true, force: true, maxRetries: 5 });
  process.exit();
}

// The other end of our output is gone when the run was killed.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => end(emulator.pid));
process.on('disconnect', () => end(emulator.pid));
emulator.on('error', (error) => {
  console.error(error.message);
  end(undefined);
});
emulator.on('exit', (code, signal) => {
  if (!ending) console.error(`The emulator ended by itself (${signal ?? code}).`);
  end(emulator.pid);
});
process.on('exit', () => {
  if (!ending && emulator.pid !== undefined) killGroup(emulator.pid);
});
// The run may be gone already.
if (emulator.pid !== undefined) process.send?.({ processGroup: emulator.pid }, () => undefined);
if (!process.connected) end(emulator.pid);
