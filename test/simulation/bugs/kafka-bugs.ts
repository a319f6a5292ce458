import type { PlantedBug } from './planted-bug.ts';

const FIRST = 'shared/kafka/apis/records/first-batches.ts';
const PRODUCE = 'shared/kafka/apis/records/produce.ts';
const CONNECTION = 'shared/kafka/connection.ts';
const ERRORS = 'shared/kafka/error-codes.ts';
const APPEND = 'shared/broker/append/append-batches.ts';
const INIT = 'shared/kafka/apis/records/init-producer-id.ts';

function bug(name: string, why: string, file: string, from: string, to: string): PlantedBug {
  return { name, why, edits: [{ file, from, to }], of: 'kafka' };
}

export const KAFKA_BUGS: readonly PlantedBug[] = [
  bug(
    'kafka-first-batch-not-waited-for',
    'A batch of a producer does not wait for the first one of its partition.',
    FIRST,
    "return known?.type === 'under_way' ? known.ended : undefined;",
    'return undefined;',
  ),
  bug(
    'kafka-failed-first-batch-forgotten',
    'A first batch that failed is forgotten, so that one behind it is the first.',
    FIRST,
    "isAppended[i] ? { type: 'appended' } : { type: 'failed', sequence: name.sequence }",
    "(isAppended[i] ? { type: 'appended' } : undefined) as never",
  ),
  bug(
    'kafka-batch-behind-a-failed-one-tried',
    'A batch behind a first one that failed is tried.',
    FIRST,
    "known?.type !== 'failed' || !isBehind(name?.sequence ?? 0, known.sequence)",
    'known !== null',
  ),
  bug(
    'kafka-first-batch-never-again',
    'A first batch that failed is refused when it is sent again.',
    FIRST,
    'distance > 0 &&',
    'distance >= 0 &&',
  ),
  bug(
    'kafka-refused-first-batch-forgotten',
    'A first batch that is refused because its topic is not found does not hold up those behind it.',
    FIRST,
    'if (known === undefined) this.#keep',
    'if (known?.type === undefined && this.#known.size < 0) this.#keep',
  ),
  bug(
    'kafka-first-batches-of-all-partitions',
    'A first batch that failed holds up the batches of other partitions.',
    FIRST,
    '{partition}`;',
    '{partition % 1}`;',
  ),
  {
    ...bug(
      'kafka-first-batches-of-all-epochs',
      'What is known of an epoch counts for the next one.',
      FIRST,
      '{producer.producerEpoch}/',
      '{0}/',
    ),
    isUnmet: true,
  },
  bug(
    'kafka-first-batch-known-too-early',
    'A first batch counts as appended as soon as it is on its way.',
    FIRST,
    "this.#keep(name.key, { type: 'under_way', ended })",
    "this.#keep(name.key, { type: 'appended' })",
  ),
  bug(
    'kafka-next-request-begins-at-once',
    'A produce request lets the next one begin before its batches have their places.',
    PRODUCE,
    'const batches = await batchesOf(call, request);',
    'call.letNextBegin(); const batches = await batchesOf(call, request);',
  ),
  {
    ...bug(
      'kafka-placed-before-the-topic-is-read',
      'Batches count as placed while their topic is being read.',
      APPEND,
      'let prepared = await Promise.all(',
      'request.onPlaced?.(); let prepared = await Promise.all(',
    ),
    isUnmet: true,
  },
  {
    ...bug(
      'kafka-outcomes-of-other-batches',
      'Behind a batch that was not tried the others are answered with the outcomes of others.',
      PRODUCE,
      'if (inOrder.isAdmitted[i]) return appended[next++] as Outcome;',
      'if (inOrder.isAdmitted[i]) return (appended[i] ?? appended[next++]) as Outcome;',
    ),
    isUnmet: true,
  },
  bug(
    'kafka-duplicate-at-another-offset',
    'A batch that was appended before is answered with the start of the log.',
    PRODUCE,
    'const { baseOffset, logStartOffset, logAppendTimeMs } = outcome;',
    'const { logStartOffset, logAppendTimeMs } = outcome; const baseOffset = outcome.duplicate ? logStartOffset : outcome.baseOffset;',
  ),
  bug(
    'kafka-unknown-outcome-is-final',
    'A batch whose outcome is not known is answered with an error that clients do not retry.',
    ERRORS,
    "storage_unavailable: 'REQUEST_TIMED_OUT'",
    "storage_unavailable: 'INVALID_REQUEST'",
  ),
  bug(
    'kafka-unknown-outcome-is-out-of-order',
    'A batch whose outcome is not known is answered as out of order.',
    ERRORS,
    "storage_unavailable: 'REQUEST_TIMED_OUT'",
    "storage_unavailable: 'OUT_OF_ORDER_SEQUENCE_NUMBER'",
  ),
  bug(
    'kafka-topic-id-failure-thrown',
    'The connection ends if the topic of an id cannot be looked up.',
    PRODUCE,
    'return { errorCode: kafkaError(error.code), message: error.message };',
    'throw error;',
  ),
  bug('kafka-answers-in-any-order', 'Requests are answered when they are done.', CONNECTION, 'await before;', ''),
  bug(
    'kafka-requests-begin-in-any-order',
    'A connection does not wait before it begins the next request.',
    CONNECTION,
    'await this.#begin(frame, bytes);',
    'void this.#begin(frame, bytes);',
  ),
  bug(
    'kafka-producer-id-given-twice',
    'Producers share ids.',
    INIT,
    'producerId: await broker.allocateProducerId()',
    'producerId: (await broker.allocateProducerId()) % 2',
  ),
  bug(
    'kafka-failed-batch-acknowledged',
    'A batch is answered as appended although it was not.',
    PRODUCE,
    'errorCode: errorOf(error, version), baseOffset: NONE,',
    'errorCode: errorOf(error, version) === 7 ? 0 : errorOf(error, version), baseOffset: 0,',
  ),
];
