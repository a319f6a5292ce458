import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { PRODUCER_EPOCH_MAX } from '../../../../shared/log/limits.ts';
import { DynamoItemStore } from '../../../../shared/storage/dynamodb/item-store.ts';
import { DynamoTable } from '../../../support/dynamo-table.ts';
import {
  appendTo,
  codeOf,
  memoryBroker,
  memoryStores,
  record,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
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

describe('the move of a tail', () => {
  it('fits, however many once keys its entries have left', async () => {
    const broker = await setUp();
    // Each shuts out all older epochs of its producer by 93 keys.
    for (let id = 0; id < 40; id++) {
      const producer = { producerId: id, producerEpoch: PRODUCER_EPOCH_MAX, baseSequence: 0 };
      expect(await appendTo(broker, 't', id % 16, [`${id}`], { producer })).toBe(Math.floor(id / 16));
      await broker.idle();
    }
    expect(await valuesOf(broker, 't', 0)).toEqual(['0', '16', '32']);
  });
});
