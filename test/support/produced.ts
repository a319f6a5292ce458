import { PRODUCE } from '../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../shared/kafka/protocol/types.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import type { KafkaClient } from './kafka-client.ts';

/** Record batches as Kafka's clients produce them. */

export interface BatchContent {
  readonly values: readonly string[];
  readonly timestampMs?: number;
  readonly producerId?: number;
  readonly epoch?: number;
  readonly sequence?: number;
  readonly transactional?: boolean;
}

export function batchOf({
  values,
  timestampMs = Date.now(),
  producerId,
  epoch = 0,
  sequence = 0,
  transactional = false,
}: BatchContent): Uint8Array {
  const records = values.map((value) => ({
    key: null,
    value: new TextEncoder().encode(value),
    headers: [],
    timestampMs,
  }));
  if (producerId === undefined) return encodeBatch(records);
  return encodeBatch(records, {
    producer: { producerId, producerEpoch: epoch, baseSequence: sequence },
    transactional,
  });
}

export interface ProducedBatch {
  readonly topic: string;
  readonly partition?: number;
  readonly batch: Uint8Array;
}

/** The message of a produce request with names of topics, for versions up to 12. */
export function produceRequest(batches: readonly ProducedBatch[], acks = -1) {
  return {
    acks,
    timeoutMs: 5_000,
    topicData: batches.map(({ topic, partition = 0, batch }) => ({
      name: topic,
      topicId: ZERO_UUID,
      partitionData: [{ index: partition, records: [batch] }],
    })),
  };
}

/** What was answered for each batch. */
export async function produceAll(client: KafkaClient, batches: readonly ProducedBatch[]) {
  const { responses } = await client.request(PRODUCE, 9, produceRequest(batches));
  return responses.flatMap(({ partitionResponses }) => partitionResponses);
}
