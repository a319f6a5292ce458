import { performance } from 'node:perf_hooks';
import type { ObservedRequest } from '../../shared/kafka/gateway.ts';
import type { Traffic } from '../../shared/kafka/listen.ts';
import type { Clock } from '../../shared/storage/ports.ts';
import type { logLine } from '../lambda/log-line.ts';
import { embedded, type Metric } from '../lambda/metrics.ts';

/** The period of CloudWatch's own metrics of containers. */
const PERIOD_MS = 60_000;

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

export interface TrafficSources {
  traffic(): Traffic;
  isTableReached(): Promise<boolean>;
}

const NONE: Traffic = { connections: 0, accepted: 0, bytesRead: 0, bytesWritten: 0 };

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
  stop(traffic: Traffic): void {
    this.#stopped.abort();
    this.#tell(traffic);
  }

  #tell(traffic: Traffic, isTableReached = true): void {
    const before = this.#told;
    const apis = this.#apis;
    this.#told = traffic;
    const utilization = performance.eventLoopUtilization();
    const { utilization: share } = performance.eventLoopUtilization(utilization, this.#utilization);
    this.#utilization = utilization;
    this.#apis = new Map();
    const counts = [...apis.values()];
    const sum = (of: (each: ApiCounts) => number): number => counts.reduce((total, each) => total + of(each), 0);
    this.#log('INFO', "Traffic of Kafka's clients.", {
      table: this.#tableName,
      KafkaConnections: traffic.connections,
      KafkaRequests: sum(({ requests }) => requests),
      KafkaErrors: sum(({ errors }) => errors),
      KafkaBytesIn: traffic.bytesRead - before.bytesRead,
      KafkaBytesOut: traffic.bytesWritten - before.bytesWritten,
      KafkaTableUnreached: isTableReached ? 0 : 1,
      connectionsAccepted: traffic.accepted - before.accepted,
      apis: Object.fromEntries([...apis].map(([api, each]) => [api, told(each)])),
      residentBytes: process.memoryUsage().rss,
      eventLoopUtilization: Number(share.toFixed(3)),
      ...embedded(['table'], METRICS),
    });
  }
}

function told({ requests, errors, totalMs, maxMs }: ApiCounts): object {
  return { requests, errors, averageMs: Math.round(totalMs / requests), maxMs };
}
