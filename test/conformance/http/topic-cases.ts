import { expect } from 'vitest';
import type { TopicDetail, TopicOutput, TopicPage, VerificationOutput } from '../../../shared/http/topics/contract.ts';
import type { Case } from '../suite.ts';
import type { Client } from './client.ts';

/** What the HTTP API promises of topics. */
export function topicCases(test: Case<Client>): void {
  test('makes a topic, finds it the same, and changes it', async (http, topic) => {
    const path = `/v1/topics/${topic}`;
    const made = await http.call<TopicOutput>('PUT', path, {
      body: { partitions: 2, config: { 'retention.ms': 60_000 } },
    });
    expect(made.status).toBe(201);
    expect(made.json).toMatchObject({ name: topic, partitions: 2 });
    expect(made.json.config['retention.ms']).toEqual({ value: 60_000, source: 'topic' });
    expect(made.json.config['cleanup.policy']).toEqual({ value: 'delete', source: 'default' });
    const same = await http.call('PUT', path, { body: { partitions: 2, config: { 'retention.ms': '60000' } } });
    expect(same.status).toBe(200);
    expect(same.json).toEqual(made.json);
    const grown = await http.call<TopicOutput>('PUT', path, {
      body: { partitions: 3, config: { 'retention.ms': null } },
    });
    expect(grown.status).toBe(200);
    expect(grown.json).toMatchObject({ partitions: 3, topicId: made.json.topicId });
    expect(grown.json.config['retention.ms'].source).toBe('default');
    expect(await http.problem('PUT', path, { body: { partitions: 2 } })).toMatchObject({
      code: 'topic_conflict',
      status: 409,
    });
  });

  test('makes a topic without a body', async (http, topic) => {
    const { status, json } = await http.call('PUT', `/v1/topics/${topic}`);
    expect(status).toBe(201);
    expect(json.partitions).toBe(1);
  });

  test('describes a topic with its partitions', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(topic, [
      { value: 'a', partition: 1 },
      { value: 'b', partition: 1 },
    ]);
    const { json } = await http.call<TopicDetail>('GET', `/v1/topics/${topic}`);
    expect(json.partitionStates).toEqual([
      { partition: 0, logStartOffset: 0, highWatermark: 0, bytes: 0 },
      { partition: 1, logStartOffset: 0, highWatermark: 2, bytes: expect.any(Number) },
    ]);
    expect(json.partitionStates[1]?.bytes).toBeGreaterThan(60);
  });

  test('deletes the oldest records of a partition', async (http, topic) => {
    await http.topic(topic, 1);
    await http.append(
      topic,
      ['a', 'b', 'c'].map((value) => ({ value, partition: 0 })),
    );
    const path = `/v1/topics/${topic}/partitions/0/records`;
    const ends = (logStartOffset: number) => ({ partition: 0, logStartOffset, highWatermark: 3 });
    for (let time = 0; time < 2; time++)
      expect(await http.call('DELETE', `${path}?before=2`)).toMatchObject({ status: 200, json: ends(2) });
    expect((await http.call('DELETE', `${path}?before=1`)).json).toEqual(ends(2));
    expect(await http.problem('GET', `${path}?offset=1`)).toMatchObject({ code: 'offset_out_of_range' });
    expect((await http.call<{ records: unknown[] }>('GET', path)).json.records).toMatchObject([
      { offset: 2, value: 'c' },
    ]);
    expect(await http.problem('DELETE', `${path}?before=4`)).toMatchObject({
      code: 'offset_out_of_range',
      status: 416,
      logStartOffset: 2,
      highWatermark: 3,
    });
    for (const query of ['', '?before=', '?before=-1', '?before=all', '?before=1.5', '?before=99999999999999999999'])
      expect(await http.problem('DELETE', `${path}${query}`)).toMatchObject({
        code: 'invalid_request',
        field: 'before',
      });
    expect((await http.call('DELETE', `${path}?before=end`)).json).toEqual(ends(3));
    expect(await http.problem('DELETE', `${path.replace('/0/', '/1/')}?before=0`)).toMatchObject({
      code: 'unknown_partition',
    });
  });

  test('lists topics in pages, in order', async (http, prefix) => {
    const names = Array.from({ length: 5 }, (_, i) => `${prefix}-page-${i}`);
    for (const topic of names) await http.topic(topic);
    const found: string[] = [];
    let token: string | undefined;
    do {
      const query: string = token === undefined ? '' : `&pageToken=${encodeURIComponent(token)}`;
      const { json } = await http.call<TopicPage>('GET', `/v1/topics?limit=2${query}`);
      expect(json.items.length).toBeLessThanOrEqual(2);
      found.push(...json.items.map((item) => item.name));
      token = json.nextPageToken;
    } while (token !== undefined);
    expect(found.filter((topic) => topic.startsWith(`${prefix}-page`))).toEqual(names);
    expect(found).toEqual([...found].sort());
    expect((await http.problem('GET', '/v1/topics?pageToken=!')).field).toBe('pageToken');
    expect((await http.problem('GET', '/v1/topics?limit=0')).field).toBe('limit');
  });

  test('verifies a topic, in pages', async (http, topic) => {
    await http.topic(topic, 2);
    for (let i = 0; i < 12; i++)
      await http.append(topic, [{ value: 'v'.repeat(i % 3 === 0 ? 20_000 : 5), partition: i % 2 }]);
    const path = `/v1/topics/${topic}/verification`;
    const whole = await http.call<VerificationOutput>('GET', `${path}?deep=true`);
    expect([whole.status, whole.json.problems, whole.json.nextPageToken]).toEqual([200, [], undefined]);
    expect(whole.json.partitions).toMatchObject([
      { partition: 0, logStartOffset: 0, highWatermark: 6, records: 6 },
      { partition: 1, logStartOffset: 0, highWatermark: 6, records: 6 },
    ]);
    const partitions: VerificationOutput['partitions'][number][] = [];
    for (let query = 'maxBytes=1'; ; ) {
      const { json } = await http.call<VerificationOutput>('GET', `${path}?${query}`);
      expect(json.problems).toEqual([]);
      partitions.push(...json.partitions);
      if (json.nextPageToken === undefined) break;
      query = `maxBytes=1&pageToken=${encodeURIComponent(json.nextPageToken)}`;
    }
    expect(partitions.map(({ setHash }) => setHash)).toEqual(whole.json.partitions.map(({ setHash }) => setHash));
  });

  test('deletes a topic, once', async (http, topic) => {
    await http.topic(topic);
    const { status, text } = await http.call('DELETE', `/v1/topics/${topic}`);
    expect([status, text]).toEqual([204, '']);
    for (const method of ['GET', 'DELETE']) {
      expect(await http.problem(method, `/v1/topics/${topic}`)).toMatchObject({ code: 'unknown_topic', status: 404 });
    }
    await http.topic(topic);
    expect(await http.values(topic)).toEqual([]);
  });
}
