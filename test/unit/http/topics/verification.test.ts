import { describe, expect, it } from 'vitest';
import type { VerificationOutput } from '../../../../shared/http/topics/contract.ts';
import { memoryApp } from '../../../support/memory-app.ts';

interface Problem {
  readonly code?: string;
  readonly field?: string;
}

async function withRecords() {
  const memory = memoryApp();
  const { topic } = await memory.broker.putTopic({ name: 't', partitions: 2 });
  for (let i = 0; i < 16; i++) await memory.call('POST', '/v1/topics/t', { body: 'x' });
  await memory.broker.idle();
  await memory.broker.mergeHead(topic.topicId, 0, { force: true });
  const verify = async (query = '') => {
    const answer = await memory.call('GET', `/v1/topics/t/verification${query}`);
    return { status: answer.status, json: (await answer.json()) as VerificationOutput & Problem };
  };
  return { ...memory, topic, verify };
}

describe('GET /v1/topics/{topic}/verification', () => {
  it('answers what each partition has', async () => {
    const { verify } = await withRecords();
    const { status, json } = await verify('?deep=true');
    expect([status, json.problems, json.nextPageToken]).toEqual([200, [], undefined]);
    expect(json.partitions).toHaveLength(2);
    expect(json.partitions.reduce((sum, { records }) => sum + records, 0)).toBe(16);
    expect(Object.keys(json.partitions[0] ?? {}).sort()).toEqual([
      'batches',
      'bytes',
      'highWatermark',
      'logStartOffset',
      'markers',
      'orphans',
      'partition',
      'problems',
      'records',
      'segments',
      'setHash',
      'tailParts',
      'unmergedParts',
    ]);
    expect(json.partitions[0]?.setHash).toMatch(/^[0-9a-f]{16}$/);
    expect((await verify('?partition=1')).json.partitions).toEqual(json.partitions.slice(1));
  });

  it('goes on from a page token', async () => {
    const { verify } = await withRecords();
    const whole = (await verify()).json.partitions;
    const partitions = [];
    let pages = 0;
    for (let query = '?maxBytes=1'; ; pages++) {
      const { json } = await verify(query);
      partitions.push(...json.partitions);
      if (json.nextPageToken === undefined) break;
      query = `?maxBytes=1&pageToken=${json.nextPageToken}`;
    }
    expect(pages).toBeGreaterThan(1);
    expect(partitions).toEqual(whole);
  });

  it('says what is wrong, and where', async () => {
    const { verify, broker, objects } = await withRecords();
    const [segment] = (await broker.listSegments('t')).items;
    await objects.delete(segment?.storedAs ?? '');
    const { partition, startOffset: offset, storedAs } = segment ?? {};
    const { status, json } = await verify();
    expect(status).toBe(200);
    const message = `The segment '${storedAs}' is missing.`;
    expect(json.problems).toEqual([{ kind: 'missing_segment', headNumber: 0, partition, offset, storedAs, message }]);
  });

  it.each([
    ['?partition=2', 404, 'unknown_partition', undefined],
    ['?partition=x', 400, 'invalid_request', 'partition'],
    ['?maxBytes=0', 400, 'invalid_request', 'maxBytes'],
    ['?maxBytes=67108865', 400, 'invalid_request', 'maxBytes'],
    ['?deep=1', 400, 'invalid_request', 'deep'],
    ['?pageToken=x', 400, 'invalid_request', 'pageToken'],
    ['?limit=1', 400, 'invalid_request', 'limit'],
  ])('refuses %s', async (query, status, code, field) => {
    const { verify } = await withRecords();
    const { status: answered, json } = await verify(query);
    expect([answered, json.code, json.field]).toEqual([status, code, field]);
  });
});
