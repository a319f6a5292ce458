import { afterEach, describe, expect, it } from 'vitest';
import { eventId, parseEventId } from '../../../../shared/http/read/event-id.ts';
import { EventReader } from '../../../support/event-reader.ts';
import { type MemoryApp, memoryApp } from '../../../support/memory-app.ts';
import { appendTo, memoryBroker } from '../../../support/memory-broker.ts';

/** How a client that lost its connection goes on: with what it sends, and in which topic. */

const SSE = 'text/event-stream';
const open: EventReader[] = [];

afterEach(async () => {
  for (const reader of open.splice(0)) await reader.close();
});

async function follow(app: MemoryApp, path: string, headers: Record<string, string> = {}): Promise<EventReader> {
  const reader = await EventReader.open((init) => Promise.resolve(app.app.request(path, init)), {
    Accept: SSE,
    ...headers,
  });
  open.push(reader);
  return reader;
}

async function topicOf(partitions: number, values: readonly string[]): Promise<MemoryApp> {
  const app = memoryApp();
  await app.broker.putTopic({ name: 't', partitions });
  if (values.length > 0) await appendTo(app.broker, 't', 0, values);
  return app;
}

/** Takes records until so many have come: their values, and the id of the last one. */
async function take(reader: EventReader, count: number): Promise<{ values: unknown[]; id: string }> {
  const values: unknown[] = [];
  let id = '';
  while (values.length < count) {
    const event = await reader.nextOf('record');
    values.push(JSON.parse(event.data).value);
    id = event.id ?? id;
  }
  return { values, id };
}

async function makeAgain(app: MemoryApp, values: readonly string[], partitions = 1): Promise<string> {
  await app.broker.deleteTopic('t');
  await app.broker.putTopic({ name: 't', partitions });
  if (values.length > 0) await appendTo(app.broker, 't', 0, values);
  return (await app.broker.describeTopic('t')).topicId;
}

