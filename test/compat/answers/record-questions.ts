import { METADATA } from '../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { DESCRIBE_PRODUCERS } from '../../../shared/kafka/protocol/messages/records/describe-producers.ts';
import { FETCH } from '../../../shared/kafka/protocol/messages/records/fetch.ts';
import { INIT_PRODUCER_ID } from '../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { LIST_OFFSETS } from '../../../shared/kafka/protocol/messages/records/list-offsets.ts';
import { OFFSET_FOR_LEADER_EPOCH } from '../../../shared/kafka/protocol/messages/records/offset-for-leader-epoch.ts';
import { PRODUCE } from '../../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { batchOf, produceRequest } from '../../support/produced.ts';
import { type Answer, errorsOf, nameOf, type Questions, type World } from './ask.ts';

const UNKNOWN_ID = 'AAECAwQFBgcICQoLDA0ODw';

interface Produced {
  readonly topic?: string;
  readonly partition?: number;
  readonly batch?: Uint8Array;
  readonly acks?: number;
}

/** Error, base offset and log start offset. */
async function produce({ client }: World, given: Produced): Promise<Answer> {
  const { topic = 'refusing', partition = 0, batch = batchOf({ values: ['a'] }), acks = -1 } = given;
  const { responses } = await client.request(PRODUCE, 12, produceRequest([{ topic, partition, batch }], acks));
  return responses.flatMap(({ partitionResponses }) =>
    partitionResponses.flatMap(({ errorCode, baseOffset, logStartOffset }) => [
      ...[nameOf(errorCode), baseOffset, logStartOffset],
    ]),
  );
}

interface Fetched {
  readonly topic?: string;
  readonly partition?: number;
  readonly offset?: number;
  readonly leaderEpoch?: number;
}

interface SessionOf {
  readonly version?: number;
  readonly id?: number;
  readonly epoch?: number;
  readonly forgotten?: readonly Fetched[];
}

async function fetchRaw({ client }: World, wanted: readonly Fetched[], session: SessionOf = {}) {
  const { version = 12, id = 0, epoch = -1, forgotten = [] } = session;
  return client.request(FETCH, version, {
    ...{ maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, sessionId: id, sessionEpoch: epoch },
    topics: wanted.map(({ topic = 'full', partition = 1, offset = 0, leaderEpoch = -1 }) => ({
      ...{ topic, topicId: topic },
      partitions: [{ partition, fetchOffset: offset, currentLeaderEpoch: leaderEpoch, partitionMaxBytes: 1_000_000 }],
    })),
    forgottenTopicsData: forgotten.map(({ topic = 'full', partition = 1 }) => ({
      ...{ topic, topicId: topic, partitions: [partition] },
    })),
  });
}

type FetchAnswer = Awaited<ReturnType<typeof fetchRaw>>;

/** The error of all, whether there is a session, then for each partition its error, high watermark and log start offset. */
function toldOf({ errorCode, sessionId, responses }: FetchAnswer): Answer {
  const partitions = responses.flatMap(({ partitions: of }) => of);
  return [
    ...[nameOf(errorCode), sessionId === 0 ? 'no session' : 'a session'],
    ...partitions.flatMap(({ partitionIndex, errorCode: own, highWatermark, logStartOffset }) => [
      ...[partitionIndex, nameOf(own), highWatermark, logStartOffset],
    ]),
  ];
}

async function listOffsets({ client }: World, name: string, partitions: readonly [number, number, number?][]) {
  const { topics } = await client.request(LIST_OFFSETS, 7, {
    ...{ replicaId: -1, isolationLevel: 0, timeoutMs: 0 },
    topics: [
      {
        name,
        partitions: partitions.map(([partitionIndex, timestamp, currentLeaderEpoch = -1]) => ({
          ...{ partitionIndex, timestamp, currentLeaderEpoch },
        })),
      },
    ],
  });
  return topics.flatMap(({ partitions: of }) => of.flatMap(({ errorCode, offset }) => [nameOf(errorCode), offset]));
}

