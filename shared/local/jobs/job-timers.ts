import type { Clock } from '../../storage/ports.ts';

/** A job that runs again and again while the process lives. */
export interface TimedJob {
  readonly name: string;
  /** The time between the end of a run and the beginning of the next. */
  readonly everyMs: number;
  /** Begins nothing more once the signal is aborted. Resolves to what was done, also if some of it failed. */
  readonly run: (options: { readonly signal: AbortSignal }) => Promise<TimedRun>;
}

export interface TimedRun {
  /** What could not be done; the next run tries it again. */
  readonly blocked: number;
  /** The first error of that. */
  readonly error: Error | undefined;
}

export interface JobStatus {
  readonly name: string;
  readonly runs: number;
  /** The runs that failed, or in which something was blocked. */
  readonly failures: number;
  /** What was blocked in the last run. */
  readonly blocked: number;
  /** When a run last ended in which nothing failed. */
  readonly lastSuccessMs: number | undefined;
}

export interface JobTimersOptions {
  readonly jobs: readonly TimedJob[];
  readonly clock: Clock;
  /** Called with the error of each run that failed. The job goes on with its next run. */
  readonly onError: (job: string, error: unknown) => void;
}

/** A run is asked to stop after this long. The next one goes on with what is left. */
export const RUN_MS_MAX = 60_000;

/** Runs jobs by timers: each again and again, never twice at once, and each independently of the others. */
export class JobTimers {
  readonly #options: JobTimersOptions;
  readonly #stopping = new AbortController();
  readonly #statuses = new Map<string, JobStatus>();
  #loops: Promise<unknown> = Promise.resolve();

  constructor(options: JobTimersOptions) {
    this.#options = options;
    for (const { name } of options.jobs)
      this.#statuses.set(name, { name, runs: 0, failures: 0, blocked: 0, lastSuccessMs: undefined });
  }

  start(): void {
    this.#loops = Promise.all(this.#options.jobs.map((job) => this.#loop(job)));
  }

  /** Asks the runs under way to stop, and begins no other. Resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#loops;
  }

  statuses(): JobStatus[] {
    return [...this.#statuses.values()];
  }

  async #loop(job: TimedJob): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    for (;;) {
      await clock.sleep(job.everyMs, signal);
      if (signal.aborted) return;
      await this.#run(job);
    }
  }

  async #run(job: TimedJob): Promise<void> {
    const { clock, onError } = this.#options;
    const run = new AbortController();
    const stop = (): void => run.abort();
    this.#stopping.signal.addEventListener('abort', stop);
    const ended = new AbortController();
    void clock.sleep(RUN_MS_MAX, ended.signal).then(stop);
    let done: TimedRun;
    try {
      done = await job.run({ signal: run.signal });
    } catch (error) {
      done = { blocked: 0, error: error instanceof Error ? error : new Error(String(error)) };
    } finally {
      ended.abort();
      this.#stopping.signal.removeEventListener('abort', stop);
    }
    const was = this.#statuses.get(job.name) as JobStatus;
    const failed = done.error !== undefined;
    this.#statuses.set(job.name, {
      name: job.name,
      runs: was.runs + 1,
      failures: was.failures + (failed ? 1 : 0),
      blocked: done.blocked,
      lastSuccessMs: failed ? was.lastSuccessMs : clock.nowMs(),
    });
    // What fails because the storage closes is found again by the next process.
    if (failed && !this.#stopping.signal.aborted) onError(job.name, done.error);
  }
}
