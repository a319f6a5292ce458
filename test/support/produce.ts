import type { RecordOutcome } from '../../shared/broker/append/outcomes.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { appendTo, memoryBroker, memoryStores, record } from './memory-broker.ts';

/** An idempotent producer that writes to partitions of the topic `t`. */

export const HOUR_MS = 3_600_000;

interface Send {
  readonly partition?: number;
  readonly id?: number;
  readonly epoch?: number;
  readonly sequence: number;
  readonly values: readonly string[];
}

/** The offset, `again <offset>` for a duplicate, or the error's code. */
export async function send(
  broker: Broker,
  { partition = 0, id = 7, epoch = 0, sequence, values }: Send,
): Promise<number | string> {
  const [outcome] = await broker.appendRecords({
    topic: 't',
    records: values.map((value) => record(value, { partition })),
    producer: { producerId: id, producerEpoch: epoch, baseSequence: sequence },
  });
  const first = outcome as RecordOutcome;
  if (!first.ok) return first.error.code;
  return first.duplicate ? `again ${first.offset}` : first.offset;
}

export async function threeBrokers(): Promise<{
  stores: ReturnType<typeof memoryStores>;
  brokers: [Broker, Broker, Broker];
}> {
  const stores = memoryStores();
  const brokers: [Broker, Broker, Broker] = [memoryBroker(stores), memoryBroker(stores), memoryBroker(stores)];
  await brokers[0].putTopic({ name: 't', partitions: 32 });
  return { stores, brokers };
}

/** Allocates the ids of the tests in the distant past: a partition that does not know them accepts any sequence. */
export async function growOld(stores: ReturnType<typeof memoryStores>): Promise<void> {
  const broker = memoryBroker(stores);
  for (let id = 0; id < 10; id++) await broker.allocateProducerId();
  await stores.clock.advance(72 * HOUR_MS);
}

/** Makes other commits to the same head, so that the tail moves. */
export async function moveOn(broker: Broker, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    await appendTo(broker, 't', 15, ['noise']);
    await broker.idle();
  }
}
