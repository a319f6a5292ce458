import { describe, expect, it } from 'vitest';
import type { FetchPlanOutput, ReadOutput } from '../../../../shared/http/read/contract.ts';
import { encodeBatch, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import { memoryApp } from '../../../support/memory-app.ts';
import { bytes } from '../../../support/memory-broker.ts';

/** Partition 0 with a record that was aborted, a plain one, one of an open transaction, and a plain one. */
async function setUp() {
  const { broker, call } = memoryApp();
  await broker.putTopic({ name: 't' });
  const batchOf = (value: string, producer?: { producerId: number; producerEpoch: number }) =>
    encodeBatch([{ key: null, value: bytes(value), headers: [], timestampMs: 1_000 }], {
      producer: producer && { ...producer, baseSequence: 0 },
      transactional: producer !== undefined,
    });
  const begin = async (transactionalId: string, value: string) => {
    const producer = await broker.initialiseProducer({ transactionalId, timeoutMs: 900_000 });
    const batches = [{ topic: 't', partition: 0, batch: batchOf(value, producer) }];
    await broker.appendInTransaction({ transactionalId, enlists: true, batches });
    return producer;
  };
  const aborted = await begin('a', 'aborted');
  await broker.endTransaction({ transactionalId: 'a', producer: aborted, outcome: 'aborted', raisesEpoch: true });
  await broker.append({ batches: [{ topic: 't', partition: 0, batch: batchOf('plain') }] });
  await begin('b', 'open');
  await broker.append({ batches: [{ topic: 't', partition: 0, batch: batchOf('behind') }] });
  return { call, aborted };
}

type Setting = Awaited<ReturnType<typeof setUp>>;

async function readValues({ call }: Setting, query: string): Promise<[unknown[], number]> {
  const answer = await call('GET', `/v1/topics/t/partitions/0/records${query}`, {});
  const { records, nextOffset } = (await answer.json()) as ReadOutput;
  return [records.map(({ value }) => value), nextOffset];
}

describe('reads over HTTP', () => {
  it('give committed records alone, or all but markers', async () => {
    const setting = await setUp();
    for (const query of ['', '?isolation=read_committed'])
      expect(await readValues(setting, query)).toEqual([['plain'], 3]);
    expect(await readValues(setting, '?isolation=read_uncommitted')).toEqual([
      ['aborted', 'plain', 'open', 'behind'],
      5,
    ]);
    const answer = await setting.call('GET', '/v1/topics/t/partitions/0/records?isolation=none', {});
    expect([answer.status, ((await answer.json()) as { field: string }).field]).toEqual([400, 'isolation']);
  });

  it('as a plan name what is to be left out, and end where the oldest open transaction begins', async () => {
    const { call, aborted } = await setUp();
    const plan = async (isolation?: string): Promise<FetchPlanOutput['partitions'][number]> => {
      const body = JSON.stringify({ partitions: [{ partition: 0, offset: 0 }], isolation });
      const answer = await call('POST', '/v1/topics/t/fetch-plan', {
        body,
        headers: { 'content-type': 'application/json' },
      });
      return ((await answer.json()) as FetchPlanOutput).partitions[0] as FetchPlanOutput['partitions'][number];
    };
    const committed = await plan();
    expect(committed).toMatchObject({
      ...{ highWatermark: 5, lastStableOffset: 3, nextOffset: 3 },
      abortedTransactions: [{ producerId: aborted.producerId, firstOffset: 0, lastOffset: 1 }],
    });
    const controls = committed.parts.map((part) => {
      if (part.storage !== 'inline') throw new Error('Small data is in the plan.');
      return readBatchHeader(Buffer.from(part.data, 'base64')).control;
    });
    expect(controls).toEqual([false, true, false]);
    expect(await plan('read_uncommitted')).toMatchObject({ nextOffset: 5, abortedTransactions: [] });
  });
});
