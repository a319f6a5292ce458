import { expect, it } from 'vitest';
import { exposition } from '../../../../shared/http/service/exposition.ts';
import { metricFamilies, TOPICS_SHOWN_MAX } from '../../../../shared/http/service/metrics.ts';
import { beginTransaction, end } from '../../../support/begin-transaction.ts';
import { memoryApp, PROCESS_METRICS } from '../../../support/memory-app.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

/** The samples by name and labels, as Prometheus reads them. @throws Error if a line is none */
function parsed(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  const types = new Map<string, string>();
  expect(text.endsWith('\n')).toBe(true);
  for (const line of text.slice(0, -1).split('\n')) {
    const type = /^# TYPE (\w+) (counter|gauge)$/.exec(line);
    if (type !== null) {
      expect(types.has(type[1] as string)).toBe(false);
      types.set(type[1] as string, type[2] as string);
      continue;
    }
    if (/^# HELP \w+ \S.*$/.test(line)) continue;
    const sample = /^(\w+)((?:\{(?:\w+="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\S+)$/.exec(line);
    if (sample === null) throw new Error(`This is no sample: ${line}`);
    const [, name, labels, value] = sample as unknown as [string, string, string, string];
    expect(Number.isFinite(Number(value)), line).toBe(true);
    // A counter ends in `_total`, and nothing else does.
    expect([name, types.get(name)]).toEqual([name, name.endsWith('_total') ? 'counter' : 'gauge']);
    expect(samples.has(name + labels)).toBe(false);
    samples.set(name + labels, Number(value));
  }
  return samples;
}

it('tells what was appended, read and requested, and how the jobs and the process are', async () => {
  const { call, broker } = memoryApp();
  await broker.putTopic({ name: 'orders' });
  for (let i = 0; i < 9; i++) await appendTo(broker, 'orders', 0, ['a', 'b']);
  await appendTo(broker, 'orders', 0, ['x'.repeat(20_000)]);
  await broker.idle();
  const read = await call('GET', '/v1/topics/orders/partitions/0/records?offset=4&limit=6');
  await read.text();
  const answer = await call('GET', '/metrics');
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const samples = parsed(await answer.text());
  expect(samples.get('tailrace_commits_total{topic="orders"}')).toBe(10);
  expect(samples.get('tailrace_appended_records_total{topic="orders"}')).toBe(19);
  expect(samples.get('tailrace_appended_bytes_total{topic="orders"}')).toBeGreaterThan(18 * 8);
  expect(samples.get('tailrace_read_records_total{topic="orders"}')).toBeGreaterThanOrEqual(6);
  expect(samples.get('tailrace_read_bytes_total{topic="orders"}')).toBeGreaterThan(0);
  const appended = 'tailrace_storage_requests_total{topic="orders",purpose="append",request=';
  expect([samples.get(`${appended}"UpdateItem"}`), samples.get(`${appended}"Query"}`)]).toEqual([10, undefined]);
  expect(
    samples.get('tailrace_storage_bytes_total{topic="orders",purpose="append",direction="written"}'),
  ).toBeGreaterThan(20_000);
  expect(
    samples.get('tailrace_storage_units_total{topic="orders",purpose="append",unit="write"}'),
  ).toBeGreaterThanOrEqual(19);
  expect(samples.get('tailrace_job_runs_total{job="merge"}')).toBe(3);
  expect(samples.get('tailrace_job_failures_total{job="merge"}')).toBe(1);
  expect(samples.get('tailrace_job_blocked{job="merge"}')).toBe(2);
  expect(samples.get('tailrace_job_last_success_timestamp_seconds{job="merge"}')).toBe(1_700_000_001);
  expect(samples.has('tailrace_job_last_success_timestamp_seconds{job="new"}')).toBe(false);
  expect(samples.get('tailrace_unmerged_heads')).toBe(1);
  const ofGroup = ['lag_records', 'lag_seconds', 'partitions_without_offset'].map((name) => `tailrace_group_${name}`);
  expect(ofGroup.map((name) => samples.get(`${name}{group="g\\"1"}`))).toEqual([12, 2.5, 4]);
  expect(ofGroup.map((name) => samples.get(`${name}{group="idle"}`))).toEqual([0, 0, 0]);
  expect(samples.get('process_start_time_seconds')).toBe(1_700_000_000.5);
  expect(samples.get('process_cpu_seconds_total')).toBe(1.25);
  expect(samples.get('tailrace_build_info{version="0.0.0"}')).toBe(1);
});

it('tells the lag of those groups only that the caller has a right on', async () => {
  const { call, broker } = memoryApp({ http: { access: { mode: 'authenticated', apiKeys: true } } });
  const scopes = [{ actions: ['admin'], topics: ['*'], groups: ['idl*'] }] as const;
  const { key } = await broker.createApiKey({ name: 'scraper', scopes });
  const answer = await call('GET', '/metrics', { headers: { Authorization: `Bearer ${key}` } });
  const lags = [...parsed(await answer.text()).keys()].filter((name) => name.startsWith('tailrace_group_lag_records'));
  expect(lags).toEqual(['tailrace_group_lag_records{group="idle"}']);
});

it('tells what became of transactions, which are open, and who holds up readers', async () => {
  const clock = new SimulatedClock();
  const { call, broker } = memoryApp({ clock });
  const scrape = async () => parsed(await (await call('GET', '/metrics')).text());
  const before = await scrape();
  expect(before.get('tailrace_transactions_opened_total')).toBe(0);
  expect(before.get('tailrace_reads_held_up_total')).toBe(0);
  await broker.putTopic({ name: 't', partitions: 32 });
  const ended = await beginTransaction(broker, 'a');
  await end(broker, 'a', ended);
  for (let i = 0; i < 25; i++) {
    await beginTransaction(broker, `open-${i}`, { partitions: [i] });
    await clock.advance(1_000);
  }
  for (let i = 24; i >= 0; i--) await broker.read({ topic: 't', partition: i, from: { offset: i === 0 ? 2 : 0 } });
  const samples = await scrape();
  expect(samples.get('tailrace_transactions_opened_total')).toBe(26);
  expect(samples.get('tailrace_transactions_ended_total{outcome="committed",by="producer"}')).toBe(1);
  expect(samples.get('tailrace_reads_held_up_total')).toBe(25);
  // The twenty oldest.
  const holders = [...samples].filter(([name]) => name.startsWith('tailrace_read_held_up_seconds'));
  expect(holders.length).toBe(20);
  expect(samples.get('tailrace_read_held_up_seconds{producer_id="1"}')).toBe(25);
  expect(samples.get('tailrace_read_held_up_seconds{producer_id="20"}')).toBe(6);
  const swept = ['transactional_ids', 'transactions_open', 'transactions_late', 'transactions_oldest_seconds'];
  expect(swept.map((name) => samples.get(`tailrace_${name}`))).toEqual([7, 3, 1, 4.5]);
  const without = exposition(metricFamilies(broker, { ...PROCESS_METRICS, transactions: undefined }, '1', 0));
  expect(swept.map((name) => parsed(without).has(`tailrace_${name}`))).toEqual([false, false, false, false]);
});

it('tells how long records wait to be merged', async () => {
  const stores = memoryStores();
  const clock: SimulatedClock = stores.clock;
  const broker = memoryBroker(stores);
  const age = (): number | undefined =>
    parsed(exposition(metricFamilies(broker, PROCESS_METRICS, '1', clock.nowMs()))).get(
      'tailrace_unmerged_age_seconds',
    );
  expect(age()).toBe(0);
  await clock.run(async () => {
    await broker.putTopic({ name: 'orders' });
    for (let i = 0; i < 8; i++) await appendTo(broker, 'orders', 0, ['a']);
    await broker.idle();
  });
  await clock.advance(90_000);
  expect(age()).toBe(90);
});

it('bounds the topics that have samples of their own, and loses no count', async () => {
  const broker = memoryBroker();
  const topics = TOPICS_SHOWN_MAX + 50;
  for (let i = 0; i < topics; i++) {
    await broker.putTopic({ name: `topic-${i}` });
    await appendTo(broker, `topic-${i}`, 0, ['a']);
  }
  const before = parsed(exposition(metricFamilies(broker, PROCESS_METRICS, '1', 0)));
  const of = (samples: Map<string, number>) =>
    [...samples].filter(([name]) => name.startsWith('tailrace_appended_records_total'));
  expect(of(before)).toHaveLength(TOPICS_SHOWN_MAX + 1);
  expect(of(before).reduce((sum, [, value]) => sum + value, 0)).toBe(topics);
  await appendTo(broker, `topic-${topics - 1}`, 0, ['a']);
  const after = parsed(exposition(metricFamilies(broker, PROCESS_METRICS, '1', 0)));
  expect(after.get('tailrace_appended_records_total{topic="(other topics)"}')).toBe(51);
  // A counter that goes back looks like a restart.
  for (const [name, value] of before) expect(after.get(name), name).toBeGreaterThanOrEqual(value);
});

it('escapes what a label or a help can hold', () => {
  const family = { name: 'x', type: 'gauge', help: 'a\\b\nc' } as const;
  const text = exposition([{ ...family, samples: [{ labels: { l: 'a"b\\c\nd' }, value: 1 }] }]);
  expect(text).toBe('# HELP x a\\\\b\\nc\n# TYPE x gauge\nx{l="a\\"b\\\\c\\nd"} 1\n');
  expect(
    exposition([
      { ...family, samples: [] },
      { ...family, name: 'y', samples: [{ value: 2 }] },
    ]),
  ).not.toContain('x');
});
