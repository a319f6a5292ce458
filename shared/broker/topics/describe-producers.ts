import { lastWritten } from '../../log/head/producer.ts';
import { checkPartition, checkTopicName, headOf } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { readHead } from '../heads/items.ts';
import { headProducers } from '../heads/producers.ts';

/** An idempotent producer that has written to a partition. */
export interface ProducerDescription {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly lastSequence: number;
  /** The newest timestamp in its last batch, ms; `undefined` if that batch was moved out of the head a while ago. */
  readonly lastTimestampMs: number | undefined;
  /** The first offset of its open transaction in the partition; `undefined` if it has none there. */
  readonly transactionStartOffset: number | undefined;
}

/** Kafka forgets idempotent producers after this time without a batch (`producer.id.expiration.ms`). */
const ACTIVE_MS = 86_400_000;

/**
 * The idempotent producers that have written to a partition, by their ids, if they wrote to its head within the last day. 2
 * GetItems, 1 or 2 Queries, and 1 Query for every 500 producers that ever wrote to the head.
 * @throws EventLogError `invalid_request`, `unknown_topic`, `unknown_partition`
 */
export async function describeProducers(
  context: BrokerContext,
  topicName: string,
  partition: number,
): Promise<ProducerDescription[]> {
  checkTopicName(topicName);
  let topic = await context.topics.get(topicName);
  for (;;) {
    checkPartition(topic, partition);
    const { items } = context.usage.of(topic.name, 'admin');
    const { headNumber, slot } = headOf(topic, partition);
    const name = { topicId: topic.topicId, headNumber };
    const head = await readHead(items, name);
    if (!head.closed) {
      const producers = await headProducers(items, name, head, context.clock.nowMs() - ACTIVE_MS);
      return producers
        .flatMap(({ producerId, state, lastParts }) => {
          const last = lastWritten(state, slot);
          if (last === undefined) return [];
          const lastTimestampMs = lastParts.get(slot)?.maxTimestampMs;
          const transactionStartOffset = state.slots[slot]?.open?.firstOffset;
          const { epoch: producerEpoch, sequence: lastSequence } = last;
          return [{ producerId, producerEpoch, lastSequence, lastTimestampMs, transactionStartOffset }];
        })
        .sort((a, b) => a.producerId - b.producerId);
    }
    // The remembered topic has been deleted. There may be another topic of the same name.
    topic = await context.topics.refresh(topicName);
  }
}
