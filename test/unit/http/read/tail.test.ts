import { describe, expect, it, vi } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { eventId } from '../../../../shared/http/read/event-id.ts';
import type { TailRequest, TailSettings } from '../../../../shared/http/read/tail.ts';
import { openTail } from '../../../../shared/http/read/tail.ts';
import { parseFrom } from '../../../../shared/http/read/tail-from.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { HEAD, headKey } from '../../../../shared/storage/keys.ts';
import type { Stores } from '../../../../shared/storage/ports.ts';
import { positionsOf } from '../../../support/event-reader.ts';
import { appendTo, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';
import { type SimulatedClock, turn } from '../../../support/simulated-clock.ts';

const SETTINGS: TailSettings = { heartbeatMs: 15_000, lookMs: 1_000, tailMaxMs: undefined, reconnectMs: 1_000 };

interface Options {
  readonly request?: Partial<TailRequest>;
  readonly settings?: Partial<TailSettings>;
  /** Before each read of an object. */
  readonly onFetch?: (clock: SimulatedClock) => Promise<void> | void;
}

/** A tail of the topic `t` over simulated time, whose events are taken one piece after the other. */
async function tailOf(partitions: number, { request, settings, onFetch }: Options = {}) {
  const stores = memoryStores();
  const broker = memoryBroker(
    { ...stores, ...watchFetches(stores, () => onFetch?.(stores.clock)) },
    { pollIntervalMs: undefined },
  );
  await broker.putTopic({ name: 't', partitions });
  const stop = new AbortController();
  const errors: unknown[] = [];
  const open = (from?: string) =>
    openTail(
      {
        broker,
        clock: stores.clock,
        settings: { ...SETTINGS, ...settings },
        onError: (error) => errors.push(error),
      },
      {
        topic: 't',
        partition: undefined,
        from: parseFrom(from ?? 'latest'),
        filter: undefined,
        encoding: 'auto',
        ...request,
      },
      stop,
    );
  return { ...stores, broker, stop, errors, open };
}

function watchFetches(stores: Stores, onFetch: () => Promise<void> | void): Stores {
  return aroundStores(stores, (request, run) => async (...args) => {
    if (request === 'getObject') await onFetch();
    return run(...args);
  });
}

/** As if retention had dropped what lies before an offset. */
async function dropBefore(stores: Stores, broker: Broker, offset: number): Promise<void> {
  const { topicId } = await broker.describeTopic('t');
  await stores.items.update(headKey(topicId, 0), [{ do: 'set', name: HEAD.start(0), value: offset }]);
}

interface Taken {
  readonly event: string;
  /** The next offsets that the id stands for, such as `0:17,1:4`. */
  readonly id: string | undefined;
  readonly data: { readonly [name: string]: unknown };
}

function eventsOf(piece: Uint8Array | undefined): Taken[] {
  const blocks = new TextDecoder().decode(piece).split('\n\n');
  return blocks.flatMap((block) => {
    const event = /^event: (.*)$/m.exec(block)?.[1];
    if (event === undefined) return [];
    return [
      {
        event,
        id: positionsOf(/^id: (.*)$/m.exec(block)?.[1]),
        data: JSON.parse(/^data: (.*)$/m.exec(block)?.[1] ?? 'null'),
      },
    ];
  });
}

/** The events of the next piece, as time moves on. */
async function take(clock: SimulatedClock, tail: AsyncGenerator<Uint8Array>): Promise<Taken[]> {
  const { value } = await clock.run(tail.next());
  return eventsOf(value as Uint8Array | undefined);
}

describe('a live tail', () => {
  it('says first where it is, and how soon to come back', async () => {
    const { clock, broker, open } = await tailOf(2);
    await appendTo(broker, 't', 1, ['a', 'b']);
    const { topicId } = await broker.describeTopic('t');
    const id = eventId(
      topicId,
      new Map([
        [0, 0],
        [1, 2],
      ]),
    );
    const piece = await clock.run((await open()).next());
    expect(new TextDecoder().decode(piece.value as Uint8Array)).toBe(
      `retry: 1000\n\nevent: heartbeat\nid: ${id}\ndata: {"timestamp":${clock.nowMs()}}\n\n`,
    );
  });

  it('has records at once, without time passing', async () => {
    const { clock, broker, open } = await tailOf(1);
    const tail = await open();
    await take(clock, tail);
    const waiting = tail.next();
    for (let i = 0; i < 20; i++) await turn();
    const before = clock.nowMs();
    await appendTo(broker, 't', 0, ['a']);
    for (let i = 0; i < 20; i++) await turn();
    expect(clock.nowMs()).toBe(before);
    expect(eventsOf((await waiting).value as Uint8Array)).toMatchObject([
      { event: 'record', id: '0:1', data: { value: 'a' } },
    ]);
  });

  it('misses nothing that is appended after it was opened and before it is taken', async () => {
    const { clock, broker, open } = await tailOf(1);
    const tail = await open();
    await appendTo(broker, 't', 0, ['a']);
    await take(clock, tail);
    expect(await take(clock, tail)).toMatchObject([{ event: 'record', data: { value: 'a' } }]);
  });

  it('sees within a look what another process appends, and partitions that it adds', async () => {
    const { clock, objects, items, open } = await tailOf(1);
    const other = memoryBroker({ objects, items, clock });
    const tail = await open();
    await take(clock, tail);
    const waiting = tail.next();
    for (let i = 0; i < 20; i++) await turn();
    const before = clock.nowMs();
    await appendTo(other, 't', 0, ['a']);
    expect(eventsOf((await clock.run(waiting)).value as Uint8Array)).toMatchObject([{ event: 'record', id: '0:1' }]);
    expect(clock.nowMs() - before).toBeLessThanOrEqual(SETTINGS.lookMs);
    await other.putTopic({ name: 't', partitions: 2 });
    await appendTo(other, 't', 1, ['b']);
    expect(await take(clock, tail)).toMatchObject([
      { event: 'record', id: '0:1,1:1', data: { partition: 1, offset: 0 } },
    ]);
    expect(clock.nowMs() - before).toBeLessThanOrEqual(5_000);
  });

  it('beats where nothing happens, each time with the id', async () => {
    const { clock, open } = await tailOf(1);
    const tail = await open();
    await take(clock, tail);
    const began = clock.nowMs();
    for (let beat = 1; beat <= 3; beat++) {
      expect(await take(clock, tail)).toMatchObject([{ event: 'heartbeat', id: '0:0' }]);
      expect(clock.nowMs() - began).toBe(beat * SETTINGS.heartbeatMs);
    }
  });

  it('moves the id on behind records that the filter drops', async () => {
    const { clock, broker, open } = await tailOf(1, { request: { filter: 'x' } });
    const tail = await open();
    await take(clock, tail);
    await appendTo(broker, 't', 0, ['a', 'b']);
    expect(await take(clock, tail)).toMatchObject([{ event: 'heartbeat', id: '0:2' }]);
    await appendTo(broker, 't', 0, ['a', 'x1', 'b', 'x2', 'c']);
    const ids = (await take(clock, tail)).map(({ event, id, data }) => [event, id, data.value]);
    expect(ids).toEqual([
      ['record', '0:4', 'x1'],
      ['record', '0:7', 'x2'],
    ]);
  });

  it('beats also while a filter drops everything of much', async () => {
    const { clock, broker, open } = await tailOf(1, {
      request: { filter: 'x', from: parseFrom('earliest') },
      settings: { heartbeatMs: 100 },
      onFetch: (clock) => clock.sleep(60),
    });
    for (let i = 0; i < 8; i++) await appendTo(broker, 't', 0, ['a'.repeat(200_000)]);
    const tail = await open();
    await take(clock, tail);
    const before = clock.nowMs();
    expect(await take(clock, tail)).toMatchObject([{ event: 'heartbeat' }]);
    expect(clock.nowMs() - before).toBeLessThan(200);
  });

  it('lets others run while a filter drops everything of much, though all is in memory', async () => {
    const { clock, broker, open } = await tailOf(1, {
      request: { filter: 'x', from: parseFrom('earliest') },
    });
    for (let i = 0; i < 12; i++) await appendTo(broker, 't', 0, ['a'.repeat(300_000)]);
    await appendTo(broker, 't', 0, ['x']);
    const tail = await open();
    await take(clock, tail);
    const sleep = vi.spyOn(clock, 'sleep');
    expect(await take(clock, tail)).toMatchObject([{ event: 'record', data: { value: 'x' } }]);
    // Once a round, which reads no more than a part or two.
    expect(sleep.mock.calls.filter(([ms]) => ms === 0).length).toBeGreaterThan(5);
  });

  it('tells of a gap and goes on behind it', async () => {
    const { clock, items, objects, broker, open } = await tailOf(1);
    await appendTo(broker, 't', 0, ['a', 'b', 'c', 'd']);
    const tail = await open('0:1');
    await take(clock, tail);
    await dropBefore({ items, objects }, broker, 3);
    expect(await take(clock, tail)).toEqual([
      { event: 'gap', id: '0:3', data: { reason: 'retention', partition: 0, from: 1, to: 3 } },
    ]);
    expect(await take(clock, tail)).toMatchObject([{ event: 'record', id: '0:4', data: { value: 'd' } }]);
  });

  it.each([false, true])('ends with a problem when its topic is deleted (made again: %s)', async (again) => {
    const { clock, broker, stop, open } = await tailOf(1);
    const tail = await open();
    await take(clock, tail);
    await broker.deleteTopic('t');
    if (again) await broker.putTopic({ name: 't' });
    expect(await take(clock, tail)).toMatchObject([{ event: 'error', data: { code: 'unknown_topic', status: 404 } }]);
    expect((await clock.run(tail.next())).done).toBe(true);
    expect(stop.signal.aborted).toBe(true);
  });

  it('ends with a problem where stored data is damaged, and tells of bugs only that there was one', async () => {
    for (const thrown of [new EventLogError('corrupt_data', 'Missing.'), new TypeError('secret')]) {
      const { clock, broker, errors, open } = await tailOf(1, {
        onFetch: () => {
          throw thrown;
        },
      });
      await appendTo(broker, 't', 0, ['a'.repeat(10_000)]);
      const tail = await open('earliest');
      await take(clock, tail);
      const [event] = await take(clock, tail);
      expect(event).toMatchObject({ event: 'error', data: { status: 500 } });
      expect(JSON.stringify(event)).not.toContain('secret');
      expect(errors).toEqual(thrown instanceof TypeError ? [thrown] : []);
      expect((await clock.run(tail.next())).done).toBe(true);
    }
  });

  it('ends after its longest time', async () => {
    const { clock, open } = await tailOf(1, { settings: { tailMaxMs: 40_000 } });
    const tail = await open();
    const began = clock.nowMs();
    const events: string[] = [];
    for (;;) {
      const { done, value } = await clock.run(tail.next());
      if (done) break;
      events.push(...eventsOf(value).map(({ event }) => event));
    }
    expect(events).toEqual(['heartbeat', 'heartbeat', 'heartbeat']);
    expect(clock.nowMs() - began).toBe(40_000);
  });

  it('ends at once when it is stopped, whatever it waits for', async () => {
    const { clock, stop, open } = await tailOf(1);
    const tail = await open();
    await take(clock, tail);
    const waiting = tail.next();
    for (let i = 0; i < 20; i++) await turn();
    stop.abort();
    for (let i = 0; i < 20; i++) await turn();
    expect((await waiting).done).toBe(true);
    expect(clock.sleeping).toBe(0);
  });

  it('fetches nothing while no one takes', async () => {
    let reads = 0;
    const { clock, broker, open } = await tailOf(1, {
      request: { from: parseFrom('earliest') },
      onFetch: () => {
        reads++;
      },
    });
    for (let i = 0; i < 20; i++) await appendTo(broker, 't', 0, ['x'.repeat(500_000)]);
    const tail = await open();
    await take(clock, tail);
    const [first] = await take(clock, tail);
    await clock.advance(60_000);
    expect(reads).toBe(1);
    expect(first?.id).toBe('0:1');
    const offsets = new Set([first?.data.offset]);
    while (offsets.size < 20)
      for (const { event, data } of await take(clock, tail)) if (event === 'record') offsets.add(data.offset);
    expect([...offsets]).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('reads partitions in turns, so that none waits for the end of another', async () => {
    const { clock, broker, open } = await tailOf(2, { request: { from: parseFrom('earliest') } });
    for (let i = 0; i < 8; i++) await appendTo(broker, 't', 0, ['x'.repeat(300_000)]);
    await appendTo(broker, 't', 1, ['small']);
    const tail = await open();
    await take(clock, tail);
    const order: unknown[] = [];
    while (!order.includes(1)) order.push(...(await take(clock, tail)).map(({ data }) => data.partition));
    expect(order.length).toBeLessThan(8);
  });

  it('of many partitions gives an id only to the last record of a piece', async () => {
    const { clock, broker, open } = await tailOf(65);
    const tail = await open();
    await take(clock, tail);
    await appendTo(broker, 't', 64, ['a', 'b', 'c']);
    const events = await take(clock, tail);
    expect(events.map(({ id }) => id?.endsWith(',64:3'))).toEqual([undefined, undefined, true]);
  });

  it('of too many partitions is refused; one of them can be followed', async () => {
    const { clock, broker, open } = await tailOf(1_001);
    await expect(open()).rejects.toThrow(/At most 1000 partitions/);
    const single = await tailOf(1_001, { request: { partition: 1_000 } });
    const tail = await single.open();
    await take(single.clock, tail);
    await appendTo(single.broker, 't', 1_000, ['a']);
    expect(await take(single.clock, tail)).toMatchObject([{ event: 'record', id: '1000:1' }]);
    expect(clock.sleeping).toBe(0);
    await broker.close();
  });
});
