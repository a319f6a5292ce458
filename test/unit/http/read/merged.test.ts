import { describe, expect, it } from 'vitest';
import type { FetchPlanOutput, ReadOutput, SegmentPage } from '../../../../shared/http/read/contract.ts';
import { decodeRecords, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { Client, recordsOf } from '../../../conformance/http/client.ts';
import { memoryApp } from '../../../support/memory-app.ts';
import { MergedLog } from '../../../support/merged-log.ts';
import { SimulatedClock } from '../../../support/simulated-clock.ts';

/** A topic of two partitions: in partition 0 two segments without every third record, unmerged records and a tail. */
async function setUp() {
  const app = memoryApp({ clock: new SimulatedClock() });
  const { broker, objects, items, clock, call } = app;
  const http = new Client({
    fetch: (path, init) => call(init?.method ?? 'GET', path, sent(init)),
    close: async () => {},
  });
  await http.topic('t', 2);
  const log = new MergedLog({ objects, items, clock }, (await broker.describeTopic('t')).topicId);
  const append = async (from: number, count: number): Promise<void> => {
    for (let i = from; i < from + count; i++) {
      await http.append('t', [{ value: `${i}`.padEnd(20_000, '.'), partition: 0 }]);
      await broker.idle();
    }
  };
  await append(0, 8);
  await log.merge({ keeps: ({ baseOffset }) => baseOffset % 3 !== 0 });
  await append(8, 8);
  await log.merge({ keeps: ({ baseOffset }) => baseOffset % 3 !== 0 });
  await append(16, 10);
  const left = Array.from({ length: 26 }, (_, i) => i).filter((offset) => offset >= 16 || offset % 3 !== 0);
  return { ...app, http, log, left };
}

function sent(init: RequestInit = {}) {
  const { body, headers } = init;
  return {
    headers: (headers ?? {}) as Record<string, string>,
    ...(body === undefined || body === null ? {} : { body: body as string }),
  };
}

describe('merged records over HTTP', () => {
  it('are read as others are', async () => {
    const { http, left } = await setUp();
    const { json } = await http.call<ReadOutput>('GET', '/v1/topics/t/partitions/0/records?limit=100');
    expect(json.records.map(({ offset }) => offset)).toEqual(left);
    expect(json).toMatchObject({ nextOffset: 26, logStartOffset: 0, highWatermark: 26 });
    const some = await http.call<ReadOutput>('GET', '/v1/topics/t/partitions/0/records?offset=3&limit=2');
    expect(some.json.records.map(({ offset }) => offset)).toEqual([4, 5]);
    expect(some.json.nextOffset).toBe(6);
    const raw = await http.call('GET', '/v1/topics/t/partitions/0/records?maxBytes=100', {
      headers: { Accept: 'application/vnd.apache.kafka.record-batches' },
    });
    expect(recordsOf(raw.bytes).map(([offset]) => offset)).toEqual([1, 2, 4, 5]);
    expect(raw.headers.get('tailrace-next-offset')).toBe('7');
  });

  it('are listed with their states, over pages of any size', async () => {
    const { http, log } = await setUp();
    await log.spill(0, 1);
    for (const limit of [1, 3, 100]) {
      const items: SegmentPage['items'][number][] = [];
      for (let token: string | undefined = ''; token !== undefined; ) {
        const query: string = token === '' ? '' : `&pageToken=${token}`;
        const { json } = await http.call<SegmentPage>('GET', `/v1/topics/t/segments?limit=${limit}${query}`);
        expect(json.items.length).toBeLessThanOrEqual(limit);
        items.push(...json.items);
        token = json.nextPageToken;
      }
      expect(
        items.map(({ storage, state, startOffset, endOffset }) => `${storage} ${state} ${startOffset}-${endOffset}`),
      ).toEqual([
        'segment merged 0-8',
        'segment merged 8-16',
        ...Array.from({ length: 8 }, (_, i) => `hot unmerged ${16 + i}-${17 + i}`),
        'hot tail 24-25',
        'hot tail 25-26',
      ]);
      expect(items[0]).toMatchObject({ partition: 0, position: 0, storedAs: expect.stringMatching(/^segments\//) });
    }
    await log.compacted(0, 8);
    const { json } = await http.call<SegmentPage>('GET', '/v1/topics/t/segments?partition=0&limit=2');
    expect(json.items.map(({ state }) => state)).toEqual(['compacted', 'merged']);
  });

  it('are in fetch plans, with their offsets', async () => {
    const { http, log, left, clock } = await setUp();
    const plan = async (offset: number, maxBytes?: number) => {
      const partitions = [{ partition: 0, offset, ...(maxBytes === undefined ? {} : { maxBytes }) }];
      const { json } = await http.call<FetchPlanOutput>('POST', '/v1/topics/t/fetch-plan', { body: { partitions } });
      return json.partitions[0] as FetchPlanOutput['partitions'][number];
    };
    const fetched = async ({ parts }: FetchPlanOutput['partitions'][number]): Promise<number[]> => {
      const offsets: number[] = [];
      for (const part of parts) {
        if (part.storage === 'inline') throw new Error('nothing is inline here');
        const { bytes } = await http.call('GET', part.url.slice(new URL(part.url).origin.length), {
          headers: part.headers,
        });
        expect(bytes.length).toBe(part.bytes);
        let base = part.startOffset;
        for (let position = 0; position < bytes.length; ) {
          const header = readBatchHeader(bytes, position);
          const baseOffset = part.storage === 'segment' ? header.baseOffset : base;
          expect(baseOffset).toBeGreaterThanOrEqual(part.startOffset);
          offsets.push(...decodeRecords(bytes, position, header, baseOffset).map(({ offset }) => offset));
          base = baseOffset + header.lastOffsetDelta + 1;
          expect(base).toBeLessThanOrEqual(part.endOffset);
          position += header.bytes;
        }
      }
      return offsets;
    };
    const whole = await plan(0);
    expect(whole.parts.map(({ storage }) => storage)).toEqual(['segment', 'segment', ...Array(10).fill('hot')]);
    expect(whole.nextOffset).toBe(26);
    expect(await fetched(whole)).toEqual(left);
    for (let offset = 0; offset <= 26; ) {
      const one = await plan(offset, 1);
      const first = left.find((each) => each >= offset);
      if (one.parts.length > 0 && first !== undefined && first < one.nextOffset)
        expect(await fetched(one)).toContain(first);
      expect(one.nextOffset > offset || offset === 26).toBe(true);
      offset = offset === 26 ? 27 : one.nextOffset;
    }
    // A job has replaced a segment since: the plan is good until its addresses expire.
    await log.replace(0, 0, 2);
    await (clock as SimulatedClock).advance(4 * 60_000);
    expect(await fetched(whole)).toEqual(left);
  });
});
