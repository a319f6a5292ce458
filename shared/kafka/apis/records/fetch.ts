import type { FetchedPartition, PartitionToFetch } from '../../../broker/read/fetch-partitions.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber, kafkaError } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { FETCH } from '../../protocol/messages/records/fetch.ts';
import { allowedName } from '../topic-names.ts';

type FetchedTopic = ResponseOf<typeof FETCH>['responses'][number];
type AnsweredPartition = FetchedTopic['partitions'][number];

const TOPIC_IDS_FROM = 13;
const READ_COMMITTED = 1;
/** A client that asks for more gets less, and asks again. */
const WAIT_MS_MAX = 60_000;
const RESPONSE_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Reads record batches from many partitions, and waits for `minBytes` at their ends. Each fetch names all its partitions: no
 * session is opened, which clients take for a full one each time (KIP-227).
 */
export const fetch = handler(FETCH, [{ action: 'consume', on: 'topic' }], async (call, request) => {
  const { maxWaitMs, minBytes, maxBytes } = request;
  const partitions = await partitionsOf(call, request);
  const known = partitions.filter(({ refusal }) => refusal === undefined);
  const fetched = await call.gateway.broker.fetchPartitions({
    partitions: known as PartitionToFetch[],
    // A refusal is answered at once.
    bytesMin: known.length < partitions.length ? 0 : Math.max(0, minBytes),
    bytesMax: Math.min(Math.max(1, maxBytes), RESPONSE_BYTES_MAX),
    waitMs: Math.min(Math.max(0, maxWaitMs), WAIT_MS_MAX),
    signal: call.signal,
  });
  const byPlace = new Map(known.map((place, i) => [place, fetched[i] as FetchedPartition]));
  let next = 0;
  return {
    errorCode: KAFKA_ERRORS.NONE,
    responses: request.topics.map(({ topic, topicId, partitions: ofTopic }) => ({
      topic,
      topicId,
      partitions: ofTopic.map(({ partition }) => {
        const place = partitions[next++] as AskedPartition;
        return answerOf(partition, byPlace.get(place) ?? (place.refusal as KafkaErrorNumber), request.isolationLevel);
      }),
    })),
  };
});

interface AskedPartition extends Omit<PartitionToFetch, 'topic'> {
  readonly topic: string | undefined;
  readonly refusal: KafkaErrorNumber | undefined;
}

async function partitionsOf(call: Call, { topics }: RequestOf<typeof FETCH>): Promise<AskedPartition[]> {
  const isById = call.version >= TOPIC_IDS_FROM;
  const asked: AskedPartition[] = [];
  for (const { topic: name, topicId, partitions } of topics) {
    const found = await allowedName(call, 'consume', { name, topicId }, TOPIC_IDS_FROM);
    const [topic, refusal] = typeof found === 'string' ? [found, undefined] : [undefined, found];
    for (const { partition, fetchOffset, partitionMaxBytes } of partitions) {
      const bytesMax = Math.min(Math.max(1, partitionMaxBytes), RESPONSE_BYTES_MAX);
      asked.push({ topic, refusal, topicId: isById ? topicId : undefined, partition, offset: fetchOffset, bytesMax });
    }
  }
  return asked;
}

function answerOf(
  partitionIndex: number,
  fetched: FetchedPartition | KafkaErrorNumber,
  isolationLevel: number,
): AnsweredPartition {
  const abortedTransactions = isolationLevel === READ_COMMITTED ? [] : null;
  if (typeof fetched !== 'number' && fetched.ok) {
    const { highWatermark, logStartOffset, batches } = fetched;
    const records = batches.map(({ bytes }) => bytes);
    // Nothing is open as long as there are no transactions.
    const place = { partitionIndex, highWatermark, lastStableOffset: highWatermark, logStartOffset };
    return { ...place, errorCode: KAFKA_ERRORS.NONE, abortedTransactions, records };
  }
  const errorCode = typeof fetched === 'number' ? fetched : kafkaError(fetched.error.code);
  return { partitionIndex, errorCode, highWatermark: -1, abortedTransactions, records: [] };
}
