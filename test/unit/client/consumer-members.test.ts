import { describe, expect, it } from 'vitest';
import type { ConsumedBatch } from '../../../shared/client/consume/consumer.ts';
import type { Plain } from '../../../shared/client/index.ts';
import { type ClientLog, clientLog, type Transport } from './client-log.ts';

/** Consumers as static members, with patterns, and where records are gone before they are read. */

const GROUP = 'g';

async function withTopics(transport: Transport, names: readonly string[], values = 3): Promise<ClientLog> {
  const made = clientLog(transport);
  await made.clock.run(async () => {
    for (const name of names) {
      await made.app.broker.putTopic({ name, partitions: 1 });
      await append(made, name, 0, values);
    }
  });
  return made;
}

async function append({ app }: ClientLog, topic: string, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++)
    await app.broker.appendRecords({
      topic,
      records: [{ key: null, value: Buffer.from(`${topic}${i}`), headers: [] }],
    });
}

const valuesOf = ({ records }: ConsumedBatch<Plain, Plain>) => records.map(({ value }) => String(value));

const membersOf = async ({ app, clock }: ClientLog) => (await clock.run(app.broker.describeGroup(GROUP))).members;

describe.each(['embedded', 'http'] as const)('a consumer, %s', (transport) => {
  it('reads all topics whose names match its pattern, and no others', async () => {
    const made = await withTopics(transport, ['orders-a', 'orders-b', 'other']);
    const seen: string[] = [];
    await made.clock.run(async () => {
      for await (const batch of made.log().consume({ group: GROUP, topicPattern: 'orders-.*' })) {
        seen.push(...valuesOf(batch));
        if (seen.length >= 6) break;
      }
    });
    expect(seen.sort()).toEqual(
      [0, 1, 2].flatMap((i) => [`orders-a${i}`]).concat([0, 1, 2].map((i) => `orders-b${i}`)),
    );
  });

  it('leaves for a while with an instance id, and comes back to its partitions', async () => {
    const made = await withTopics(transport, ['t']);
    const options = { group: GROUP, topics: ['t'], instanceId: 'first', maxRecords: 2 };
    const read = (): Promise<string[]> =>
      made.clock.run(async () => {
        for await (const batch of made.log().consume(options)) {
          const values = valuesOf(batch);
          await batch.commit();
          return values;
        }
        return [];
      });
    expect(await read()).toEqual(['t0', 't1']);
    const [away] = await membersOf(made);
    expect(away).toMatchObject({ instanceId: 'first', isAway: true, assigned: [{ topic: 't', partitions: [0] }] });
    expect(await read()).toEqual(['t2']);
    const [again] = await membersOf(made);
    expect(again?.instanceId).toBe('first');
    expect(again?.memberId).not.toBe(away?.memberId);
  });

  it('is told of records that were deleted before it read them', async () => {
    const made = await withTopics(transport, ['t'], 5);
    const { app, clock } = made;
    await clock.run(async () => {
      for await (const batch of made.log().consume({ group: GROUP, topics: ['t'], maxRecords: 1 })) {
        await batch.commit();
        break;
      }
      await app.broker.deleteRecords({ topic: 't', partition: 0, before: 3 });
      const seen: string[] = [];
      const gaps: ConsumedBatch<Plain, Plain>['gaps'][number][] = [];
      for await (const batch of made.log().consume({ group: GROUP, topics: ['t'] })) {
        seen.push(...valuesOf(batch));
        gaps.push(...batch.gaps);
        if (seen.length >= 2) break;
      }
      expect(seen).toEqual(['t3', 't4']);
      expect(gaps).toEqual([expect.objectContaining({ topic: 't', partition: 0, from: 1, to: 3 })]);
    });
  });
});
