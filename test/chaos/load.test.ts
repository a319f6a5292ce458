import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Broker } from '../../shared/broker/broker.ts';
import { PARTITIONS_PER_HEAD_DEFAULT } from '../../shared/log/limits.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { HistoryEvent } from '../history/history.ts';
import { BrokerLogClient } from './broker-client.ts';
import { startLoad } from './load.ts';
import type { LogClient } from './log-client.ts';
import { makePlan, PARTITIONS } from './plan.ts';
import { HistoryRecorder } from './recorder.ts';
import { TOPIC } from './run.ts';

const APPENDS_MIN = 1_200;

type Append = Extract<HistoryEvent, { readonly type: 'invoke'; readonly f: 'append' }>;

/** The history of a load on a log in memory, of which every third answer to an append is lost. */
async function historyOfLoad(): Promise<HistoryEvent[]> {
  const stores = { objects: new MemoryObjectStore(), items: new MemoryItemStore() };
  const broker = new Broker({ ...stores, clock: systemClock, random: systemRandom });
  await broker.putTopic({ name: TOPIC, partitions: PARTITIONS });
  const right = new BrokerLogClient(broker);
  let appends = 0;
  const way: LogClient = {
    append: async (topic, append) => {
      const answer = await right.append(topic, append);
      return ++appends % 3 === 0 ? { type: 'info', error: 'timeout' } : answer;
    },
    read: (topic, read) => right.read(topic, read),
    end: (topic, partition) => right.end(topic, partition),
  };
  const recorder = new HistoryRecorder(TOPIC);
  let isOver = false;
  const { load } = makePlan('kill', 3, 1);
  const clients = startLoad({ plan: load, seed: 3, recorder, ways: [way], isOver: () => isOver });
  while (appends < APPENDS_MIN) await sleep(10);
  isOver = true;
  await Promise.all(clients.map(({ ended }) => ended));
  return recorder.events;
}

test('asks for everything that there is, and sends again only what may be', async () => {
  const events = await historyOfLoad();
  const invoked = events.filter((event) => event.type === 'invoke');
  const appends = invoked.filter((event): event is Append => event.f === 'append');
  const ok = new Set(events.filter(({ type }) => type === 'ok').map(({ op }) => op));
  const succeeded = (which: (append: Append) => boolean): boolean =>
    appends.some((append) => which(append) && ok.has(append.op));
  const partitionsOf = ({ records }: Append): Set<number | undefined> => new Set(records.map((each) => each.partition));
  const headsOf = (append: Append): Set<number> =>
    new Set([...partitionsOf(append)].map((partition) => Math.floor((partition ?? 0) / PARTITIONS_PER_HEAD_DEFAULT)));

  expect(succeeded(({ producer }) => producer !== undefined && producer.sequence > 0)).toBe(true);
  expect(succeeded(({ producer }) => producer !== undefined && producer.epoch > 0)).toBe(true);
  expect(succeeded(({ expectedOffset = 0 }) => expectedOffset > 0)).toBe(true);
  expect(succeeded((append) => append.atomic === true && partitionsOf(append).size > 1)).toBe(true);
  expect(succeeded(({ atomic, idempotencyKey }) => atomic === true && idempotencyKey !== undefined)).toBe(true);
  expect(succeeded((append) => append.idempotencyKey !== undefined && headsOf(append).size > 1)).toBe(true);
  expect(succeeded((append) => partitionsOf(append).has(undefined))).toBe(true);
  expect(appends.every((append) => append.atomic !== true || headsOf(append).size === 1)).toBe(true);
  for (const name of ['key', 'headers', 'timestampMs'] as const) {
    expect(
      succeeded(({ records }) => records.some((each) => each[name] !== undefined)),
      name,
    ).toBe(true);
  }
  expect(invoked.some((event) => event.f === 'end')).toBe(true);
  for (const sort of ['follower', 'poller']) {
    const goesOn = (event: HistoryEvent): boolean =>
      event.type === 'invoke' && event.f === 'read' && event.process.startsWith(sort) && (event.offset ?? 0) > 0;
    expect(invoked.some(goesOn), sort).toBe(true);
  }

  const tries = new Map<string, Append[]>();
  for (const append of appends) {
    const value = append.records[0]?.value ?? '';
    tries.set(value, [...(tries.get(value) ?? []), append]);
  }
  const repeated = [...tries.values()].filter((all) => all.length > 1);
  const bySelf = repeated.filter((all) => new Set(all.map(({ process }) => process)).size < all.length);
  expect(bySelf.length).toBeGreaterThan(5);
  for (const all of repeated) {
    for (const { records, producer, idempotencyKey } of all) {
      expect(producer ?? idempotencyKey).toBeDefined();
      expect({ records, producer, idempotencyKey }).toEqual({
        records: all[0]?.records,
        producer: all[0]?.producer,
        idempotencyKey: all[0]?.idempotencyKey,
      });
    }
  }
  // Two processes that send the same at the same time.
  expect(appends.some(({ process }) => process.endsWith('/twin'))).toBe(true);
});
