import { expect } from 'vitest';
import { positionsOf } from '../../support/event-reader.ts';
import type { Case } from '../suite.ts';
import { type Client, SSE } from './client.ts';

/** What the HTTP API promises of live tails. */
export function tailCases(test: Case<Client>): void {
  test('follows all partitions of a topic as events', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(topic, [{ value: 'old', partition: 0 }]);
    const events = await http.events(`/v1/topics/${topic}/tail`);
    try {
      expect(events.response.headers.get('content-type')).toBe(SSE);
      const opening = await events.next();
      expect([opening?.event, positionsOf(opening?.id)]).toEqual(['heartbeat', '0:1,1:0']);
      await http.append(topic, [{ value: { n: 1 }, key: 'k', partition: 1, timestamp: 1_763_722_800_000 }]);
      const first = await events.nextOf('record');
      expect(positionsOf(first.id)).toBe('0:1,1:1');
      expect(JSON.parse(first.data)).toEqual({
        partition: 1,
        offset: 0,
        timestamp: 1_763_722_800_000,
        key: 'k',
        value: { n: 1 },
        headers: [],
      });
      await http.append(topic, [{ value: 'line\nbreak', partition: 0 }]);
      const second = await events.nextOf('record');
      expect(positionsOf(second.id)).toBe('0:2,1:1');
      expect(JSON.parse(second.data).value).toBe('line\nbreak');
    } finally {
      await events.close();
    }
  });

  test('goes on behind the last event that was seen', async (http, topic) => {
    await http.topic(topic, 2);
    const records = Array.from({ length: 10 }, (_, i) => ({ value: `v${i}`, partition: i % 2 }));
    await http.append(topic, records);
    const seen: string[] = [];
    let id = '';
    for (let turn = 0; turn < 5; turn++) {
      const events = await http.events(
        `/v1/topics/${topic}/tail?from=earliest`,
        id === '' ? {} : { 'Last-Event-ID': id },
      );
      for (let i = 0; i < 2; i++) {
        const event = await events.nextOf('record');
        seen.push(JSON.parse(event.data).value);
        id = event.id as string;
      }
      await events.close();
    }
    expect(seen.sort()).toEqual(records.map(({ value }) => value).sort());
    const byQuery = await http.events(`/v1/topics/${topic}/tail?from=${encodeURIComponent('0:5,1:4')}`);
    expect(JSON.parse((await byQuery.nextOf('record')).data)).toMatchObject({ partition: 1, offset: 4 });
    await byQuery.close();
  });

  test('follows from a time, and only what has a text', async (http, topic) => {
    await http.topic(topic);
    await http.append(
      topic,
      ['apple', 'pear', 'apple pie'].map((value, i) => ({ value, timestamp: 1_763_722_800_000 + i })),
    );
    const late = await http.events(`/v1/topics/${topic}/tail?from=ts:1763722800001`);
    expect(JSON.parse((await late.nextOf('record')).data).value).toBe('pear');
    await late.close();
    const filtered = await http.events(`/v1/topics/${topic}/tail?from=earliest&filter=apple`);
    expect(JSON.parse((await filtered.nextOf('record')).data).value).toBe('apple');
    const second = await filtered.nextOf('record');
    expect([JSON.parse(second.data).value, positionsOf(second.id)]).toEqual(['apple pie', '0:3']);
    await filtered.close();
  });

  test('finds partitions that are added while it follows', async (http, topic) => {
    await http.topic(topic);
    const events = await http.events(`/v1/topics/${topic}/tail`);
    await http.call('PUT', `/v1/topics/${topic}`, { body: { partitions: 3 } });
    await http.append(topic, [{ value: 'new', partition: 2 }]);
    const event = await events.nextOf('record');
    expect([positionsOf(event.id), JSON.parse(event.data).partition]).toEqual(['0:0,1:0,2:1', 2]);
    await events.close();
  });

  test('ends a tail whose topic is deleted, with the problem', async (http, topic) => {
    await http.topic(topic);
    const events = await http.events(`/v1/topics/${topic}/tail`);
    await http.call('DELETE', `/v1/topics/${topic}`);
    const event = await events.nextOf('error');
    expect(JSON.parse(event.data)).toMatchObject({ code: 'unknown_topic', status: 404 });
    expect(await events.next()).toBeUndefined();
  });

  test('tells a tail that is resumed that its topic was made again, and begins with its first record', async (http, topic) => {
    await http.topic(topic);
    await http.append(topic, [{ value: 'old' }]);
    const events = await http.events(`/v1/topics/${topic}/tail?from=earliest`);
    const { id = '' } = await events.nextOf('record');
    await events.close();
    await http.call('DELETE', `/v1/topics/${topic}`);
    await http.topic(topic);
    await http.append(topic, [{ value: 'new' }, { value: 'newer' }]);
    const resumed = await http.events(`/v1/topics/${topic}/tail?lastEventId=${id}`);
    const gap = await resumed.next();
    expect([gap?.event, JSON.parse(gap?.data ?? '{}').reason]).toEqual(['gap', 'topic_recreated']);
    expect(JSON.parse((await resumed.nextOf('record')).data)).toMatchObject({ offset: 0, value: 'new' });
    await resumed.close();
  });

  test('follows one partition as events', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(
      topic,
      ['a', 'b', 'c'].map((value) => ({ value, partition: 1 })),
    );
    const path = `/v1/topics/${topic}/partitions/1/records`;
    const events = await http.events(`${path}?offset=1`, { Accept: SSE });
    const first = await events.nextOf('record');
    expect([positionsOf(first.id), JSON.parse(first.data).value]).toEqual(['1:2', 'b']);
    await events.close();
    const resumed = await http.events(`${path}?offset=0`, { Accept: SSE, 'Last-Event-ID': first.id as string });
    expect(JSON.parse((await resumed.nextOf('record')).data).value).toBe('c');
    await resumed.close();
    const asEvents = { headers: { Accept: SSE } };
    expect((await http.problem('GET', `${path}?offset=9`, asEvents)).code).toBe('offset_out_of_range');
    expect((await http.problem('GET', `${path}?limit=9`, asEvents)).field).toBe('limit');
    expect((await http.problem('GET', `/v1/topics/${topic}/partitions/2/records`, asEvents)).code).toBe(
      'unknown_partition',
    );
  });

  test('refuses beginnings of a tail that make no sense', async (http, topic) => {
    await http.topic(topic);
    for (const from of [
      'x',
      '0',
      '0:',
      '0:-1',
      '0:1,0:2',
      '0:1,',
      'ts:',
      'ts:99999999999999999',
      '0:99999999999999999',
      '0:5',
    ]) {
      const problem = await http.problem('GET', `/v1/topics/${topic}/tail?from=${encodeURIComponent(from)}`);
      expect(problem, from).toMatchObject({ code: 'invalid_request', field: 'from' });
    }
    const again = await http.problem('GET', `/v1/topics/${topic}/tail`, { headers: { 'Last-Event-ID': 'x' } });
    expect(again.field).toBe('Last-Event-ID');
    expect((await http.problem('GET', `/v1/topics/${topic}/tail?filter=`)).field).toBe('filter');
    expect((await http.problem('GET', `/v1/topics/${topic}-missing/tail`)).code).toBe('unknown_topic');
  });
}
