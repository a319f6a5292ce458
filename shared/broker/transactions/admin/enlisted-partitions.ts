import { headPartitions } from '../../../log/topic/topic.ts';
import type { Participants } from '../../../log/transaction/transaction.ts';
import { topicOfParticipant } from '../../append/mark-head.ts';
import type { BrokerContext } from '../../context.ts';
import { eachOf } from '../../topics/each-head.ts';

export type EnlistedHeads = Pick<Participants, 'heads'>;

export interface EnlistedTopic {
  readonly topic: string;
  readonly partitions: readonly number[];
}

/**
 * The partitions that a transaction may have records in. It enlists heads, so these are all partitions that have a head in
 * common. Those of deleted topics are left out. 1 GetItem for each topic that is not in memory.
 */
export async function enlistedPartitions(context: BrokerContext, { heads }: EnlistedHeads): Promise<EnlistedTopic[]> {
  const byTopic = [...Map.groupBy(heads, ({ topicId }) => topicId).values()];
  const topics = await eachOf(byTopic, async (ofTopic) => {
    const [first] = ofTopic;
    const topic = first && (await topicOfParticipant(context, first));
    if (topic === undefined) return [];
    const partitions = ofTopic.flatMap(({ headNumber }) => headPartitions(topic, headNumber));
    return [{ topic: topic.name, partitions: partitions.sort((a, b) => a - b) }];
  });
  return topics.flat();
}
