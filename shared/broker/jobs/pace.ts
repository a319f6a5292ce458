import type { BrokerContext } from '../context.ts';

/** Work on a batch takes about as long as work on its bytes and so many more: a header is read, and hashes are computed. */
const BATCH_BYTES = 4 * 1024;

/**
 * Interrupts a job's work on bytes, so that the appends of the same process run meanwhile (`jobStepBytes` and `jobRestMs` of
 * the settings). Between two steps without a rest, the appends of one turn of the event loop run, and then wait again.
 */
export class Pace {
  readonly #context: Pick<BrokerContext, 'clock' | 'settings'>;
  readonly #signal: AbortSignal | undefined;
  #bytes = 0;

  /** Once the signal is aborted, the job no longer rests, since the process waits for its end. */
  constructor(context: Pick<BrokerContext, 'clock' | 'settings'>, signal?: AbortSignal) {
    this.#context = context;
    this.#signal = signal;
  }

  /** Notes the work on one batch. Returns whether `rest` is due. */
  worked(bytes: number): boolean {
    this.#bytes += bytes + BATCH_BYTES;
    return this.#bytes >= this.#context.settings.jobStepBytes;
  }

  /** Rests in proportion to the work since the last rest. Other work of the process runs at least once. */
  async rest(): Promise<void> {
    const { jobStepBytes, jobRestMs } = this.#context.settings;
    const steps = this.#bytes / jobStepBytes;
    this.#bytes = 0;
    await this.#context.clock.sleep(Math.round(steps * jobRestMs), this.#signal);
  }
}