async function endOfEpoch({ client }: World, topic: string, partition: number, leaderEpoch: number, current = -1) {
  const partitions = [{ partition, leaderEpoch, currentLeaderEpoch: current }];
  const { topics } = await client.request(OFFSET_FOR_LEADER_EPOCH, 4, {
    replicaId: -1,
    topics: [{ topic, partitions }],
  });
  return topics.flatMap(({ partitions: of }) =>
    of.flatMap(({ errorCode, endOffset }) => [nameOf(errorCode), endOffset]),
  );
}

async function init({ client }: World, transactionalId: string | null, timeoutMs: number, id = -1, epoch = -1) {
  const answer = await client.request(INIT_PRODUCER_ID, 4, {
    ...{ transactionalId, transactionTimeoutMs: timeoutMs, producerId: id, producerEpoch: epoch },
  });
  return [nameOf(answer.errorCode)];
}

function corrupt(): Uint8Array {
  const batch = batchOf({ values: ['broken'] });
  batch[batch.length - 1] = (batch.at(-1) as number) ^ 1;
  return batch;
}

export const RECORD_QUESTIONS: Questions = {
  'produce to what there is none of': async (world) => [
    ...(await produce(world, { topic: 'none' })),
    ...(await produce(world, { topic: 'a b' })),
    ...(await produce(world, { partition: 9 })),
    ...(await produce(world, { partition: -1 })),
  ],
  'produce batches that are refused': async (world) => [
    ...(await produce(world, { batch: corrupt() })),
    ...(await produce(world, { batch: batchOf({ values: ['x'.repeat(2_000)] }) })),
    ...(await produce(world, { batch: batchOf({ values: ['a'], timestampMs: Date.now() + 7_200_000 }) })),
    ...(await produce(world, { acks: 2 })),
  ],
  'produce out of order': async (world) => {
    const batch = (sequence: number, epoch = 0) => batchOf({ values: ['a'], producerId: 4_001, sequence, epoch });
    const answers: (string | number | null)[] = [];
    for (const next of [batch(0, 5), batch(1, 5), batch(1, 5), batch(5, 5), batch(2, 4), batch(3, 6), batch(0, 6)])
      answers.push(...(await produce(world, { topic: 'ordered', batch: next })));
    return answers;
  },
  'begin with a sequence that is not 0': (world) =>
    produce(world, { topic: 'ordered', batch: batchOf({ values: ['a'], producerId: 4_002, sequence: 7 }) }),
  'fetch what there is none of': async (world) => [
    ...toldOf(await fetchRaw(world, [{ topic: 'none' }])),
    ...toldOf(await fetchRaw(world, [{ topic: 'a b' }])),
    ...toldOf(await fetchRaw(world, [{ partition: 9 }])),
    ...toldOf(await fetchRaw(world, [{ offset: 9 }])),
    ...toldOf(await fetchRaw(world, [{ offset: -1 }])),
    ...toldOf(await fetchRaw(world, [{ topic: UNKNOWN_ID }], { version: 13 })),
    ...toldOf(await fetchRaw(world, [{ topic: ZERO_UUID }], { version: 13 })),
  ],
  'fetch with an epoch that no leader had': (world) => fetchRaw(world, [{ leaderEpoch: 9 }]).then(toldOf),
  'fetch with a session that there is none of': async (world) => [
    ...toldOf(await fetchRaw(world, [{}], { id: 77, epoch: 1 })),
    ...toldOf(await fetchRaw(world, [{}], { id: 0, epoch: 3 })),
    ...toldOf(await fetchRaw(world, [{}], { id: 77, epoch: -1 })),
    ...toldOf(await fetchRaw(world, [{}], { version: 6 })),
  ],
  'fetch in a session': async (world) => {
    const begun = await fetchRaw(world, [{}, { partition: 2 }, { partition: 9 }, { topic: 'none' }], { epoch: 0 });
    const { sessionId: id } = begun;
    const answers: (string | number | null)[] = [...toldOf(begun)];
    const steps: readonly [readonly Fetched[], SessionOf][] = [
      [[], { epoch: 1 }],
      [[], { epoch: 1 }],
      [[], { epoch: 2, forgotten: [{ partition: 9 }, { topic: 'none', partition: 1 }] }],
      [[{ partition: 2, offset: 99 }], { epoch: 3 }],
      [[{ partition: 2, offset: 0 }], { epoch: 4 }],
      [[], { epoch: 5 }],
      [[], { version: 13, epoch: 6 }],
      [[], { epoch: 6, forgotten: [{ partition: 2 }] }],
      [[{ partition: 2 }], { epoch: 7, forgotten: [{}, { partition: 2 }] }],
      [[], { epoch: 8 }],
    ];
    for (const [wanted, session] of steps) answers.push(...toldOf(await fetchRaw(world, wanted, { ...session, id })));
    return answers;
  },
  'fetch in sessions that begin with nothing': async (world) => {
    const begun = await fetchRaw(world, [], { epoch: 0 });
    return [...toldOf(begun), ...toldOf(await fetchRaw(world, [], { id: begun.sessionId, epoch: 1 }))];
  },
  'fetch in two sessions of one connection': async (world) => {
    const { sessionId: one } = await fetchRaw(world, [{}], { epoch: 0 });
    const { sessionId: other } = await fetchRaw(world, [{ partition: 2 }], { epoch: 0 });
    return [
      ...toldOf(await fetchRaw(world, [], { id: one, epoch: 1 })),
      ...toldOf(await fetchRaw(world, [{}], { id: one, epoch: 0 })),
      ...toldOf(await fetchRaw(world, [], { id: one, epoch: 2 })),
      ...toldOf(await fetchRaw(world, [], { id: other, epoch: 1 })),
      ...toldOf(await fetchRaw(world, [{}], { id: other, epoch: -1 })),
      ...toldOf(await fetchRaw(world, [], { id: other, epoch: 2 })),
    ];
  },
  'list offsets of what there is none of': async (world) => [
    ...(await listOffsets(world, 'none', [[0, -1]])),
    ...(await listOffsets(world, 'a b', [[0, -1]])),
    ...(await listOffsets(world, 'full', [[9, -1]])),
    ...(await listOffsets(world, 'full', [[0, -9]])),
    ...(await listOffsets(world, 'full', [[0, -1, 9]])),
  ],
  'list the offsets of a partition twice': (world) =>
    listOffsets(world, 'full', [
      [0, -1],
      [0, -1],
    ]),
  'ask where epochs end': async (world) => [
    ...(await endOfEpoch(world, 'none', 0, 0)),
    ...(await endOfEpoch(world, 'a b', 0, 0)),
    ...(await endOfEpoch(world, 'full', 9, 0)),
    ...(await endOfEpoch(world, 'full', 0, 9)),
    ...(await endOfEpoch(world, 'full', 0, 0)),
    ...(await endOfEpoch(world, 'full', 0, 0, 9)),
  ],
  'initialize producers': async (world) => [
    ...(await init(world, null, 1_000)),
    ...(await init(world, '', 1_000)),
    ...(await init(world, null, -1)),
    ...(await init(world, null, 1_000, 5, -1)),
    ...(await init(world, null, 1_000, 5, 1)),
  ],
  'describe producers of what there is none of': async ({ client }) => {
    const topics = [
      { name: 'none', partitionIndexes: [0] },
      { name: 'full', partitionIndexes: [9] },
    ];
    const answer = await client.request(DESCRIBE_PRODUCERS, 0, { topics });
    return answer.topics.flatMap(({ partitions }) => errorsOf(partitions));
  },
  'ask about topics that there are none of': async ({ client }) => {
    const ask = async (version: number, names: readonly (string | null)[], topicId = ZERO_UUID) => {
      const { topics } = await client.request(METADATA, version, {
        topics: names.map((name) => ({ name, topicId })),
        ...{ allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false },
        includeClusterAuthorizedOperations: false,
      });
      return errorsOf(topics);
    };
    return [...(await ask(9, ['none', 'a b', ''])), ...(await ask(12, [null], UNKNOWN_ID))];
  },
};
