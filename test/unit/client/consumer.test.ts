import { describe, expect, it } from 'vitest';
import { json, topic } from '../../../shared/client/codec.ts';
import type { ConsumedBatch, Consumer } from '../../../shared/client/consume/consumer.ts';
import type { Plain } from '../../../shared/client/index.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { type ClientLog, clientLog, type Transport } from './client-log.ts';

const GROUP = 'g';
const TOPICS = ['orders'];

async function filled(transport: Transport, partitions = 2, records = 6): Promise<ClientLog> {
  const made = clientLog(transport);
  await made.clock.run(made.app.broker.putTopic({ name: 'orders', partitions }));
  await append(made, partitions, 0, records);
  return made;
}

async function append({ app, clock }: ClientLog, partitions: number, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    const records = [{ key: null, value: Buffer.from(`v${i}`), headers: [], partition: i % partitions }];
    await clock.run(app.broker.appendRecords({ topic: 'orders', records }));
  }
}

const valuesOf = ({ records }: ConsumedBatch<Plain, Plain>) => records.map(({ value }) => String(value));

/** Consumes until `enough` says so after a batch's body, and then closes. */
async function collect(
  consumer: Consumer<Plain, Plain>,
  enough: (seen: readonly string[]) => boolean,
  body: () => Promise<void> = async () => {},
): Promise<string[]> {
  const seen: string[] = [];
  for await (const batch of consumer) {
    await body();
    seen.push(...valuesOf(batch));
    if (enough(seen)) void consumer.close();
  }
  return seen;
}

const lagOf = ({ app, clock }: ClientLog) =>
  clock.run(app.broker.groupLag({ group: GROUP })).then(({ totalLagRecords }) => totalLagRecords);

const membersOf = async ({ app, clock }: ClientLog) =>
  (await clock.run(app.broker.describeGroup(GROUP))).members.map(({ memberId }) => memberId);

