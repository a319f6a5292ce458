import { expect, it } from 'vitest';
import { type GatewayTraffic, TrafficLog } from '../../../../functions/gateway/traffic-log.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

const NO_TRANSACTIONS = { opened: 0, ended: [], readsHeldUp: 0, holders: [] };

type Fields = Readonly<Record<string, unknown>>;

function started() {
  const clock = new SimulatedClock();
  const lines: Fields[] = [];
  const log = new TrafficLog({ tableName: 't', clock, log: (_level, _message, fields = {}) => lines.push(fields) });
  const seen: { traffic: GatewayTraffic; isTableReached: boolean } = {
    traffic: { connections: 2, accepted: 3, bytesRead: 100, bytesWritten: 50, transactions: NO_TRANSACTIONS },
    isTableReached: true,
  };
  void log.run({ traffic: () => seen.traffic, isTableReached: async () => seen.isTableReached });
  return { clock, lines, log, seen };
}

it('tells each minute what came since the last one', async () => {
  const { clock, lines, log, seen } = started();
  log.note({ api: 'Produce', ms: 10, failed: false });
  log.note({ api: 'Produce', ms: 30, failed: true });
  log.note({ api: 'Fetch', ms: 500, failed: false });
  await clock.advance(60_000);
  seen.traffic = { connections: 1, accepted: 5, bytesRead: 170, bytesWritten: 60, transactions: NO_TRANSACTIONS };
  seen.isTableReached = false;
  await clock.advance(60_000);
  expect(lines).toMatchObject([
    {
      KafkaConnections: 2,
      KafkaRequests: 3,
      KafkaErrors: 1,
      KafkaBytesIn: 100,
      KafkaBytesOut: 50,
      KafkaTableUnreached: 0,
      connectionsAccepted: 3,
      apis: {
        Produce: { requests: 2, errors: 1, averageMs: 20, maxMs: 30 },
        Fetch: { requests: 1, errors: 0, averageMs: 500, maxMs: 500 },
      },
    },
    { KafkaRequests: 0, KafkaBytesIn: 70, KafkaBytesOut: 10, KafkaTableUnreached: 1, connectionsAccepted: 2, apis: {} },
  ]);
});

it('tells what became of transactions, and makes metrics of what is not 0', async () => {
  const { clock, lines, seen } = started();
  const metricsOf = ({ _aws }: Fields) =>
    (_aws as { CloudWatchMetrics: { Metrics: { Name: string }[] }[] }).CloudWatchMetrics[0]?.Metrics.map(
      ({ Name }) => Name,
    ).filter((name) => !/Connections|Requests|Errors|Bytes|Unreached/.test(name));
  const ended = (outcome: 'committed' | 'aborted', by: 'producer' | 'operator' | 'timeout', count: number) => ({
    ...{ outcome, by, count },
  });
  const first = [ended('committed', 'producer', 5), ended('aborted', 'timeout', 2)];
  const holders = Array.from({ length: 30 }, (_, producerId) => ({ producerId, sinceMs: 1, metAtMs: 2 }));
  seen.traffic = { ...seen.traffic, transactions: { opened: 8, ended: first, readsHeldUp: 3, holders } };
  await clock.advance(60_000);
  const second = [ended('committed', 'producer', 5), ended('aborted', 'timeout', 2), ended('aborted', 'operator', 1)];
  seen.traffic = { ...seen.traffic, transactions: { opened: 8, ended: second, readsHeldUp: 3, holders: [] } };
  await clock.advance(60_000);
  await clock.advance(60_000);
  const names = [
    'KafkaTransactionsCommitted',
    'KafkaTransactionsAborted',
    'KafkaTransactionsTimedOut',
    'KafkaReadsHeldUp',
  ];
  expect(lines.map((line) => names.map((name) => line[name]))).toEqual([
    [5, 2, 2, 3],
    [0, 1, 0, 0],
    [0, 0, 0, 0],
  ]);
  expect(lines.map(metricsOf)).toEqual([names, ['KafkaTransactionsAborted'], []]);
  expect(lines.map(({ heldUpBy }) => (heldUpBy as number[]).length)).toEqual([20, 0, 0]);
});

it('makes six metrics of all gateways together, each of a field of the line', async () => {
  const { clock, lines } = started();
  await clock.advance(60_000);
  const { _aws, ...fields } = lines[0] as Fields & {
    readonly _aws: { CloudWatchMetrics: { Dimensions: string[][]; Metrics: { Name: string }[] }[] };
  };
  const [{ Dimensions, Metrics } = { Dimensions: [], Metrics: [] }] = _aws.CloudWatchMetrics;
  expect(Dimensions).toEqual([['table']]);
  expect(Metrics).toHaveLength(6);
  for (const { Name } of Metrics) expect(fields[Name], Name).toBeTypeOf('number');
});

it('writes a last line when it is stopped, and none after it', async () => {
  const { clock, lines, log, seen } = started();
  log.stop(seen.traffic);
  await clock.advance(600_000);
  expect(lines).toHaveLength(1);
});
