import { EventLogError } from '../../log/errors.ts';
import type { Clock, Random } from '../../storage/ports.ts';
import { asEventLogError, beforeAppend, inTime } from '../in-time.ts';
import type { LogApi } from '../log-api.ts';
import type { ProducerSettings } from './settings.ts';

/** What the lanes of a producer share. */
export interface LaneContext {
  readonly log: LogApi;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: ProducerSettings;
  /** Aborted when the producer gives up what is not settled. */
  readonly stop: AbortSignal;
  /** The producer's id. A new one if the id is `instead`. @throws EventLogError if it is not known by the deadline */
  producerId(deadlineMs: number, instead?: number): Promise<number>;
  /** Whether batches are sent without waiting for more records. */
  isUrgent(): boolean;
}

/** What a wait before a retry takes. */
export interface Backing extends Pick<LaneContext, 'clock' | 'random' | 'stop'> {
  readonly settings: Pick<ProducerSettings, 'retryBackoffMs' | 'retryBackoffMaxMs'>;
}

/** Waits before the attempt after so many failures in a row, at most until the deadline; longer if the log asks for it. */
export async function backOff(
  { clock, random, settings, stop }: Backing,
  error: EventLogError,
  failures: number,
  deadlineMs: number,
): Promise<void> {
  const { retryBackoffMs, retryBackoffMaxMs } = settings;
  const doubledMs = Math.min(retryBackoffMaxMs, retryBackoffMs * 2 ** Math.min(failures - 1, 30));
  const [chance = 0] = random.bytes(1);
  // Between half of it and all of it, so that producers which failed together do not come back together.
  const ownMs = Math.ceil((doubledMs * (256 + chance)) / 512);
  const askedMs = Number(error.details.retryAfterMs ?? 0) || 0;
  await clock.sleep(Math.max(0, Math.min(Math.max(ownMs, askedMs), deadlineMs - clock.nowMs())), stop);
}

/** Makes a request until it has a definite answer, at most until the deadline. @throws EventLogError the last error */
export async function untilAnswered<T>(
  context: LaneContext,
  deadlineMs: number,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { clock, settings, stop } = context;
  let last: EventLogError | undefined;
  for (let failures = 0; ; ) {
    const leftMs = deadlineMs - clock.nowMs();
    if (last !== undefined && leftMs <= 0) throw last;
    try {
      return await inTime(clock, Math.max(1, Math.min(settings.requestTimeoutMs, leftMs)), stop, run);
    } catch (thrown) {
      last = asEventLogError(thrown);
      if (last.retry !== 'as_is' || stop.aborted) throw last;
      failures++;
      await backOff(context, last, failures, deadlineMs);
    }
  }
}

/** Asks once for all lanes. An id that nobody could use is asked for again. */
export class ProducerIds {
  #asked: Promise<number> | undefined;

  async get(context: LaneContext, deadlineMs: number, instead: number | undefined): Promise<number> {
    const asked = this.#asked;
    if (asked !== undefined) {
      const known = await asked.catch(() => undefined);
      if (known !== undefined && known !== instead) return known;
      // Another lane may have asked for the next one meanwhile.
      if (this.#asked !== asked) return this.get(context, deadlineMs, instead);
    }
    const next = untilAnswered(context, deadlineMs, (signal) => context.log.allocateProducerId({ signal }));
    this.#asked = next;
    try {
      return await next;
    } catch (error) {
      throw beforeAppend(asEventLogError(error));
    }
  }
}

/** Why a record was not acknowledged in time. */
export function tooLate(last: EventLogError | undefined, wasInDoubt: boolean): EventLogError {
  const outcome = wasInDoubt ? 'unknown' : 'not_applied';
  const why = last === undefined ? '' : ` The last answer was: ${last.message}`;
  return new EventLogError(last?.code ?? 'storage_unavailable', `The delivery timeout is over.${why}`, {
    outcome,
    retry: wasInDoubt ? 'after_refresh' : 'as_is',
    ...(last === undefined ? {} : { details: last.details, cause: last }),
  });
}
