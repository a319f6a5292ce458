import type { Action } from '../../log/scopes.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../error-codes.ts';
import type { Call } from '../handler.ts';

/**
 * The name of a topic that a request names by `name`, or by `topicId` in its newer versions; `undefined` if no topic has the
 * id. From memory, or what `Broker.topicById` costs.
 */
export async function nameOf(
  { gateway, version }: Call,
  given: GivenTopic,
  topicIdsFrom: number,
): Promise<string | undefined> {
  if (version < topicIdsFrom) return given.name;
  return (await gateway.broker.topicById(given.topicId))?.name;
}

/** As `nameOf`, for a topic on which the caller needs a right; otherwise the error that the topic is answered with. */
export async function allowedName(
  call: Call,
  action: Action | 'any',
  given: GivenTopic,
  topicIdsFrom: number,
): Promise<string | KafkaErrorNumber> {
  const name = await nameOf(call, given, topicIdsFrom);
  if (name === undefined) return KAFKA_ERRORS.UNKNOWN_TOPIC_ID;
  return call.rights.onTopic(action, name) ? name : KAFKA_ERRORS.TOPIC_AUTHORIZATION_FAILED;
}

export interface GivenTopic {
  readonly name: string;
  readonly topicId: string;
}
