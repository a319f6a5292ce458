import { expect } from 'vitest';
import type { FetchPlanOutput, ReadOutput, SegmentPage } from '../../../shared/http/read/contract.ts';
import type { Case } from '../suite.ts';
import { BATCHES, type Client, NDJSON, recordsOf } from './client.ts';

/** What the HTTP API promises of reads, fetch plans and the segment map. */
export function readCases(test: Case<Client>): void {
  test('reads from an offset, a time, or the end, so many records', async (http, topic) => {
    await http.topic(topic);
    await http.append(
      topic,
      Array.from({ length: 10 }, (_, i) => ({ value: `v${i}`, timestamp: 1_763_722_800_000 + i * 1_000 })),
    );
    const read = async (query: string) => {
      const { json } = await http.call<ReadOutput>('GET', `/v1/topics/${topic}/partitions/0/records?${query}`);
      return [json.records.map(({ offset }) => offset), json.nextOffset];
    };
    expect(await read('offset=7')).toEqual([[7, 8, 9], 10]);
    expect(await read('offset=10')).toEqual([[], 10]);
    expect(await read('limit=3')).toEqual([[0, 1, 2], 3]);
    expect(await read('offset=8&limit=2')).toEqual([[8, 9], 10]);
    expect(await read('timestamp=1763722804500')).toEqual([[5, 6, 7, 8, 9], 10]);
    expect(await read('timestamp=1763722899999')).toEqual([[], 10]);
    expect(await read('tail=2')).toEqual([[8, 9], 10]);
    expect(await read('tail=0')).toEqual([[], 10]);
    expect(await read('tail=99999')).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10]);
    expect(await read('maxBytes=1')).toEqual([[0], 1]);
    expect(await read('maxBytes=5&offset=2')).toEqual([[2, 3, 4], 5]);
    const path = `/v1/topics/${topic}/partitions/0/records`;
    expect(await http.problem('GET', `${path}?offset=11`)).toMatchObject({
      code: 'offset_out_of_range',
      status: 416,
      logStartOffset: 0,
      highWatermark: 10,
    });
    expect((await http.problem('GET', `${path}?offset=1&tail=1`)).field).toBe('tail');
    expect((await http.problem('GET', `/v1/topics/${topic}/partitions/1/records`)).code).toBe('unknown_partition');
  });

  test('reads on from page to page without loss', async (http, topic) => {
    await http.topic(topic);
    for (let i = 0; i < 5; i++)
      await http.append(
        topic,
        Array.from({ length: 7 }, (_, k) => ({ value: i * 7 + k })),
      );
    const values: unknown[] = [];
    let offset = 0;
    for (;;) {
      const { json } = await http.call<ReadOutput>(
        'GET',
        `/v1/topics/${topic}/partitions/0/records?offset=${offset}&limit=4&encoding=json`,
      );
      if (json.records.length === 0) break;
      values.push(...json.records.map(({ value }) => value));
      offset = json.nextOffset;
    }
    expect(values).toEqual(Array.from({ length: 35 }, (_, i) => i));
  });

  test('reads NDJSON, the positions on the last line', async (http, topic) => {
    await http.topic(topic);
    const path = `/v1/topics/${topic}/partitions/0/records`;
    const empty = await http.call('GET', path, { headers: { Accept: NDJSON } });
    expect(empty.text).toBe('{"end":{"nextOffset":0,"logStartOffset":0,"highWatermark":0}}\n');
    await http.append(topic, [{ value: { $base64: btoa('{\n"a":\r1}') } }, { value: 'b\n' }]);
    const { text, headers } = await http.call('GET', path, { headers: { Accept: NDJSON } });
    expect(headers.get('content-type')).toBe(NDJSON);
    const lines = text.split('\n');
    expect(lines.pop()).toBe('');
    const parsed = lines.map((line) => JSON.parse(line));
    expect(parsed.slice(0, -1).map(({ value }) => value)).toEqual([{ a: 1 }, 'b\n']);
    expect(parsed.at(-1)).toEqual({ end: { nextOffset: 2, logStartOffset: 0, highWatermark: 2 } });
  });

  test('streams answers of many megabytes', async (http, topic) => {
    await http.topic(topic);
    const value = 'x'.repeat(100_000);
    for (let i = 0; i < 4; i++)
      await http.append(
        topic,
        Array.from({ length: 20 }, () => ({ value })),
      );
    const path = `/v1/topics/${topic}/partitions/0/records?maxBytes=60000000`;
    const { json } = await http.call<ReadOutput>('GET', path);
    expect(json.records).toHaveLength(80);
    expect(json.records.every((record) => record.value === value)).toBe(true);
    const raw = await http.call('GET', path, { headers: { Accept: BATCHES } });
    expect(recordsOf(raw.bytes)).toHaveLength(80);
    const ndjson = await http.call('GET', path, { headers: { Accept: NDJSON } });
    expect(ndjson.text.trimEnd().split('\n')).toHaveLength(81);
  });

  test('waits at the end for records, and no longer than asked', async (http, topic) => {
    await http.topic(topic);
    const path = `/v1/topics/${topic}/partitions/0/records?offset=0`;
    const before = performance.now();
    expect((await http.call('GET', `${path}&waitMs=200`)).json.records).toEqual([]);
    expect(performance.now() - before).toBeGreaterThanOrEqual(190);
    const waiting = http.call('GET', `${path}&waitMs=15000`);
    await new Promise((resolve) => setTimeout(resolve, 50));
    await http.append(topic, [{ value: 'now' }]);
    expect((await waiting).json.records).toMatchObject([{ value: 'now' }]);
  });

  test('plans fetches whose addresses give the batches', async (http, topic) => {
    await http.topic(topic, 2);
    await http.append(topic, [{ value: 'small', partition: 0 }]);
    const big = Array.from({ length: 3 }, () => 'y'.repeat(200_000));
    await http.append(
      topic,
      big.map((value) => ({ value, partition: 1 })),
    );
    const { json } = await http.call<FetchPlanOutput>('POST', `/v1/topics/${topic}/fetch-plan`, {
      body: {
        partitions: [
          { partition: 0, offset: 0 },
          { partition: 1, offset: 0, maxBytes: 1_000_000 },
          { partition: 0, offset: 1 },
        ],
      },
    });
    expect(json.partitions.map((partition) => [partition.partition, partition.nextOffset])).toEqual([
      [0, 1],
      [1, 3],
      [0, 1],
    ]);
    const values: string[] = [];
    for (const partition of json.partitions) {
      for (const part of partition.parts) {
        const bytes =
          part.storage === 'inline' ? new Uint8Array(Buffer.from(part.data, 'base64')) : await taken(http, part);
        expect(bytes.length).toBe(part.bytes);
        values.push(...recordsOf(bytes).map(([, value]) => value));
      }
    }
    expect(values).toEqual(['small', ...big]);
    expect(
      (
        await http.problem('POST', `/v1/topics/${topic}/fetch-plan`, {
          body: { partitions: [{ partition: 0, offset: 5 }] },
        })
      ).code,
    ).toBe('offset_out_of_range');
    expect((await http.problem('POST', `/v1/topics/${topic}/fetch-plan`, { body: { partitions: [] } })).field).toBe(
      'partitions',
    );
  });

  test('tells where every offset lies', async (http, topic) => {
    await http.topic(topic, 2);
    for (let i = 0; i < 6; i++)
      await http.append(topic, [
        { value: i, partition: i % 2 },
        { value: i, partition: i % 2 },
      ]);
    const items: SegmentPage['items'][number][] = [];
    let query = 'limit=2';
    for (;;) {
      const { json } = await http.call<SegmentPage>('GET', `/v1/topics/${topic}/segments?${query}`);
      items.push(...json.items);
      if (json.nextPageToken === undefined) break;
      query = `limit=2&pageToken=${encodeURIComponent(json.nextPageToken)}`;
    }
    for (const partition of [0, 1]) {
      const own = items.filter((item) => item.partition === partition);
      expect(own.map((item) => item.startOffset)).toEqual([0, ...own.slice(0, -1).map((item) => item.endOffset)]);
      expect(own.at(-1)?.endOffset).toBe(6);
    }
    const one = await http.call<SegmentPage>('GET', `/v1/topics/${topic}/segments?partition=1`);
    expect(new Set(one.json.items.map((item) => item.partition))).toEqual(new Set([1]));
  });

  test('tells the offset at a time', async (http, topic) => {
    await http.topic(topic);
    await http.append(
      topic,
      [1, 2, 3].map((i) => ({ value: i, timestamp: 1_763_722_800_000 + i * 10 })),
    );
    const at = async (timestamp: number) =>
      (await http.call('GET', `/v1/topics/${topic}/partitions/0/offsets?timestamp=${timestamp}`)).json;
    expect(await at(1_763_722_800_015)).toEqual({
      offset: 1,
      timestamp: 1_763_722_800_020,
      logStartOffset: 0,
      highWatermark: 3,
    });
    expect(await at(1_763_722_800_099)).toEqual({ offset: 3, timestamp: null, logStartOffset: 0, highWatermark: 3 });
    expect((await http.problem('GET', `/v1/topics/${topic}/partitions/0/offsets`)).field).toBe('timestamp');
  });
}

async function taken(
  http: Client,
  part: { readonly url: string; readonly headers: Record<string, string> },
): Promise<Uint8Array> {
  const url = new URL(part.url);
  // An address of this server goes through the target; one of S3 is asked there.
  const isOurs = url.pathname.startsWith('/v1/objects/');
  const response = isOurs
    ? await http.target.fetch(url.pathname + url.search, { headers: part.headers })
    : await fetch(url, { headers: part.headers });
  expect(response.status).toBe(200);
  if (isOurs) {
    const altered = new URL(url);
    altered.searchParams.set('end', String(Number(altered.searchParams.get('end')) + 1));
    for (const bad of [
      url.pathname,
      altered.pathname + altered.search,
      `${url.pathname}x${url.search}`,
      `${url.pathname}${url.search}&start=0`,
      '/v1/objects/none?start=0&end=1&expires=9999999999999&signature=x',
    ]) {
      expect((await http.problem('GET', bad)).code).toBe('access_denied');
    }
  }
  return new Uint8Array(await response.arrayBuffer());
}