describe('a tail that is resumed', () => {
  it('takes the id from the header, the parameter lastEventId or the parameter from, in this order', async () => {
    const app = await topicOf(1, ['a', 'b', 'c', 'd', 'e']);
    const reader = await follow(app, '/v1/topics/t/tail?from=earliest');
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push((await take(reader, 1)).id);
    const [first, second, third] = ids as [string, string, string];
    const path = '/v1/topics/t/tail';
    const onePartition = '/v1/topics/t/partitions/0/records';
    for (const [url, header, value] of [
      [`${path}?from=${first}`, undefined, 'b'],
      // As event-source-polyfill and reconnecting-eventsource send it: behind what the URL had.
      [`${path}?from=${first}&lastEventId=${second}`, undefined, 'c'],
      // As the browser's own EventSource does beneath the latter: the URL stays, the header is newer.
      [`${path}?from=${first}&lastEventId=${second}`, third, 'd'],
      [`${path}?lastEventId=${second}`, '', 'c'],
      [`${path}?from=${first}&lastEventId=`, undefined, 'b'],
      [`${onePartition}?offset=0&lastEventId=${second}`, undefined, 'c'],
      [`${onePartition}?offset=0&lastEventId=${second}`, third, 'd'],
    ] as const) {
      const resumed = await follow(app, url, header === undefined ? {} : { 'Last-Event-ID': header });
      expect((await take(resumed, 1)).values, `${url} ${header}`).toEqual([value]);
    }
  });

  it('takes offsets that are written by hand in from, and nowhere else: they name no topic', async () => {
    const app = await topicOf(1, ['a', 'b', 'c']);
    expect((await take(await follow(app, '/v1/topics/t/tail?from=0:2'), 1)).values).toEqual(['c']);
    for (const [field, query, headers] of [
      ['lastEventId', '?lastEventId=0:2', {}],
      ['Last-Event-ID', '?lastEventId=0:2', { 'Last-Event-ID': '0:2' }],
    ] as const) {
      const answer = await app.call('GET', `/v1/topics/t/tail${query}`, { headers });
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({ code: 'invalid_request', field });
    }
  });

  it.each(['from', 'lastEventId', 'Last-Event-ID'])(
    'is refused beyond the end with an error that names %s',
    async (field) => {
      const app = await topicOf(1, ['a', 'b', 'c']);
      const { topicId } = await app.broker.describeTopic('t');
      const id = eventId(topicId, new Map([[0, 4]]));
      const isHeader = field === 'Last-Event-ID';
      const answer = await app.call('GET', `/v1/topics/t/tail${isHeader ? '' : `?${field}=${id}`}`, {
        headers: isHeader ? { [field]: id } : {},
      });
      expect(answer.status).toBe(400);
      expect(await answer.json()).toMatchObject({
        code: 'invalid_request',
        field,
        detail: expect.stringContaining('ends at offset 3'),
      });
    },
  );

  it('is refused if an id is longer than 12,000 characters', async () => {
    const app = await topicOf(1, []);
    const answer = await app.call('GET', `/v1/topics/t/tail?lastEventId=${'1'.repeat(12_001)}`);
    expect(await answer.json()).toMatchObject({ status: 400, code: 'invalid_request', field: 'lastEventId' });
  });

  it('is refused where an answer has an end', async () => {
    const app = await topicOf(1, ['a']);
    const answer = await app.call('GET', '/v1/topics/t/partitions/0/records?lastEventId=0:1');
    expect(answer.status).toBe(400);
    expect(await answer.json()).toMatchObject({ code: 'invalid_request', field: 'lastEventId' });
  });

  it('is refused in a partition that the topic does not have', async () => {
    const app = await topicOf(2, ['a']);
    const answer = await app.call('GET', '/v1/topics/t/tail?from=0:1,2:0');
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ code: 'unknown_partition', partition: 2 });
  });

  it('finds partitions that another process has added, while memory has fewer', async () => {
    const app = await topicOf(1, ['a']);
    const open = () => memoryApp({ http: { broker: memoryBroker(app, { topicCacheMs: 3_600_000 }) } });
    for (const path of ['/v1/topics/t/tail?from=0:1,1:0', '/v1/topics/t/partitions/1/records']) {
      const other = open();
      await take(await follow(other, '/v1/topics/t/tail?from=earliest'), 1);
      await app.broker.putTopic({ name: 't', partitions: 2 });
      await appendTo(app.broker, 't', 1, ['b']);
      expect((await take(await follow(other, path), 1)).values, path).toEqual(['b']);
      await app.broker.deleteTopic('t');
      await app.broker.putTopic({ name: 't', partitions: 1 });
      await appendTo(app.broker, 't', 0, ['a']);
    }
  });

  it('may come with an id of all partitions to one of them, and the other way round', async () => {
    const app = await topicOf(2, ['a', 'b']);
    await appendTo(app.broker, 't', 1, ['A', 'B']);
    const { id } = await take(await follow(app, '/v1/topics/t/tail?from=0:1,1:1'), 2);
    const one = await follow(app, '/v1/topics/t/partitions/1/records', { 'Last-Event-ID': id });
    await appendTo(app.broker, 't', 1, ['C']);
    const taken = await take(one, 1);
    expect(taken.values).toEqual(['C']);
    const all = await follow(app, '/v1/topics/t/tail', { 'Last-Event-ID': taken.id });
    expect((await take(all, 2)).values).toEqual(['a', 'b']);
  });
});

