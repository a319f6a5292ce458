import type { Broker } from '../../broker/broker.ts';
import { addCounts, noRequests, type RequestCounts } from '../../broker/usage/request-counts.ts';
import type { TrafficCounts } from '../../broker/usage/traffic.ts';
import { OTHER_TOPICS, type Purpose, type UsageRow } from '../../broker/usage/usage-meter.ts';
import type { ProcessMetrics } from '../handler.ts';
import type { MetricFamily, Sample } from './exposition.ts';

/**
 * Up to this many topics have their own samples, the first that were used; the others share one. So the number of samples
 * is bounded, and no counter ever goes back.
 */
export const TOPICS_SHOWN_MAX = 200;
/** The oldest ones. */
const HOLDERS_SHOWN_MAX = 20;

/** The counts of `RequestCounts` that are requests. */
const REQUESTS = {
  putObject: 'PutObject',
  getObject: 'GetObject',
  deleteObject: 'DeleteObject',
  listObjects: 'ListObjects',
  getItem: 'GetItem',
  putItem: 'PutItem',
  updateItem: 'UpdateItem',
  deleteItem: 'DeleteItem',
  query: 'Query',
} as const satisfies Partial<Record<keyof RequestCounts, string>>;

/** What this process has done since it started, and how it is. Nothing in it is secret but the names of topics and groups. */
export function metricFamilies(
  broker: Pick<Broker, 'usage' | 'traffic' | 'unmerged' | 'transactionTraffic'>,
  of: ProcessMetrics,
  version: string,
  nowMs: number,
): MetricFamily[] {
  return [
    gauge('tailrace_build_info', 'The version of Tailrace.', [{ labels: { version }, value: 1 }]),
    ...trafficFamilies(broker),
    ...storageFamilies(broker.usage()),
    ...jobFamilies(broker, of, nowMs),
    ...groupFamilies(of),
    ...transactionFamilies(broker, of, nowMs),
    gauge('process_start_time_seconds', 'When the process started, since 1970.', [{ value: of.startedAtMs / 1_000 }]),
    counter('process_cpu_seconds_total', 'Processor time of the process.', [{ value: of.cpuSeconds }]),
    gauge('process_resident_memory_bytes', 'Memory of the process.', [{ value: of.residentBytes }]),
    gauge('nodejs_heap_size_used_bytes', 'Memory of the objects of JavaScript.', [{ value: of.heapUsedBytes }]),
    gauge('nodejs_eventloop_utilization', 'The part of the time since the start in which the main thread was busy.', [
      { value: of.eventLoopUtilization },
    ]),
  ];
}

function trafficFamilies(broker: Pick<Broker, 'traffic'>): MetricFamily[] {
  const byTopic = new Map<string, TrafficCounts>();
  const rows = broker.traffic();
  const labelOf = topicLabels(rows);
  for (const { topic, counts } of rows) {
    const label = labelOf(topic);
    const sum = byTopic.get(label);
    if (sum === undefined) byTopic.set(label, { ...counts });
    else for (const name of Object.keys(sum) as (keyof TrafficCounts)[]) sum[name] += counts[name];
  }
  const samples = (name: keyof TrafficCounts): Sample[] =>
    [...byTopic].map(([topic, counts]) => ({ labels: { topic }, value: counts[name] }));
  return [
    counter('tailrace_commits_total', 'Commits of appends; one has the appends of a moment.', samples('commits')),
    counter('tailrace_appended_records_total', 'Records that were appended.', samples('recordsAppended')),
    counter(
      'tailrace_appended_bytes_total',
      'Bytes of the record batches that were appended.',
      samples('bytesAppended'),
    ),
    counter(
      'tailrace_read_records_total',
      'Records that were read, except those fetched by a plan.',
      samples('recordsRead'),
    ),
    counter('tailrace_read_bytes_total', 'Bytes of the record batches that were read.', samples('bytesRead')),
  ];
}

function storageFamilies(rows: readonly UsageRow[]): MetricFamily[] {
  const groups = new Map<string, { topic: string; purpose: Purpose; counts: RequestCounts }>();
  const labelOf = topicLabels(rows);
  for (const { topic, purpose, counts } of rows) {
    const label = labelOf(topic);
    const key = `${purpose} ${label}`;
    const group = groups.get(key) ?? { topic: label, purpose, counts: noRequests() };
    groups.set(key, group);
    addCounts(group.counts, counts);
  }
  const requests: Sample[] = [];
  const units: Sample[] = [];
  const bytes: Sample[] = [];
  for (const { topic, purpose, counts } of groups.values()) {
    for (const [name, request] of Object.entries(REQUESTS) as [keyof typeof REQUESTS, string][])
      if (counts[name] > 0) requests.push({ labels: { topic, purpose, request }, value: counts[name] });
    units.push({ labels: { topic, purpose, unit: 'read' }, value: counts.readUnits });
    units.push({ labels: { topic, purpose, unit: 'write' }, value: counts.writeUnits });
    bytes.push({ labels: { topic, purpose, direction: 'read' }, value: counts.bytesRead });
    bytes.push({ labels: { topic, purpose, direction: 'written' }, value: counts.bytesWritten });
  }
  return [
    counter(
      'tailrace_storage_requests_total',
      'Requests to the storage. A request that several topics share counts in parts.',
      requests,
    ),
    counter('tailrace_storage_units_total', 'Units that DynamoDB would bill for the requests to the table.', units),
    counter('tailrace_storage_bytes_total', 'Bytes of objects that were read and written.', bytes),
  ];
}

