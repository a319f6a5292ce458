import { expect, it } from 'vitest';
import { offsetCommit } from '../../../../../shared/kafka/apis/groups/offset-commit.ts';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import type { ResponseOf } from '../../../../../shared/kafka/protocol/api.ts';
import type { OFFSET_COMMIT } from '../../../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { GROUP, joinRequest, settle } from '../../../../support/classic-world.ts';
import { happeningBefore } from '../../../../support/group-world.ts';
import { callOf } from '../../../../support/kafka-log.ts';
import { memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';

/** Longer than a process trusts what it remembers of a topic. */
const FORGOTTEN_MS = 120_000;

it('an offset of a topic that is made again meanwhile is not committed to the one that has its name now', async () => {
  const stores = memoryStores();
  const { clock } = stores;
  const other = memoryBroker(stores);
  const { topic } = await clock.run(other.putTopic({ name: 'orders', partitions: 4 }));
  const more = { sessionTimeoutMs: 1_800_000 };
  const { joined } = await clock.run(settle(other, [joinRequest('a', more)]));
  const broker = memoryBroker(
    happeningBefore(
      stores,
      (request, key) => request === 'getItem' && key.includes(GROUP) && key.startsWith('group'),
      async () => {
        await other.deleteTopic('orders');
        await other.putTopic({ name: 'orders', partitions: 4 });
        await clock.sleep(FORGOTTEN_MS);
      },
    ),
  );
  const partitions = [{ partitionIndex: 0, committedOffset: 1_000, committedLeaderEpoch: -1, committedMetadata: '' }];
  const request = {
    ...{ groupId: GROUP, memberId: 'a', generationIdOrMemberEpoch: joined[0]?.generation, groupInstanceId: null },
    ...{ retentionTimeMs: -1, topics: [{ name: '', topicId: topic.topicId, partitions }] },
  };
  const answer = (await clock.run(offsetCommit.handle(callOf(broker, 10), request))) as ResponseOf<
    typeof OFFSET_COMMIT
  >;
  expect((await clock.run(other.fetchOffsets({ group: GROUP }))).items).toEqual([]);
  expect(answer.topics[0]?.partitions).toEqual([{ partitionIndex: 0, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID }]);
});
