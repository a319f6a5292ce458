import { performance } from 'node:perf_hooks';
import type { TransactionTraffic } from '../../shared/broker/transactions/admin/transaction-traffic.ts';
import type { ObservedRequest } from '../../shared/kafka/gateway.ts';
import type { Traffic } from '../../shared/kafka/listen.ts';
import type { Clock } from '../../shared/storage/ports.ts';
import type { logLine } from '../lambda/log-line.ts';
import { embedded, type Metric } from '../lambda/metrics.ts';

/** The period of CloudWatch's own metrics of containers. */
const PERIOD_MS = 60_000;
/** The oldest ones. */
const HOLDERS_TOLD_MAX = 20;

/**
 * A metric costs $0.30 a month for each combination of its dimensions, so the counts by API are in the line only.
 * All gateways of a log share the metrics: the average of `KafkaConnections` is for one gateway, and its sum is for all.
 */
const METRICS: readonly Metric[] = [
  { Name: 'KafkaConnections', Unit: 'Count' },
  { Name: 'KafkaRequests', Unit: 'Count' },
  { Name: 'KafkaErrors', Unit: 'Count' },
  { Name: 'KafkaBytesIn', Unit: 'Bytes' },
  { Name: 'KafkaBytesOut', Unit: 'Bytes' },
  { Name: 'KafkaTableUnreached', Unit: 'Count' },
];

/** Only where they are not 0, so that they cost nothing where nobody uses transactions. */
const TRANSACTION_METRICS = [
  'KafkaTransactionsCommitted',
  'KafkaTransactionsAborted',
  'KafkaTransactionsTimedOut',
  'KafkaReadsHeldUp',
] as const;
type TransactionCounts = Readonly<Record<(typeof TRANSACTION_METRICS)[number], number>>;

interface ApiCounts {
  requests: number;
  errors: number;
  totalMs: number;
  maxMs: number;
}

export interface TrafficLogComponents {
  readonly tableName: string;
  readonly clock: Clock;
  readonly log: typeof logLine;
}

/** What a gateway has done since it started. */
export interface GatewayTraffic extends Traffic {
  readonly transactions: TransactionTraffic;
}

export interface TrafficSources {
  traffic(): GatewayTraffic;
  isTableReached(): Promise<boolean>;
}

const NONE: GatewayTraffic = {
  ...{ connections: 0, accepted: 0, bytesRead: 0, bytesWritten: 0 },
  transactions: { opened: 0, ended: [], readsHeldUp: 0, holders: [] },
};

/** Counts requests, and writes a line each minute, which CloudWatch makes metrics of. Knows nothing of what is in requests. */
export class TrafficLog {
  readonly #tableName: string;
  readonly #clock: Clock;
  readonly #log: typeof logLine;
  readonly #stopped = new AbortController();
  #apis = new Map<string, ApiCounts>();
  #told = NONE;
  #utilization = performance.eventLoopUtilization();

  constructor({ tableName, clock, log }: TrafficLogComponents) {
    this.#tableName = tableName;
    this.#clock = clock;
    this.#log = log;
  }

  note({ api, ms, failed }: ObservedRequest): void {
    const counts = this.#apis.get(api) ?? { requests: 0, errors: 0, totalMs: 0, maxMs: 0 };
    this.#apis.set(api, counts);
    counts.requests++;
    counts.errors += failed ? 1 : 0;
    counts.totalMs += ms;
    counts.maxMs = Math.max(counts.maxMs, ms);
  }

  /** Writes a line each minute until `stop`. */
  async run({ traffic, isTableReached }: TrafficSources): Promise<void> {
    for (;;) {
      await this.#clock.sleep(PERIOD_MS, this.#stopped.signal);
      if (this.#stopped.signal.aborted) return;
      const isReached = await isTableReached();
      if (!this.#stopped.signal.aborted) this.#tell(traffic(), isReached);
    }
  }

  /** Writes the last line. */
  stop(traffic: GatewayTraffic): void {
    this.#stopped.abort();
    this.#tell(traffic);
  }

  #tell(traffic: GatewayTraffic, isTableReached = true): void {
    const before = this.#told;
    const apis = this.#apis;
    this.#told = traffic;
    const utilization = performance.eventLoopUtilization();
    const { utilization: share } = performance.eventLoopUtilization(utilization, this.#utilization);
    this.#utilization = utilization;
    this.#apis = new Map();
    const counts = [...apis.values()];
    const sum = (of: (each: ApiCounts) => number): number => counts.reduce((total, each) => total + of(each), 0);
    const ofTransactions = transactionCounts(traffic, before);
    const used = TRANSACTION_METRICS.filter((name) => ofTransactions[name] > 0);
    this.#log('INFO', "Traffic of Kafka's clients.", {
      table: this.#tableName,
      KafkaConnections: traffic.connections,
      KafkaRequests: sum(({ requests }) => requests),
      KafkaErrors: sum(({ errors }) => errors),
      KafkaBytesIn: traffic.bytesRead - before.bytesRead,
      KafkaBytesOut: traffic.bytesWritten - before.bytesWritten,
      KafkaTableUnreached: isTableReached ? 0 : 1,
      ...ofTransactions,
      heldUpBy: traffic.transactions.holders.slice(0, HOLDERS_TOLD_MAX).map(({ producerId }) => producerId),
      connectionsAccepted: traffic.accepted - before.accepted,
      apis: Object.fromEntries([...apis].map(([api, each]) => [api, told(each)])),
      residentBytes: process.memoryUsage().rss,
      eventLoopUtilization: Number(share.toFixed(3)),
      ...embedded(['table'], [...METRICS, ...used.map((Name) => ({ Name, Unit: 'Count' }) as const)]),
    });
  }
}

function transactionCounts(
  { transactions: now }: GatewayTraffic,
  { transactions: then }: GatewayTraffic,
): TransactionCounts {
  type Ended = TransactionTraffic['ended'][number];
  const since = (isCounted: (ended: Ended) => boolean): number => {
    const [after, before] = [now, then].map(({ ended }) =>
      ended.filter(isCounted).reduce((sum, { count }) => sum + count, 0),
    ) as [number, number];
    return after - before;
  };
  return {
    KafkaTransactionsCommitted: since(({ outcome }) => outcome === 'committed'),
    KafkaTransactionsAborted: since(({ outcome }) => outcome === 'aborted'),
    KafkaTransactionsTimedOut: since(({ by }) => by === 'timeout'),
    KafkaReadsHeldUp: now.readsHeldUp - then.readsHeldUp,
  };
}

function told({ requests, errors, totalMs, maxMs }: ApiCounts): object {
  return { requests, errors, averageMs: Math.round(totalMs / requests), maxMs };
}
