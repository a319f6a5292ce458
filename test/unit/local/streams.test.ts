import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { parseEventId } from '../../../shared/http/read/event-id.ts';
import { LocalHttpServer } from '../../../shared/local/http-server.ts';
import { startTailrace, type Tailrace } from '../../../shared/local/start.ts';
import { packTotals } from '../../../shared/log/head/head.ts';
import { HEAD, headKey } from '../../../shared/storage/keys.ts';
import { compressingProxy } from '../../support/compressing-proxy.ts';
import { EventReader } from '../../support/event-reader.ts';
import { memoryApp } from '../../support/memory-app.ts';
import { appendTo } from '../../support/memory-broker.ts';

/** Live tails over real sockets: what lies between a server and its readers. */

const closing: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function start(): Promise<Tailrace> {
  const tailrace = await startTailrace({ memory: true });
  closing.push(() => tailrace.close());
  return tailrace;
}

async function follow(url: string, headers: Record<string, string> = {}): Promise<EventReader> {
  const reader = await EventReader.open((init) => fetch(url, init), headers);
  closing.push(() => reader.close());
  return reader;
}

/** The answer's first bytes, or `undefined` if none come within `ms`. */
async function firstBytes(answer: Response, ms: number): Promise<Uint8Array | undefined> {
  const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([reader.read().then(({ value }) => value), late]);
  } finally {
    clearTimeout(timer);
    await reader.cancel();
  }
}

describe('behind a proxy that compresses', () => {
  it('events arrive one by one, as they are sent', async () => {
    const { url, broker } = await start();
    await broker.putTopic({ name: 't' });
    const proxy = await compressingProxy(url);
    closing.push(() => proxy.close());
    const events = await follow(`${proxy.url}/v1/topics/t/tail`, { 'Accept-Encoding': 'gzip' });
    expect(events.response.headers.get('content-encoding')).toBeNull();
    expect((await events.next())?.event).toBe('heartbeat');
    for (const value of ['a', 'b', 'c']) {
      await appendTo(broker, 't', 0, [value]);
      expect(JSON.parse((await events.next())?.data ?? '').value).toBe(value);
    }
  });

  it('other answers are compressed, and an event stream that may be transformed is held back', async () => {
    const { url, broker } = await start();
    await broker.putTopic({ name: 't' });
    await appendTo(broker, 't', 0, ['a']);
    const proxy = await compressingProxy(url);
    closing.push(() => proxy.close());
    const read = await fetch(`${proxy.url}/v1/topics/t/partitions/0/records`);
    expect(read.headers.get('content-encoding')).toBe('gzip');
    expect(await read.json()).toMatchObject({ records: [{ value: 'a' }] });

    const careless = createServer((_, answer) => {
      answer.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      answer.write('event: heartbeat\ndata: {}\n\n');
    });
    await new Promise<void>((resolve) => careless.listen(0, '127.0.0.1', resolve));
    closing.push(async () => {
      careless.closeAllConnections();
      careless.close();
    });
    const holding = await compressingProxy(`http://127.0.0.1:${(careless.address() as AddressInfo).port}`);
    closing.push(() => holding.close());
    // The ten bytes of gzip's own header may pass; no event does.
    expect((await firstBytes(await fetch(holding.url), 300))?.length ?? 0).toBeLessThanOrEqual(10);
  });
});

describe('a tail of 1,000 partitions', () => {
  it('is resumed with the id that the server gave, by header and by parameter, at offsets of 12 digits', async () => {
    const { broker, items, app } = memoryApp();
    const server = new LocalHttpServer({ fetch: app.fetch, ownProcess: false });
    const url = await server.listen(0, '127.0.0.1');
    closing.push(async () => {
      server.cut();
      await server.finish();
    });
    await broker.putTopic({ name: 't', partitions: 1_000 });
    const { topicId } = await broker.describeTopic('t');
    // As if each partition had had so many records, all of which retention has dropped.
    for (let head = 0; head < 63; head++) {
      const slots = Array.from({ length: Math.min(16, 1_000 - head * 16) }, (_, slot) => slot);
      const offsetOf = (slot: number): number => 999_999_999_999 - (head * 16 + slot) * 899_000_000;
      const totals = slots.map((slot) => ({ nextOffset: offsetOf(slot), maxTimestampMs: 0, bytes: 0 }));
      await items.put(headKey(topicId, head), {
        ...Object.fromEntries(
          slots.flatMap((slot) => [HEAD.next(slot), HEAD.start(slot)].map((name) => [name, offsetOf(slot)])),
        ),
        [HEAD.totalsBeforeTail]: packTotals(totals),
      });
    }
    const path = `${url}/v1/topics/t/tail`;
    const events = await follow(path);
    const id = (await events.next())?.id ?? '';
    const offsets = parseEventId(id)?.offsets ?? new Map<number, number>();
    expect([offsets.size, offsets.get(0), String(offsets.get(999)).length]).toEqual([1_000, 999_999_999_999, 12]);
    expect(id.length).toBeLessThan(8_000);
    await appendTo(broker, 't', 999, ['news']);
    for (const resumed of [
      await follow(path, { 'Last-Event-ID': id }),
      await follow(`${path}?lastEventId=${id}`),
      await follow(`${path}?from=${id}`),
    ]) {
      expect((await resumed.next())?.id).toBe(id);
      const record = await resumed.nextOf('record');
      expect(JSON.parse(record.data)).toMatchObject({ partition: 999, offset: offsets.get(999), value: 'news' });
      // Also the id of the record comes back.
      const last = await follow(path, { 'Last-Event-ID': record.id ?? '' });
      expect((await last.next())?.id).toBe(record.id);
    }
  });
});
