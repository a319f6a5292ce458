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

export interface GivenTopic {
  readonly name: string;
  readonly topicId: string;
}