describe.each(['embedded', 'http'] as const)('a consumer, %s', (transport) => {
  it('reads each record once, commits after the body, and leaves', async () => {
    const made = await filled(transport);
    const seen = await made.clock.run(
      collect(made.log().consumer({ group: GROUP, topics: TOPICS }), (all) => all.length >= 6),
    );
    expect(seen.sort()).toEqual(['v0', 'v1', 'v2', 'v3', 'v4', 'v5']);
    expect(await lagOf(made)).toBe(0);
    expect(await membersOf(made)).toEqual([]);
  });

  it('does not commit a batch whose body was left, unless told to', async () => {
    const made = await filled(transport, 1, 6);
    const { clock } = made;
    const options = { group: GROUP, topics: TOPICS, maxRecords: 2 };
    await clock.run(async () => {
      let bodies = 0;
      for await (const _ of made.log().consume(options)) if (++bodies === 2) break;
    });
    expect(await lagOf(made)).toBe(4);
    await clock.run(async () => {
      for await (const batch of made.log().consume(options)) {
        expect(valuesOf(batch)).toEqual(['v2', 'v3']);
        await batch.commit();
        break;
      }
    });
    expect(await lagOf(made)).toBe(2);
    const failing = clock.run(async () => {
      for await (const _ of made.log().consume(options)) throw new Error('body');
    });
    await expect(failing).rejects.toThrow('body');
    expect(await lagOf(made)).toBe(2);
    expect(await membersOf(made)).toEqual([]);
  });

  it('goes on without commits if it commits by hand, and each commit takes all before it', async () => {
    const made = await filled(transport, 1, 6);
    const seen: string[] = [];
    await made.clock.run(async () => {
      let earlier: ConsumedBatch<Plain, Plain> | undefined;
      for await (const batch of made
        .log()
        .consume({ group: GROUP, topics: TOPICS, maxRecords: 2, autoCommit: false })) {
        seen.push(...valuesOf(batch));
        if (earlier !== undefined) await expect(earlier.commit()).rejects.toMatchObject({ code: 'invalid_request' });
        earlier = batch;
        if (seen.length === 2) await batch.commit();
        if (seen.length === 6) break;
      }
    });
    expect(seen).toEqual(['v0', 'v1', 'v2', 'v3', 'v4', 'v5']);
    expect(await lagOf(made)).toBe(4);
  });

  it('keeps its partitions while a body takes longer than the lease', async () => {
    const made = await filled(transport);
    const { clock } = made;
    const lost: unknown[] = [];
    const options = {
      group: GROUP,
      topics: TOPICS,
      leaseMs: 6_000,
      onPartitionsLost: (all: unknown) => lost.push(all),
    };
    const slow = made.log().consumer({ ...options, memberId: 'slow', maxRecords: 6 });
    const other = made.log().consumer({ ...options, memberId: 'other' });
    const work = (async () => {
      const slowly = collect(
        slow,
        (all) => all.length >= 6,
        () => clock.sleep(60_000),
      );
      await clock.sleep(3_000);
      const others = collect(other, () => false);
      await slowly;
      await other.close();
      return { slow: await slowly, other: await others };
    })();
    const seen = await clock.run(work);
    expect([...seen.slow, ...seen.other].sort()).toEqual(['v0', 'v1', 'v2', 'v3', 'v4', 'v5']);
    expect(lost).toEqual([]);
  });

  it('hands over at once when it closes', async () => {
    const made = await filled(transport, 4, 0);
    const { clock } = made;
    const options = { group: GROUP, topics: TOPICS, leaseMs: 300_000 };
    const first = made.log().consumer(options);
    const second = made.log().consumer(options);
    const tookMs = await clock.run(async () => {
      const running = [collect(first, () => false), collect(second, () => false)];
      await clock.sleep(40_000);
      expect(first.assignment[0]?.partitions.length).toBe(2);
      await first.close();
      const closedMs = clock.nowMs();
      await append4(made);
      while (countOf(second) < 4) await clock.sleep(100);
      const took = clock.nowMs() - closedMs;
      await second.close();
      await Promise.all(running);
      return took;
    });
    expect(tookMs).toBeLessThan(15_000);
  });

  it('gives what a killed member had to another, and tells it what it lost', async () => {
    const made = await filled(transport);
    const { clock } = made;
    const lost: unknown[] = [];
    const options = { group: GROUP, topics: TOPICS, leaseMs: 6_000 };
    made.around = async (what, run) => {
      if (what === 'extend' && clock.nowMs() < deadUntilMs) throw new EventLogError('storage_unavailable', 'Injected.');
      return run();
    };
    const deadUntilMs = clock.nowMs() + 100_000;
    const frozen = made.log().consumer({ ...options, onPartitionsLost: (all) => lost.push(...all) });
    const other = made.log().consumer(options);
    const seen = await clock.run(async () => {
      const froze = collect(
        frozen,
        () => true,
        () => clock.sleep(60_000),
      );
      await clock.sleep(20_000);
      const all = await collect(other, (values) => values.length >= 6);
      await froze;
      return all;
    });
    expect(seen.sort()).toEqual(['v0', 'v1', 'v2', 'v3', 'v4', 'v5']);
    expect(await lagOf(made)).toBe(0);
    expect(lost.length).toBe(2);
  });

  it('joins again after its membership is over, and reads on', async () => {
    const made = await filled(transport, 1, 4);
    const lost: unknown[] = [];
    const consumer = made.log().consumer({
      group: GROUP,
      topics: TOPICS,
      maxRecords: 2,
      onPartitionsLost: (all) => lost.push(...all),
    });
    let bodies = 0;
    const expel = async () => {
      if (++bodies === 1) await made.app.broker.leaveGroup({ group: GROUP, memberId: consumer.memberId });
    };
    const seen = await made.clock.run(collect(consumer, (all) => all.includes('v3'), expel));
    expect([...new Set(seen)]).toEqual(['v0', 'v1', 'v2', 'v3']);
    // Nobody else had taken the partition, so its commit was in time.
    expect(lost).toEqual([]);
    expect(await lagOf(made)).toBe(0);
  });

  it('does not read what is paused, also if it waits already, and reads on there', async () => {
    const made = await filled(transport, 2, 0);
    const { clock } = made;
    const consumer = made.log().consumer({ group: GROUP, topics: TOPICS });
    const seen: string[] = [];
    await clock.run(async () => {
      const running = (async () => {
        for await (const batch of consumer) seen.push(...valuesOf(batch));
      })();
      await clock.sleep(5_000);
      consumer.pause('orders', 0);
      await clock.sleep(1);
      const records = [0, 1].map((partition) => ({
        key: null,
        value: Buffer.from(`p${partition}`),
        headers: [],
        partition,
      }));
      await made.app.broker.appendRecords({ topic: 'orders', records });
      await clock.sleep(40_000);
      expect(seen).toEqual(['p1']);
      consumer.pause('orders');
      expect(() => consumer.resume('orders', 0)).toThrow('resume the topic');
      await made.app.broker.appendRecords({ topic: 'orders', records });
      await clock.sleep(40_000);
      expect(seen).toEqual(['p1']);
      expect(consumer.assignment[0]?.partitions.length).toBe(2);
      consumer.resume('orders');
      await clock.sleep(5_000);
      await consumer.close();
      await running;
    });
    expect(seen.sort()).toEqual(['p0', 'p0', 'p1', 'p1']);
  });

  it('gives out nothing of a poll that was answered after its partition was paused, and reads it later', async () => {
    const made = await filled(transport, 1, 4);
    const { clock } = made;
    const consumer = made.log().consumer({ group: GROUP, topics: TOPICS });
    const seen: string[] = [];
    let isPaused = false;
    made.around = async (what, run) => {
      const answer = await run();
      if (what === 'poll' && !isPaused) {
        isPaused = true;
        consumer.pause('orders');
      }
      return answer;
    };
    await clock.run(async () => {
      const running = (async () => {
        for await (const batch of consumer) seen.push(...valuesOf(batch));
      })();
      await clock.sleep(40_000);
      expect(seen).toEqual([]);
      consumer.resume('orders');
      await clock.sleep(20_000);
      await consumer.close();
      await running;
    });
    expect(seen).toEqual(['v0', 'v1', 'v2', 'v3']);
    expect(await lagOf(made)).toBe(0);
  });

  it('ends without an error when it is aborted while it waits', async () => {
    const made = await filled(transport);
    const stop = new AbortController();
    const startMs = made.clock.nowMs();
    await made.clock.run(async () => {
      const running = (async () => {
        for await (const _ of made.log().consume({ group: GROUP, topics: TOPICS, signal: stop.signal }));
      })();
      await made.clock.sleep(7_000);
      stop.abort();
      await running;
    });
    expect(made.clock.nowMs() - startMs).toBeLessThan(8_000);
    expect(await lagOf(made)).toBe(0);
    expect(await membersOf(made)).toEqual([]);
  });

  it('waits out failures without losing its place, and commits in spite of lost answers', async () => {
    const made = await filled(transport, 2, 12);
    let calls = 0;
    made.around = async (_, run) => {
      const turn = calls++ % 3;
      if (turn === 0) throw new EventLogError('throttled', 'Injected.');
      const answer = await run();
      if (turn === 1) throw new EventLogError('storage_unavailable', 'Injected.');
      return answer;
    };
    const consumer = made.log().consumer({ group: GROUP, topics: TOPICS, maxRecords: 2 });
    const seen = await made.clock.run(collect(consumer, (all) => all.length >= 12));
    expect(seen.length).toBe(12);
    expect(new Set(seen).size).toBe(12);
    expect(await lagOf(made)).toBe(0);
  });

  it('tells which of its topics did not exist when it joined', async () => {
    const made = await filled(transport);
    const consumer = made.log().consumer({ group: GROUP, topics: [...TOPICS, 'ordres'] });
    expect(consumer.unknownTopics).toEqual([]);
    await made.clock.run(collect(consumer, (all) => all.length >= 6));
    expect(consumer.unknownTopics).toEqual(['ordres']);
  });

  it('throws what does not pass', async () => {
    const made = await filled(transport);
    const { clock } = made;
    const typed = topic('orders', { value: json<number>() });
    const iterate = async (options: object) => {
      for await (const _ of made.log().consume({ group: GROUP, topics: [typed], ...options }));
    };
    await expect(clock.run(iterate({}))).rejects.toThrow(SyntaxError);
    expect(await membersOf(made)).toEqual([]);
    const plainly = made.log().consumer({ group: GROUP, topics: TOPICS });
    expect(await clock.run(collect(plainly, (all) => all.length >= 6))).toHaveLength(6);
    await expect(clock.run(iterate({ startAt: 'middle', maxBytes: -1 }))).rejects.toMatchObject({
      code: 'invalid_request',
    });
    for (const [field, options] of [
      ['group', { group: '' }],
      ['topics', { topics: [] }],
      ['leaseMs', { leaseMs: 0 }],
      ['maxRecords', { maxRecords: 0 }],
      ['autocommit', { autocommit: false }],
    ] as const)
      await expect(iterate(options)).rejects.toMatchObject({ code: 'invalid_request', details: { field } });
    const twice = made.log().consumer({ group: 'other', topics: TOPICS });
    await clock.run(collect(twice, () => true));
    await expect(collect(twice, () => true)).rejects.toMatchObject({ code: 'invalid_request' });
  });
});

