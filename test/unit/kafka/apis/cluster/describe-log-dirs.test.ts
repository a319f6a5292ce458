import { describe, expect, it } from 'vitest';
import { describeLogDirs } from '../../../../../shared/kafka/apis/cluster/describe-log-dirs.ts';
import { leaderOf } from '../../../../../shared/kafka/nodes/leaders.ts';
import type { ResponseOf } from '../../../../../shared/kafka/protocol/api.ts';
import { DESCRIBE_LOG_DIRS } from '../../../../../shared/kafka/protocol/messages/cluster/describe-log-dirs.ts';
import { callOf, kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { appendTo, memoryBroker } from '../../../../support/memory-broker.ts';

describe('DescribeLogDirs', () => {
  it.each(versionsOf(DESCRIBE_LOG_DIRS))('tells the size of partitions in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a', partitions: 3 });
    await broker.putTopic({ name: 'b' });
    await appendTo(broker, 'a', 1, ['some', 'records']);
    const [, { bytes } = { bytes: 0 }] = await broker.describePartitions('a');
    expect(bytes).toBeGreaterThan(50);
    const partition = (partitionIndex: number, partitionSize: number) => ({
      partitionIndex,
      partitionSize,
      offsetLag: 0,
      isFutureKey: false,
    });
    const ask = async (topics: { topic: string; partitions: number[] }[] | null) => {
      const answer = await client.request(DESCRIBE_LOG_DIRS, version, { topics });
      expect(answer.errorCode).toBe(0);
      expect(answer.results).toMatchObject([
        { errorCode: 0, logDir: '/tailrace', totalBytes: -1, usableBytes: -1, isCordoned: false },
      ]);
      return answer.results[0]?.topics;
    };
    const a = { name: 'a', partitions: [partition(0, 0), partition(1, bytes), partition(2, 0)] };
    expect(await ask(null)).toEqual([a, { name: 'b', partitions: [partition(0, 0)] }]);
    expect(
      await ask([
        { topic: 'a', partitions: [2, 1, 7] },
        { topic: 'missing', partitions: [0] },
        { topic: '..', partitions: [0] },
        { topic: 'b', partitions: [1] },
      ]),
    ).toEqual([{ name: 'a', partitions: [partition(1, bytes), partition(2, 0)] }]);
    expect(await ask([])).toEqual([]);
  });

  it('tells only of the partitions that it leads, so that nothing is counted twice', async () => {
    const broker = memoryBroker();
    const { topic } = await broker.putTopic({ name: 'a', partitions: 16 * 20 });
    const call = callOf(broker, 5, 3);
    const answer = (await describeLogDirs.handle(call, { topics: null })) as ResponseOf<typeof DESCRIBE_LOG_DIRS>;
    const led = Array.from({ length: topic.partitions }, (_, partition) => partition).filter(
      (partition) => leaderOf(call.gateway, topic.topicId, partition).nodeId === 1,
    );
    expect(answer.results[0]?.topics[0]?.partitions.map(({ partitionIndex }) => partitionIndex)).toEqual(led);
    expect(led.length).toBeGreaterThan(0);
    expect(led.length).toBeLessThan(topic.partitions);
  });
});
