import { EventLogError } from '../../log/errors.ts';
import type { Action } from '../../log/scopes.ts';
import { KAFKA_ERRORS, type KafkaErrorName, type KafkaErrorNumber, kafkaError } from '../error-codes.ts';
import type { Call } from '../handler.ts';

/** A request about a topic that is refused under one of Kafka's own numbers. */
export class TopicRefusal extends Error {
  override readonly name = 'TopicRefusal';
  readonly errorCode: KafkaErrorNumber;

  constructor(error: KafkaErrorName, message: string) {
    super(message);
    this.errorCode = KAFKA_ERRORS[error];
  }
}

/** @throws TopicRefusal if the caller has no such right on the topic */
export function checkRight({ rights }: Pick<Call, 'rights'>, action: Action | 'any', topic: string): void {
  if (rights.onTopic(action, topic)) return;
  const right = action === 'any' ? 'any right' : `the right '${action}'`;
  throw new TopicRefusal('TOPIC_AUTHORIZATION_FAILED', `This needs ${right} on topic '${topic}'.`);
}

/** Kafka's number for an error of a topic or its settings. */
export function topicError({ code, details }: EventLogError): KafkaErrorNumber {
  if (code !== 'invalid_request') return kafkaError(code);
  const field = String(details.field);
  if (field.startsWith('config.')) return KAFKA_ERRORS.INVALID_CONFIG;
  return NUMBERS_BY_FIELD[field] ?? KAFKA_ERRORS.INVALID_REQUEST;
}

/** As `topicError`, where Kafka looks for the topic without looking at its name. */
export function knownTopicError(error: EventLogError): KafkaErrorNumber {
  const errorCode = topicError(error);
  return errorCode === KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION ? KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION : errorCode;
}

const NUMBERS_BY_FIELD: Readonly<Record<string, KafkaErrorNumber>> = {
  topic: KAFKA_ERRORS.INVALID_TOPIC_EXCEPTION,
  partitions: KAFKA_ERRORS.INVALID_PARTITIONS,
};

/** Answers with what `work` gives, or with what `refuse` makes of its error. */
export async function answeringTopic<Answer>(
  work: () => Promise<Answer>,
  refuse: (errorCode: KafkaErrorNumber, errorMessage: string) => Answer,
): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof TopicRefusal) return refuse(error.errorCode, error.message);
    if (error instanceof EventLogError) return refuse(topicError(error), error.message);
    throw error;
  }
}

/** The values that occur more than once: Kafka refuses what a request says twice. */
export function repeated<Value>(values: readonly Value[]): ReadonlySet<Value> {
  const seen = new Set<Value>();
  return new Set(values.filter((value) => seen.has(value) || !seen.add(value)));
}