function jobFamilies(broker: Pick<Broker, 'unmerged'>, { jobs }: ProcessMetrics, nowMs: number): MetricFamily[] {
  const samples = (figureOf: (job: ProcessMetrics['jobs'][number]) => number | undefined): Sample[] =>
    jobs.flatMap((job) => {
      const value = figureOf(job);
      return value === undefined ? [] : [{ labels: { job: job.name }, value }];
    });
  const { heads, oldestMs } = broker.unmerged();
  return [
    counter(
      'tailrace_job_runs_total',
      'Runs of a job that have ended.',
      samples(({ runs }) => runs),
    ),
    counter(
      'tailrace_job_failures_total',
      'Runs of a job that failed, or in which something was blocked.',
      samples(({ failures }) => failures),
    ),
    gauge(
      'tailrace_job_blocked',
      'What the last run of a job could not do.',
      samples(({ blocked }) => blocked),
    ),
    gauge(
      'tailrace_job_last_success_timestamp_seconds',
      'When a run of a job last ended without a failure, since 1970.',
      samples(({ lastSuccessMs }) => lastSuccessMs && lastSuccessMs / 1_000),
    ),
    gauge('tailrace_unmerged_heads', 'Heads with tail nodes that this process has moved and not merged.', [
      { value: heads },
    ]),
    gauge('tailrace_unmerged_age_seconds', 'The age of the oldest record in them; 0 if there are none.', [
      { value: oldestMs === undefined ? 0 : Math.max(0, nowMs - oldestMs) / 1_000 },
    ]),
  ];
}

function groupFamilies({ groupLags }: ProcessMetrics): MetricFamily[] {
  const samples = (figureOf: (lag: ProcessMetrics['groupLags'][number]) => number): Sample[] =>
    groupLags.map((lag) => ({ labels: { group: lag.group }, value: figureOf(lag) }));
  return [
    gauge(
      'tailrace_group_lag_records',
      'Records that a consumer group has not read yet, where it has committed an offset.',
      samples(({ totalLagRecords }) => totalLagRecords),
    ),
    gauge(
      'tailrace_group_lag_seconds',
      'The age of the oldest record that a consumer group has to read next; 0 if there is none.',
      samples(({ maxLagMs }) => maxLagMs / 1_000),
    ),
    gauge(
      'tailrace_group_partitions_without_offset',
      'Partitions that a consumer group reads, and has never committed an offset for.',
      samples(({ partitionsWithoutOffset }) => partitionsWithoutOffset),
    ),
  ];
}

function transactionFamilies(
  broker: Pick<Broker, 'transactionTraffic'>,
  { transactions }: ProcessMetrics,
  nowMs: number,
): MetricFamily[] {
  const { opened, ended, readsHeldUp, holders } = broker.transactionTraffic();
  const swept = (figureOf: (figures: NonNullable<typeof transactions>) => number): Sample[] =>
    transactions === undefined ? [] : [{ value: figureOf(transactions) }];
  return [
    counter('tailrace_transactions_opened_total', 'Transactions that were opened.', [{ value: opened }]),
    counter(
      'tailrace_transactions_ended_total',
      'Transactions that were given their outcome: by their producer, by the next one, by an operator, or after their time.',
      ended.map(({ outcome, by, count }) => ({ labels: { outcome, by }, value: count })),
    ),
    counter(
      'tailrace_reads_held_up_total',
      'Looks of readers that ended at the last stable offset, as a transaction was open for a second or longer.',
      [{ value: readsHeldUp }],
    ),
    gauge(
      'tailrace_read_held_up_seconds',
      'How long the transaction of a producer has been open that held up a reader within the last minute.',
      holders.slice(0, HOLDERS_SHOWN_MAX).map(({ producerId, sinceMs }) => ({
        labels: { producer_id: String(producerId) },
        value: Math.max(0, nowMs - sinceMs) / 1_000,
      })),
    ),
    gauge(
      'tailrace_transactional_ids',
      'Transactional ids in use.',
      swept(({ transactionalIds }) => transactionalIds),
    ),
    gauge(
      'tailrace_transactions_open',
      'Transactions that are open or being ended.',
      swept(({ transactionsOpen }) => transactionsOpen),
    ),
    gauge(
      'tailrace_transactions_late',
      'Those that are open for longer than 20 minutes, which nobody could end.',
      swept(({ transactionsLate }) => transactionsLate),
    ),
    gauge(
      'tailrace_transactions_oldest_seconds',
      'How long the oldest of them has been open; 0 if there are none.',
      swept(({ oldestTransactionMs }) => oldestTransactionMs / 1_000),
    ),
  ];
}

/** The label of each topic: its name for the first ones, `OTHER_TOPICS` for the rest. */
function topicLabels(rows: readonly { readonly topic: string }[]): (topic: string) => string {
  const shown = new Set<string>();
  for (const { topic } of rows) if (shown.size < TOPICS_SHOWN_MAX) shown.add(topic);
  return (topic) => (shown.has(topic) ? topic : OTHER_TOPICS);
}

function counter(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, type: 'counter', help, samples };
}

function gauge(name: string, help: string, samples: readonly Sample[]): MetricFamily {
  return { name, type: 'gauge', help, samples };
}