describe('a tail that is resumed in a topic that was deleted and made again', () => {
  it.each([
    ['all partitions', '/v1/topics/t/tail'],
    ['one partition', '/v1/topics/t/partitions/0/records'],
  ])('is told so first, and has every record of the new topic (%s)', async (_what, path) => {
    const app = await topicOf(1, ['old1', 'old2', 'old3']);
    const { id } = await take(await follow(app, '/v1/topics/t/tail?from=earliest'), 3);
    const topicId = await makeAgain(app, ['new1', 'new2', 'new3', 'new4', 'new5']);
    const resumed = await follow(app, path, { 'Last-Event-ID': id });
    const gap = await resumed.next();
    expect(gap).toMatchObject({ event: 'gap' });
    expect(JSON.parse(gap?.data ?? '')).toEqual({ reason: 'topic_recreated', topicId, continuesFrom: 'earliest' });
    const { values, id: newId } = await take(resumed, 5);
    expect(values).toEqual(['new1', 'new2', 'new3', 'new4', 'new5']);
    expect(parseEventId(newId)?.life).toBe(topicId.slice(0, 8));
    // The client sends the new id from now on, and is told no gap again.
    const again = await follow(app, path, { 'Last-Event-ID': newId });
    expect((await again.next())?.event).toBe('heartbeat');
  });

  it('is told so if the connection broke before anything but the gap came', async () => {
    const app = await topicOf(1, ['old']);
    const { id } = await take(await follow(app, '/v1/topics/t/tail?from=earliest'), 1);
    await makeAgain(app, ['new']);
    const gap = await (await follow(app, '/v1/topics/t/tail', { 'Last-Event-ID': id })).next();
    const resumed = await follow(app, '/v1/topics/t/tail', { 'Last-Event-ID': gap?.id as string });
    expect((await resumed.next())?.event).toBe('heartbeat');
    expect((await take(resumed, 1)).values).toEqual(['new']);
  });

  it('has every record also if the new topic is shorter, or has fewer partitions', async () => {
    const app = await topicOf(3, ['old1', 'old2']);
    await appendTo(app.broker, 't', 2, ['old3']);
    const { id } = await take(await follow(app, '/v1/topics/t/tail?from=earliest'), 3);
    await makeAgain(app, ['new1']);
    const resumed = await follow(app, '/v1/topics/t/tail', { 'Last-Event-ID': id });
    expect((await resumed.next())?.event).toBe('gap');
    expect((await take(resumed, 1)).values).toEqual(['new1']);
  });

  it('ends in a useful state for a client that sends the same id for ever', async () => {
    const app = await topicOf(1, ['old']);
    const reader = await follow(app, '/v1/topics/t/tail?from=earliest');
    const { id } = await take(reader, 1);
    await app.broker.deleteTopic('t');
    // What EventSource meets: the stream ends with an error, then 404, at which it gives up,
    expect(JSON.parse((await reader.nextOf('error')).data)).toMatchObject({ code: 'unknown_topic' });
    expect(await reader.next()).toBeUndefined();
    const headers = { 'Last-Event-ID': id };
    expect((await app.call('GET', '/v1/topics/t/tail', { headers })).status).toBe(404);
    // or, if the topic is made again before it comes back, the new topic from its beginning.
    await app.broker.putTopic({ name: 't' });
    await appendTo(app.broker, 't', 0, ['new']);
    for (let i = 0; i < 2; i++) {
      const resumed = await follow(app, '/v1/topics/t/tail', headers);
      expect((await resumed.next())?.event).toBe('gap');
      expect((await take(resumed, 1)).values).toEqual(['new']);
    }
  });

  it('is not told so of a topic that another process made again, while memory has the earlier one', async () => {
    const app = await topicOf(1, ['old']);
    // Another process over the same stores, which has seen nothing of the deletion.
    const other = memoryApp({ http: { broker: memoryBroker(app, { topicCacheMs: 3_600_000 }) } });
    await take(await follow(other, '/v1/topics/t/tail?from=earliest'), 1);
    await makeAgain(app, ['new1', 'new2']);
    const { id } = await take(await follow(app, '/v1/topics/t/tail?from=earliest'), 1);
    const resumed = await follow(other, '/v1/topics/t/tail', { 'Last-Event-ID': id });
    expect((await resumed.next())?.event).toBe('heartbeat');
    expect((await take(resumed, 1)).values).toEqual(['new2']);
  });
});

describe('the answer of a tail', () => {
  it.each([
    ['GET', '/v1/topics/t/tail'],
    ['HEAD', '/v1/topics/t/tail'],
    ['GET', '/v1/topics/t/partitions/0/records'],
  ])('to %s %s tells proxies to pass it on unchanged and at once', async (method, path) => {
    const app = await topicOf(1, []);
    const answer = await app.call(method, path, { headers: { Accept: SSE } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store, no-transform');
    expect(answer.headers.get('x-accel-buffering')).toBe('no');
    await answer.body?.cancel();
  });

  it('that has an end may be compressed on its way', async () => {
    const app = await topicOf(1, ['a']);
    const answer = await app.call('GET', '/v1/topics/t/partitions/0/records');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    await answer.text();
  });
});
