import { performance } from 'node:perf_hooks';
import type { Broker } from '../broker/broker.ts';
import type { MeasuredLag } from '../broker/groups/offsets/measure-lag.ts';
import type { ProcessMetrics, TransactionFigures } from '../http/handler.ts';
import type { JobStatus, TimedRun } from './jobs/job-timers.ts';

/** The first groups in the byte order of their ids. So the number of samples, and the work of a run, are bounded. */
export const GROUPS_MEASURED_MAX = 100;

/** The lag of consumer groups as it was last measured, so that whoever asks for it costs no request. */
export class KnownLags {
  #lags: readonly MeasuredLag[] = [];

  get lags(): readonly MeasuredLag[] {
    return this.#lags;
  }

  /** Lags that could not be measured now are forgotten: an old one would look as if nothing had changed. */
  async measure(
    broker: Pick<Broker, 'listGroups' | 'measureLag'>,
    { signal }: { readonly signal: AbortSignal },
  ): Promise<TimedRun> {
    let lags: readonly MeasuredLag[] = [];
    try {
      const { items } = await broker.listGroups({ limit: GROUPS_MEASURED_MAX });
      const run = await broker.measureLag({ groups: items.map(({ group }) => group), signal });
      lags = run.lags;
      return run;
    } finally {
      this.#lags = lags;
    }
  }
}

/** The transactions as the last sweep left them, so that whoever asks for them costs no request. */
export class KnownTransactions {
  #figures: TransactionFigures | undefined;
  /** Of the ids that a sweep which was stopped has visited: the next run goes on behind them. */
  #part = NO_TRANSACTIONS;

  get figures(): TransactionFigures | undefined {
    return this.#figures;
  }

  /** If a sweep fails, there are no figures: old ones would look as if nothing had changed. */
  async sweep(broker: Pick<Broker, 'sweepTransactions'>, options: { readonly signal: AbortSignal }): Promise<TimedRun> {
    let figures: TransactionFigures | undefined;
    let part = NO_TRANSACTIONS;
    try {
      const run = await broker.sweepTransactions(options);
      const sum = {
        transactionalIds: this.#part.transactionalIds + run.transactionalIds,
        transactionsOpen: this.#part.transactionsOpen + run.transactionsOpen,
        transactionsLate: this.#part.transactionsLate + run.transactionsLate,
        oldestTransactionMs: Math.max(this.#part.oldestTransactionMs, run.oldestTransactionMs),
      };
      figures = run.complete ? sum : this.#figures;
      if (!run.complete) part = sum;
      return run;
    } finally {
      this.#figures = figures;
      this.#part = part;
    }
  }
}

const NO_TRANSACTIONS: TransactionFigures = {
  transactionalIds: 0,
  transactionsOpen: 0,
  transactionsLate: 0,
  oldestTransactionMs: 0,
};

/** What jobs have found out, for `GET /metrics`. */
export interface Known {
  readonly lags: KnownLags;
  readonly transactions: KnownTransactions;
}

/** What this process tells of itself. */
export function processMetrics(jobs: readonly JobStatus[], { lags, transactions }: Known): ProcessMetrics {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    startedAtMs: performance.timeOrigin,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: rss,
    heapUsedBytes: heapUsed,
    eventLoopUtilization: performance.eventLoopUtilization().utilization,
    jobs,
    groupLags: lags.lags,
    transactions: transactions.figures,
  };
}
