import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { DynamoItemStore } from '../../../../shared/storage/dynamodb/item-store.ts';
import { DynamoTable } from '../../../support/dynamo-table.ts';
import { codeOf, memoryBroker, memoryStores, record, SeededRandom } from '../../../support/memory-broker.ts';
import { stubDynamoClient } from '../../../support/stub-client.ts';

/** A head over DynamoDB, whose expressions have at most 4,096 bytes and 300 operators: what is too long is rejected for ever. */

async function setUp(): Promise<Broker> {
  const stores = memoryStores();
  const table = new DynamoTable();
  const parts = { clock: stores.clock, random: new SeededRandom(1) };
  const items = new DynamoItemStore({ ...parts, client: stubDynamoClient(table.answer), tableName: 't' });
  const broker = memoryBroker({ ...stores, items });
  await broker.putTopic({ name: 't', partitions: 16 });
  return broker;
}

describe('a commit', () => {
  it('of as many idempotent producers as share one fits, each with its first batch in one of sixteen partitions', async () => {
    const broker = await setUp();
    const outcomes = await Promise.all(
      Array.from({ length: 200 }, (_, id) =>
        broker.appendRecords({
          topic: 't',
          records: [record(`${id}`, { partition: id % 16 })],
          producer: { producerId: id, producerEpoch: 0, baseSequence: 0 },
        }),
      ),
    );
    expect(outcomes.flatMap((all) => all.map((outcome) => (outcome.ok ? 'ok' : outcome.error.message)))).toEqual(
      Array.from({ length: 200 }, () => 'ok'),
    );
  });

  it('that also expects an offset of each of its partitions fits', async () => {
    const broker = await setUp();
    const batches = Array.from({ length: 16 }, (_, partition) => ({
      topic: 't',
      partition,
      expectedOffset: 0,
      batch: encodeBatch([{ timestampMs: 1, key: null, value: null, headers: [] }], {
        producer: { producerId: partition, producerEpoch: 0, baseSequence: 0 },
      }),
    }));
    expect(await codeOf(broker.append({ batches, atomic: true }))).toBe('request_too_large');
    const fitting = batches.slice(0, 15);
    const outcomes = await broker.append({ batches: fitting, atomic: true });
    expect(outcomes.map((outcome) => outcome.ok)).toEqual(fitting.map(() => true));
  });
});
