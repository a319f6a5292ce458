import { expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { METADATA } from '../../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { kafkaLog } from '../../../../support/kafka-log.ts';

it.each([10, 11, 12, 13])(
  'Metadata %i finds a topic by its id, beside which clients leave the name out or empty',
  async (version) => {
    const { broker, client } = await kafkaLog();
    const { topic } = await broker.putTopic({ name: 'a', partitions: 2 });
    const unknownId = Buffer.alloc(16, 7).toString('base64url');
    for (const name of [null, '']) {
      const { topics } = await client.request(METADATA, version, {
        topics: [topic.topicId, unknownId].map((topicId) => ({ topicId, name })),
      } as never);
      expect(topics).toMatchObject([
        { errorCode: 0, name: 'a', topicId: topic.topicId, partitions: [{}, {}] },
        // Versions before 12 have no null for a name.
        { errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID, name: version >= 12 ? null : '', topicId: unknownId },
      ]);
    }
  },
);
