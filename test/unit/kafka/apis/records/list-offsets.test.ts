import { describe, expect, it } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { LIST_OFFSETS } from '../../../../../shared/kafka/protocol/messages/records/list-offsets.ts';
import { OFFSET_FOR_LEADER_EPOCH } from '../../../../../shared/kafka/protocol/messages/records/offset-for-leader-epoch.ts';
import { record } from '../../../../support/memory-broker.ts';
import { runGateway } from '../../../../support/memory-gateway.ts';

const NOW = Date.now();
const [OLDEST, NEWEST] = LIST_OFFSETS.versions;

async function withRecords() {
  const gateway = await runGateway();
  await gateway.broker.putTopic({ name: 't', partitions: 2 });
  for (const age of [3_000, 1_000, 2_000])
    await gateway.broker.appendRecords({
      topic: 't',
      records: [record('a', { partition: 0, timestampMs: NOW - age })],
    });
  const client = await gateway.connect();
  const list = async (timestamp: number, { partition = 0, topic = 't', version = 7, currentLeaderEpoch = -1 } = {}) => {
    const partitions = [{ partitionIndex: partition, timestamp, currentLeaderEpoch }];
    const request = { replicaId: -1, isolationLevel: 0, timeoutMs: 1_000, topics: [{ name: topic, partitions }] };
    const answer = await client.request(LIST_OFFSETS, version, request);
    return answer.topics[0]?.partitions[0];
  };
  return { gateway, client, list };
}

describe('ListOffsets', () => {
  it.each(Array.from({ length: NEWEST - OLDEST + 1 }, (_, i) => OLDEST + i))(
    'finds both ends in version %i',
    async (version) => {
      const { gateway, list } = await withRecords();
      await using _ = gateway;
      expect(await list(-1, { version })).toMatchObject({ errorCode: 0, offset: 3, timestamp: -1 });
      expect(await list(-2, { version })).toMatchObject({ errorCode: 0, offset: 0, timestamp: -1 });
    },
  );

  it.each([
    ['a time', NOW - 2_500, 1, NOW - 1_000],
    ['the time of a record', NOW - 3_000, 0, NOW - 3_000],
    ['a time before all records', 0, 0, NOW - 3_000],
    ['a time behind all records', NOW, -1, -1],
    ["about Java's latest time", 2 ** 63 - 1_024, -1, -1],
    ['the newest time', -3, 1, NOW - 1_000],
    ['the local earliest', -4, 0, -1],
    ['the end of the second tier', -5, -1, -1],
  ])('finds %s', async (_, timestamp, offset, found) => {
    const { gateway, list } = await withRecords();
    await using __ = gateway;
    expect(await list(timestamp)).toMatchObject({ errorCode: 0, offset, timestamp: found });
  });

  it('finds the newest time of what is left', async () => {
    const { gateway, list } = await withRecords();
    await using _ = gateway;
    await gateway.broker.deleteRecords({ topic: 't', partition: 0, before: 2 });
    expect(await list(-3)).toMatchObject({ offset: 2, timestamp: NOW - 2_000 });
    expect(await list(-3, { partition: 1 })).toMatchObject({ errorCode: 0, offset: -1, timestamp: -1 });
  });

  it.each([
    [0, 0],
    [-1, 0],
    [1, KAFKA_ERRORS.UNKNOWN_LEADER_EPOCH],
    [-2, KAFKA_ERRORS.FENCED_LEADER_EPOCH],
  ])('compares the leader epoch %i', async (currentLeaderEpoch, errorCode) => {
    const { gateway, list } = await withRecords();
    await using _ = gateway;
    const found = { errorCode, offset: errorCode === 0 ? 3 : -1 };
    expect(await list(-1, { currentLeaderEpoch })).toMatchObject(found);
    expect((await list(-1, { currentLeaderEpoch, partition: 2 }))?.errorCode).toBe(
      KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION,
    );
  });

  it('says what it does not know', async () => {
    const { gateway, list } = await withRecords();
    await using _ = gateway;
    const code = KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION;
    expect((await list(-1, { partition: 2 }))?.errorCode).toBe(code);
    expect((await list(-1, { topic: 'u' }))?.errorCode).toBe(code);
    expect((await list(-7))?.errorCode).toBe(KAFKA_ERRORS.UNSUPPORTED_VERSION);
  });
});

describe('OffsetForLeaderEpoch', () => {
  it.each([
    ['the only epoch', 0, 0, { errorCode: 0, leaderEpoch: 0, endOffset: 3 }],
    ['a later epoch', 5, 0, { errorCode: 0, leaderEpoch: 0, endOffset: 3 }],
    ['no epoch', -1, -1, { errorCode: 0, leaderEpoch: -1, endOffset: -1 }],
    ['a client that knows of a later leader', 0, 1, { errorCode: KAFKA_ERRORS.UNKNOWN_LEADER_EPOCH }],
    ['a client that knows of a former leader', 0, -2, { errorCode: KAFKA_ERRORS.FENCED_LEADER_EPOCH }],
  ])('answers for %s', async (_, leaderEpoch, currentLeaderEpoch, expected) => {
    const { gateway, client } = await withRecords();
    await using __ = gateway;
    const topics = [{ topic: 't', partitions: [{ partition: 0, currentLeaderEpoch, leaderEpoch }] }];
    const answer = await client.request(OFFSET_FOR_LEADER_EPOCH, 4, { topics });
    expect(answer.topics[0]?.partitions[0]).toMatchObject(expected);
  });
});