function countOf(consumer: Consumer<Plain, Plain>): number {
  return consumer.assignment.reduce((sum, { partitions }) => sum + partitions.length, 0);
}

/** Ends the waits of all polls. */
async function append4({ app }: ClientLog): Promise<void> {
  const records = [0, 1, 2, 3].map((partition) => ({ key: null, value: Buffer.from('x'), headers: [], partition }));
  await app.broker.appendRecords({ topic: 'orders', records });
}

describe('a group of consumers', () => {
  it('reads every record of 50 partitions at least once, in order, while they are produced and a member dies', async () => {
    const made = clientLog('embedded');
    const { clock, app } = made;
    await clock.run(app.broker.putTopic({ name: 'orders', partitions: 50 }));
    const seen = new Map<number, Map<number, number[]>>();
    const records = 40;
    await clock.run(async () => {
      const consumers = [0, 1, 2, 3].map(() => made.log().consumer({ group: GROUP, topics: TOPICS, leaseMs: 6_000 }));
      const all = new Set<string>();
      const running = consumers.map(async (consumer, i) => {
        const mine = new Map<number, number[]>();
        seen.set(i, mine);
        for await (const batch of consumer) {
          for (const { partition, offset } of batch.records) {
            mine.set(partition, [...(mine.get(partition) ?? []), offset]);
            all.add(`${partition}/${offset}`);
          }
          await clock.sleep(50);
          // It leaves without having processed its batch.
          if (i === 3 && all.size > 600) return;
        }
      });
      for (let round = 0; round < records; round++) {
        const batch = Array.from({ length: 50 }, (_, partition) => ({
          key: null,
          value: Buffer.from('x'),
          headers: [],
          partition,
        }));
        await app.broker.appendRecords({ topic: 'orders', records: batch });
        await clock.sleep(500);
      }
      while (all.size < 50 * records) await clock.sleep(1_000);
      await Promise.all(consumers.map((consumer) => consumer.close()));
      await Promise.all(running);
    });
    for (const mine of seen.values())
      for (const offsets of mine.values()) expect(offsets).toEqual([...new Set(offsets)].sort((a, b) => a - b));
    expect(await lagOf(made)).toBe(0);
  });
});
