import { INIT_PRODUCER_ID } from '../../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from '../client.ts';
import { values, type Workload } from '../workload.ts';
import { KafkaConnection } from './kafka-connection.ts';
import { KafkaProducer } from './kafka-producer.ts';
import { answerOf, sendBatches } from './produce-request.ts';

const VERSIONS = [3, 7, 9, 12, 13];
const BATCHES_PER_OPERATION = 6;
const RECORDS_MAX = 3;

/** An idempotent producer over the gateway, as Kafka's clients are. */
async function produce(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const oldId = chance.chance(0.4) ? client.takeOldId() : undefined;
  const retries = chance.pick(['java', 'librdkafka'] as const);
  const deliveryMs = chance.pick([0.3, 1.5, 6, Number.POSITIVE_INFINITY]) * client.patienceMs;
  const partitions = chance.chance(0.4) ? [chance.pick(client.partitions)] : client.partitions;
  const hurries = chance.chance(0.5);
  const version = chance.pick(VERSIONS);
  const id = oldId ?? (await allocate(client));
  const options = { id, isYoung: oldId === undefined, retries, deliveryMs, version, partitions };
  const producer = new KafkaProducer(client, options);
  const tickMs = TICK_MS + world.conditions.latency.usualMs;
  for (let batches = operations * BATCHES_PER_OPERATION; batches > 0 || !producer.isIdle; ) {
    const partition = chance.pick(partitions);
    if (batches > 0 && producer.hasRoom(partition)) {
      producer.add(partition, 1 + chance.below(RECORDS_MAX));
      batches--;
      producer.pump();
      if (hurries) continue;
      await client.sleep(chance.next() ** 3 * 10 * tickMs);
    } else {
      await client.sleep(tickMs);
      producer.pump();
    }
  }
  await client.tracked();
  producer.close();
}

const TICK_MS = 10;

async function allocate(client: Client): Promise<number> {
  for (;;) {
    const connection = new KafkaConnection(client, client.slot());
    const answer = await connection.request(INIT_PRODUCER_ID, 4, { transactionalId: null, transactionTimeoutMs: 0 });
    connection.close();
    if (answer?.errorCode === 0) return answer.producerId;
    await client.rest();
  }
}

export const PRODUCE_OVER_KAFKA: Workload = {
  name: 'produce-over-kafka',
  weight: 5,
  keys: ['head#', 'node#', 'checkpoint#', 'producer#'],
  run: produce,
  prepare: async (world, broker, client) => {
    world.oldIds.set(client, await broker.allocateProducerId());
  },
};

/** A producer without an id: several requests in flight over one connection, none of which is sent again. */
async function produceWithoutId(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const partition = chance.pick(client.partitions);
  const version = chance.pick(VERSIONS);
  for (let i = 0; i < operations; i++) {
    const connection = new KafkaConnection(client, client.slot());
    let after: number | undefined;
    const sending = Array.from({ length: 2 + chance.below(4) }, async (): Promise<void> => {
      const append: ClientAppend = {
        topic: LASTING_TOPIC,
        records: values(client, 2).map((value) => ({ value, partition })),
      };
      const { ops, answer } = sendBatches(client, connection, [append], version, { after });
      after = ops[0];
      const { judged } = answerOf(await answer, append.records.length, partition);
      client.finish(ops[0] as number, append, client.name, judged);
    });
    await Promise.all(sending);
    connection.close();
    await client.rest();
  }
}

export const PRODUCE_WITHOUT_ID: Workload = {
  name: 'produce-without-id',
  weight: 1,
  keys: ['head#', 'node#'],
  run: produceWithoutId,
};

export const KAFKA_WORKLOADS: readonly Workload[] = [PRODUCE_OVER_KAFKA, PRODUCE_WITHOUT_ID];
