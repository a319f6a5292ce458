import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentEvent, Done, ReadRecord, Request } from './contract.ts';

const REQUEST_MS = 45_000;
const LEAVE_MS = 10_000;
const LAST_LINES = 20;

/** What an agent answered with `failed`. */
export class AgentError extends Error {
  readonly code: number | undefined;

  constructor(message: string, code: number | undefined) {
    super(message);
    this.name = 'AgentError';
    this.code = code;
  }
}

export interface Answer extends Done {
  readonly records: readonly ReadRecord[];
}

/** A process of an agent. It carries out one request at a time. */
export class Agent {
  readonly events: AgentEvent[] = [];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly #errors: string[] = [];
  #watchers: (() => void)[] = [];
  #hasEnded = false;

  constructor([command = '', ...parameters]: readonly string[]) {
    this.#child = spawn(command, parameters, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    this.#child.stdin?.on('error', () => undefined);
    this.#child.on('error', (error) => this.#errors.push(error.message));
    this.#ended = once(this.#child, 'close').catch(() => undefined);
    this.#ended.then(() => {
      this.#hasEnded = true;
      this.#wake();
    });
    createInterface({ input: this.#child.stdout as Readable }).on('line', (line) => {
      this.events.push(JSON.parse(line) as AgentEvent);
      this.#wake();
    });
    createInterface({ input: this.#child.stderr as Readable }).on('line', (line) => {
      this.#errors.push(line);
      if (this.#errors.length > LAST_LINES) this.#errors.shift();
    });
  }

  #wake(): void {
    const watchers = this.#watchers;
    this.#watchers = [];
    for (const watcher of watchers) watcher();
  }

  /** Begins a request; `until` tells how it goes on. */
  start(request: Request): void {
    this.events.length = 0;
    (this.#child.stdin as Writable).write(`${JSON.stringify(request)}\n`);
  }

  /** Carries a request out. Rejects with an `AgentError` when the client failed. */
  async ask(request: Request): Promise<Answer> {
    this.start(request);
    return this.finish();
  }

  /** Waits for the end of the request that was started. */
  async finish(): Promise<Answer> {
    await this.until('the end of the request', (events) => events.some(({ event }) => event === 'done'));
    const done = this.events.find((each) => each.event === 'done') as Done;
    return { ...done, records: this.records() };
  }

  /** The records told since the request began. */
  records(): ReadRecord[] {
    return this.events.filter((each) => each.event === 'record');
  }

  /** What this member of a group owned last. */
  owned(): readonly number[] {
    return this.events.findLast((each) => each.event === 'assigned')?.partitions ?? [];
  }

  /** Waits until what was told since the request began fulfils the condition. */
  async until(
    what: string,
    isThere: (events: readonly AgentEvent[]) => boolean,
    timeoutMs = REQUEST_MS,
  ): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!isThere(this.events)) {
      const failed = this.events.find((each) => each.event === 'failed');
      if (failed !== undefined) throw new AgentError(failed.message, failed.code ?? undefined);
      if (this.#hasEnded) throw new Error(`The agent ended before ${what}:\n${this.#errors.join('\n')}`);
      const leftMs = deadline - Date.now();
      if (leftMs <= 0) {
        this.kill();
        const told = `${this.records().length} records, owns ${this.owned().join() || 'nothing'}`;
        throw new Error(`No ${what} in ${timeoutMs} ms (${told}):\n${this.#errors.join('\n')}`);
      }
      const timer = sleep(leftMs, undefined, { ref: false });
      await Promise.race([timer, new Promise<void>((resolve) => this.#watchers.push(resolve))]);
    }
  }

  get isAlive(): boolean {
    return !this.#hasEnded && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Without a farewell, as a crash: with what it started, which is one process group. */
  kill(): void {
    if (this.#hasEnded || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }

  /** Closes the input, so that a member leaves its group, and waits for the end. */
  async leave(): Promise<void> {
    this.#child.stdin?.end();
    await Promise.race([this.#ended, sleep(LEAVE_MS, undefined, { ref: false })]);
    this.kill();
    await this.#ended;
  }
}
