import { readFileSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { Broker } from '../../shared/broker/broker.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { AppendInvocation } from '../history/history.ts';
import { BrokerLogClient } from './broker-client.ts';
import type { LogClient } from './log-client.ts';
import { makePlan, PARTITIONS } from './plan.ts';
import { type ChaosResult, type ChaosSystem, type RunLimits, runChaos, TOPIC } from './run.ts';

/** That a run can fail: logs in memory that do each thing wrong that it looks for, once in a while. */

const LIMITS: RunLimits = { recoveryMs: 5_000, acknowledgedMin: 200 };
const DISTURBED_MS = 300;

/** What is changed of a log that does everything right. */
interface Wrong {
  readonly way?: (right: LogClient, isOver: () => boolean) => Partial<LogClient>;
  readonly anew?: (right: LogClient) => Partial<LogClient>;
  readonly findings?: readonly string[];
  readonly limits?: Partial<RunLimits>;
}

async function run({ way, anew, findings = [], limits }: Wrong = {}): Promise<ChaosResult> {
  const stores = { objects: new MemoryObjectStore(), items: new MemoryItemStore() };
  const broker = new Broker({ ...stores, clock: systemClock, random: systemRandom });
  await broker.putTopic({ name: TOPIC, partitions: PARTITIONS });
  const right = new BrokerLogClient(broker);
  let isOver = false;
  const bound: LogClient = {
    append: (...asked) => right.append(...asked),
    read: (...asked) => right.read(...asked),
    end: (...asked) => right.end(...asked),
  };
  const system: ChaosSystem = {
    ways: [{ ...bound, ...way?.(right, () => isOver) }],
    faults: new Map([['nothing', 1]]),
    accountsFor: (f, error) => f === 'append' && error === 'throttled',
    disturb: async () => {
      await sleep(DISTURBED_MS);
      isOver = true;
    },
    settle: async () => {},
    startAnew: async () => ({ ...bound, ...anew?.(right) }),
    findings: () => findings,
    close: async () => {},
  };
  const result = await runChaos(makePlan('kill', 1, 1), system, { ...LIMITS, ...limits });
  await broker.close();
  return result;
}

/** Tells the append of a client that it makes as its n-th. */
function counter(process: string, n: number): (append: AppendInvocation) => boolean {
  let appends = 0;
  return ({ records }) => records[0]?.value.startsWith(`${process} `) === true && ++appends === n;
}

/** The lines of the history that was kept, and forgets it. */
function takeHistory({ historyFile }: ChaosResult): { readonly type?: string; readonly final?: number }[] {
  if (historyFile === undefined) return [];
  const lines = readFileSync(historyFile, 'utf8').trimEnd().split('\n');
  rmSync(dirname(historyFile), { recursive: true });
  return lines.map((line) => JSON.parse(line) as { type?: string; final?: number });
}

describe.concurrent('runChaos', () => {
  test('finds nothing wrong with a log that does everything right', async () => {
    const result = await run();
    expect(result).toMatchObject({ verdict: 'ok', reasons: [], historyFile: undefined, faults: { nothing: 1 } });
    expect(result.acknowledged).toBeGreaterThan(LIMITS.acknowledgedMin);
    expect(result.operations).toBeGreaterThan(100);
    expect(result.uncertain).toEqual({ records: 0, found: 0 });
  });

  test('finds an acknowledged append that was never made, and keeps the history', async () => {
    const isThird = counter('plain-0', 3);
    const result = await run({
      way: (right) => ({
        append: async (topic, append) => {
          if (!isThird(append)) return right.append(topic, append);
          const outcomes = append.records.map(({ partition = 0 }, offset) => ({
            type: 'ok' as const,
            partition,
            offset,
          }));
          return { type: 'ok', outcomes };
        },
      }),
    });
    expect(result.verdict).toBe('violation');
    expect(result.reasons.join('\n')).toContain('R1: ');
    const lines = takeHistory(result);
    expect(lines.filter(({ type }) => type === 'invoke')).toHaveLength(result.operations);
    expect(lines.filter(({ final }) => final !== undefined)).toHaveLength(PARTITIONS);
  });

  test('finds records that are gone after a new start', async () => {
    const result = await run({
      anew: (right) => ({
        read: async (topic, read) => {
          const answer = await right.read(topic, read);
          const { records = [], nextOffset = 0, highWatermark = 0 } = answer;
          // A gap before the end would break another promise first, and how many answers a read takes depends on time.
          return nextOffset < highWatermark ? answer : { ...answer, records: records.slice(0, -1) };
        },
      }),
    });
    expect(result.verdict).toBe('violation');
    expect(result.reasons.join('\n')).toContain('R1: ');
    takeHistory(result);
  });

  test('finds an append that was refused and made all the same', async () => {
    const isThird = counter('plain-0', 3);
    const result = await run({
      way: (right) => ({
        append: async (topic, append) => {
          const answer = await right.append(topic, append);
          return isThird(append) ? { type: 'fail', error: 'throttled' } : answer;
        },
      }),
    });
    expect(result.verdict).toBe('violation');
    expect(result.reasons.join('\n')).toContain('R2: ');
    takeHistory(result);
  });

  test('counts what no answer told of, and how much of it is there', async () => {
    const [isMade, isNotMade] = [counter('plain-0', 3), counter('plain-1', 3)];
    const result = await run({
      way: (right) => ({
        append: async (topic, append) => {
          if (isNotMade(append)) return { type: 'info', error: 'timeout' };
          const answer = await right.append(topic, append);
          return isMade(append) ? { type: 'info', error: 'timeout' } : answer;
        },
      }),
    });
    expect(result).toMatchObject({ verdict: 'ok', reasons: [] });
    expect(result.uncertain.found).toBeGreaterThan(0);
    expect(result.uncertain.records).toBeGreaterThan(result.uncertain.found);
  });

  test('finds an error that nothing accounts for', async () => {
    let reads = 0;
    const result = await run({
      way: (right) => ({
        read: async (topic, read) =>
          ++reads === 20 ? { type: 'fail', error: 'corrupt_data' } : right.read(topic, read),
      }),
    });
    expect(result.verdict).toBe('violation');
    expect(result.reasons).toEqual([expect.stringMatching(/^(follower|poller)-\d: read answered corrupt_data$/)]);
    takeHistory(result);
  });

  test('finds a partition that can not be read at the end', async () => {
    const result = await run({
      anew: (right) => ({
        read: async (topic, read) =>
          read.partition === 5 ? { type: 'fail', error: 'corrupt_data' } : right.read(topic, read),
      }),
    });
    expect(result.verdict).toBe('violation');
    expect(result.reasons).toContain("partition 5 can't be read at 0: corrupt_data");
    takeHistory(result);
  });

  test('finds a client that does not get going again, and one that is never answered', async () => {
    const answers = [async () => ({ type: 'fail', error: 'throttled' }) as const, () => new Promise<never>(() => {})];
    const results = await Promise.all(
      answers.map((answer) =>
        run({
          limits: { recoveryMs: 1_500 },
          way: (right, isOver) => ({
            append: (topic, append) =>
              isOver() && append.records[0]?.value.startsWith('keyed-1') ? answer() : right.append(topic, append),
          }),
        }),
      ),
    );
    const stuck = expect.stringMatching(/^in 1500 ms after the faults no success of .*\bkeyed-1 \(append\)/);
    const unanswered = 'a request under way when the load was over has no answer';
    expect(results.map(({ verdict, reasons }) => [verdict, ...reasons])).toEqual([
      ['stuck', stuck],
      ['stuck', stuck, unanswered],
    ]);
    results.forEach(takeHistory);
  });

  test('takes what the system found itself for a violation', async () => {
    const result = await run({ findings: ['the disk was never full'] });
    expect(result).toMatchObject({ verdict: 'violation', reasons: ['the disk was never full'] });
    takeHistory(result);
  });

  test('does not take a short history for a proof', async () => {
    const result = await run({ limits: { acknowledgedMin: 1_000_000, recoveryMs: 1_500 } });
    expect(result).toMatchObject({ verdict: 'proves nothing' });
    takeHistory(result);
  });
});
