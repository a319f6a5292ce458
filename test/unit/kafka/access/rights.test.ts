import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Need } from '../../../../shared/kafka/access/rights.ts';
import { KAFKA_ERRORS } from '../../../../shared/kafka/error-codes.ts';
import type { Handler } from '../../../../shared/kafka/handler.ts';
import { HANDLERS } from '../../../../shared/kafka/handlers.ts';
import type { Api } from '../../../../shared/kafka/protocol/api.ts';
import { SASL_AUTHENTICATE } from '../../../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { METADATA } from '../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { CONSUMER_GROUP_HEARTBEAT } from '../../../../shared/kafka/protocol/messages/members/consumer-group-heartbeat.ts';
import { PRODUCE } from '../../../../shared/kafka/protocol/messages/records/produce.ts';
import { ZERO_UUID } from '../../../../shared/kafka/protocol/types.ts';
import { sealBatch, writeBatch } from '../../../../shared/log/batch/write-batch.ts';
import { ACTIONS, type Action, type Scope } from '../../../../shared/log/scopes.ts';
import { type KafkaConnection, kafkaGateway, type TestGateway } from '../../../support/kafka-gateway.ts';

/**
 * Every API with a caller who has what it needs, and with callers who have all but that. What is refused is found in the
 * answer by its number; beside it stands a topic or a group that the caller may use, which must not suffer.
 */

const { TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, CLUSTER_AUTHORIZATION_FAILED, NONE } = KAFKA_ERRORS;
/** What requests name: the caller has a right on the first in any case, and on the second as the case may be. */
const ALLOWED = 'allowed';
const ASKED = 'asked';

interface Case {
  /** The request, in this version; it names `ALLOWED` and then `ASKED`, where it takes several. */
  readonly version: number;
  request(ids: Ids): Readonly<Record<string, unknown>>;
  /** The number for what is asked, of an answer. */
  errorOf(answer: never): number | undefined;
  /** The number for what is allowed in any case. */
  otherErrorOf?(answer: never): number | undefined;
  /** What is answered without each need, in the order of the declaration. */
  readonly refusals: readonly number[];
  /** What is answered with the rights, if not 0. */
  readonly granted?: number;
}

interface Ids {
  readonly allowed: string;
  readonly asked: string;
}

const batch = sealBatch(writeBatch([{ key: null, value: new Uint8Array(1), headers: [], timestampMs: 1 }]));

const partitionsOf = (...names: string[]) => names.map((name) => ({ name, partitions: [{ partitionIndex: 0 }] }));

interface Listed {
  readonly topics: readonly { readonly partitions: readonly { readonly errorCode: number }[] }[];
}
const firstOf = ({ topics }: Listed): number | undefined => topics[0]?.partitions[0]?.errorCode;
const secondOf = ({ topics }: Listed): number | undefined => topics[1]?.partitions[0]?.errorCode;
interface Fetched {
  readonly responses: readonly { readonly partitions: readonly { readonly errorCode: number }[] }[];
}
interface Produced {
  readonly responses: readonly { readonly partitionResponses: readonly { readonly errorCode: number }[] }[];
}
const CASES: Readonly<Record<string, Case>> = {
  Metadata: {
    version: 12,
    request: () => ({ topics: [ALLOWED, ASKED].map((name) => ({ name, topicId: ZERO_UUID })) }),
    errorOf: ({ topics }: { topics: { errorCode: number }[] }) => topics[1]?.errorCode,
    otherErrorOf: ({ topics }: { topics: { errorCode: number }[] }) => topics[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  Produce: {
    version: 9,
    request: () => ({
      transactionalId: null,
      acks: -1,
      timeoutMs: 1_000,
      topicData: [ALLOWED, ASKED].map((name) => ({ name, partitionData: [{ index: 0, records: [batch] }] })),
    }),
    errorOf: ({ responses }: Produced) => responses[1]?.partitionResponses[0]?.errorCode,
    otherErrorOf: ({ responses }: Produced) => responses[0]?.partitionResponses[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  Fetch: {
    version: 13,
    request: ({ allowed, asked }) => ({
      maxBytes: 1_000,
      topics: [allowed, asked].map((topicId) => ({
        topicId,
        partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }],
      })),
    }),
    errorOf: ({ responses }: Fetched) => responses[1]?.partitions[0]?.errorCode,
    otherErrorOf: ({ responses }: Fetched) => responses[0]?.partitions[0]?.errorCode,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  ListOffsets: {
    version: 5,
    request: () => ({
      topics: [ALLOWED, ASKED].map((name) => ({ name, partitions: [{ partitionIndex: 0, timestamp: -1 }] })),
    }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  OffsetForLeaderEpoch: {
    version: 4,
    request: () => ({
      topics: [ALLOWED, ASKED].map((topic) => ({
        topic,
        partitions: [{ partition: 0, currentLeaderEpoch: 0, leaderEpoch: 0 }],
      })),
    }),
    errorOf: secondOf,
    otherErrorOf: firstOf,
    refusals: [TOPIC_AUTHORIZATION_FAILED],
  },
  InitProducerId: {
    version: 4,
    request: () => ({ transactionalId: null }),
    errorOf: ({ errorCode }: { errorCode: number }) => errorCode,
    refusals: [CLUSTER_AUTHORIZATION_FAILED],
  },
  FindCoordinator: {
    version: 4,
    request: () => ({ keyType: 0, coordinatorKeys: [ALLOWED, ASKED] }),
    errorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[1]?.errorCode,
    otherErrorOf: ({ coordinators }: { coordinators: { errorCode: number }[] }) => coordinators[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  ConsumerGroupHeartbeat: {
    version: 1,
    request: () => ({
      groupId: ASKED,
      memberId: 'm',
      memberEpoch: 0,
      instanceId: null,
      rackId: null,
      rebalanceTimeoutMs: 60_000,
      subscribedTopicNames: [ALLOWED, ASKED],
      subscribedTopicRegex: null,
      serverAssignor: null,
      topicPartitions: [],
    }),
    errorOf: ({ errorCode }: { errorCode: number }) => errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  ConsumerGroupDescribe: {
    version: 0,
    request: () => ({ groupIds: [ALLOWED, ASKED] }),
    errorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[1]?.errorCode,
    otherErrorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  OffsetCommit: {
    version: 9,
    request: () => ({
      groupId: ASKED,
      generationIdOrMemberEpoch: -1,
      topics: partitionsOf(ALLOWED, ASKED).map(({ name, partitions }) => ({
        name,
        partitions: partitions.map((each) => ({
          ...each,
          committedOffset: 0,
          committedLeaderEpoch: -1,
          committedMetadata: '',
        })),
      })),
    }),
    errorOf: secondOf,
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  OffsetFetch: {
    version: 8,
    request: () => ({
      groups: [ALLOWED, ASKED].map((groupId) => ({ groupId, memberId: null, memberEpoch: -1, topics: null })),
    }),
    errorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[1]?.errorCode,
    otherErrorOf: ({ groups }: { groups: { errorCode: number }[] }) => groups[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
  OffsetDelete: {
    version: 0,
    request: () => ({ groupId: ASKED, topics: partitionsOf(ALLOWED, ASKED) }),
    errorOf: (answer: Listed & { errorCode: number }) => answer.errorCode || secondOf(answer),
    refusals: [GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED],
  },
  DeleteGroups: {
    version: 2,
    request: () => ({ groupsNames: [ALLOWED, ASKED] }),
    errorOf: ({ results }: { results: { errorCode: number }[] }) => results[1]?.errorCode,
    otherErrorOf: ({ results }: { results: { errorCode: number }[] }) => results[0]?.errorCode,
    refusals: [GROUP_AUTHORIZATION_FAILED],
  },
};

/** Handlers that do not look at rights, and why. */
const WITHOUT_RIGHTS = ['ApiVersions', 'SaslHandshake', 'SaslAuthenticate'];

const ALL_HANDLERS = [...HANDLERS.values()];
const GUARDED = ALL_HANDLERS.filter((handler): handler is Handler & { readonly needs: readonly Need[] } =>
  Array.isArray(handler.needs),
);

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await kafkaGateway({ credentials: { apiKeys: true } });
});

afterEach(() => gateway.close());

/** Topics and groups of both names, as they are before each request. */
async function prepare(): Promise<Ids> {
  const ids: string[] = [];
  for (const name of [ALLOWED, ASKED]) {
    ids.push((await gateway.broker.putTopic({ name, partitions: 1 })).topic.topicId);
    await gateway.broker.commitOffsets({ group: name, offsets: [{ topic: name, partition: 0, offset: 0 }] });
  }
  return { allowed: ids[0] as string, asked: ids[1] as string };
}

async function connectWith(scopes: readonly Scope[]): Promise<KafkaConnection> {
  const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes });
  const connection = await gateway.connect();
  await connection.send(SASL_HANDSHAKE, 1, { mechanism: 'PLAIN' });
  const authBytes = Buffer.from(`\0${id}\0${key}`);
  expect(await connection.send(SASL_AUTHENTICATE, 2, { authBytes })).toMatchObject({ errorCode: 0 });
  return connection;
}

/** Rights on the topic and group that are allowed in any case. */
const BASE: Scope = { actions: ACTIONS, topics: [ALLOWED], groups: [ALLOWED] };

/** Just what a need asks for on the topic or group that is asked about. */
function scopeFor({ action, on }: Need): Scope {
  const actions: Action[] = [action === 'any' ? 'consume' : action];
  const name = on.startsWith('all') ? '*' : ASKED;
  return on.includes('topic') ? { actions, topics: [name], groups: [] } : { actions, topics: [], groups: [name] };
}

/** Every other right, on everything that is not named like the need. */
function allBut({ action, on }: Need): Scope[] {
  const onTopics = on.includes('topic');
  const other = onTopics ? { topics: [] as string[], groups: ['*'] } : { topics: ['*'], groups: [] as string[] };
  const actions = action === 'any' ? [] : ACTIONS.filter((each) => each !== action);
  const names = on.startsWith('some') ? ['*'] : [ASKED];
  return [
    { actions: ACTIONS, ...other },
    ...(actions.length === 0 ? [] : [{ actions, topics: onTopics ? names : [], groups: onTopics ? [] : names }]),
  ];
}

async function ask(name: string, scopes: readonly Scope[]): Promise<[number | undefined, number | undefined]> {
  const { version, request, errorOf, otherErrorOf } = CASES[name] as Case;
  const ids = await prepare();
  const connection = await connectWith(scopes);
  const api = ALL_HANDLERS.find((handler) => handler.api.name === name)?.api as Api;
  const answer = await connection.send(api, version, request(ids));
  expect(answer).not.toBe('closed');
  connection.cut();
  return [errorOf(answer as never), otherErrorOf?.(answer as never)];
}

it('has a case for every API that needs a right, and every other is known to need none', () => {
  expect(Object.keys(CASES).sort()).toEqual(GUARDED.map(({ api }) => api.name).sort());
  const others = ALL_HANDLERS.filter((handler) => !GUARDED.some(({ api }) => api === handler.api));
  expect(others.map(({ api }) => api.name).sort()).toEqual([...WITHOUT_RIGHTS].sort());
  for (const { api, needs } of GUARDED)
    expect([api.name, CASES[api.name]?.refusals.length]).toEqual([api.name, needs.length]);
});

describe.each(GUARDED.map(({ api: { name }, needs }) => [name, needs] as const))('%s', (name, needs) => {
  const { refusals, granted = NONE } = CASES[name] as Case;

  it('is answered to who has just the rights that it needs', async () => {
    const [error, other] = await ask(name, [BASE, ...needs.map(scopeFor)]);
    expect([error, other ?? granted]).toEqual([granted, granted]);
  });

  it.each(needs.map((need, i) => [`${need.action} on ${need.on}`, i] as const))(
    'is refused without %s',
    async (_, i) => {
      const need = needs[i] as Need;
      const rest = needs.filter((_, other) => other !== i).map(scopeFor);
      const base = need.on.startsWith('some') ? [] : [BASE];
      const [error, other] = await ask(name, [...base, ...rest, ...allBut(need)]);
      expect([error, other ?? NONE]).toEqual([refusals[i], NONE]);
    },
  );
});

describe('a caller with few rights', () => {
  it('sees only topics on which it has some', async () => {
    const { asked, allowed } = await prepare();
    const connection = await connectWith([BASE]);
    const all = await connection.send(METADATA, 12, { topics: null });
    expect(all).toMatchObject({ topics: [{ name: ALLOWED }] });
    const topics = [allowed, asked].map((topicId) => ({ name: null, topicId }));
    expect(await connection.send(METADATA, 12, { topics })).toMatchObject({
      topics: [
        { errorCode: NONE, name: ALLOWED },
        { errorCode: TOPIC_AUTHORIZATION_FAILED, name: null, partitions: [] },
      ],
    });
  });

  it('is not told whether a topic exists', async () => {
    await prepare();
    const connection = await connectWith([BASE]);
    const topics = [ASKED, 'other', '..'].map((name) => ({ name, topicId: ZERO_UUID }));
    const answer = await connection.send(METADATA, 12, { topics, allowAutoTopicCreation: true });
    if (answer === 'closed') throw new Error(answer);
    expect(
      answer.topics.map(({ errorCode, name, topicId, partitions }) => [errorCode, name, topicId, partitions]),
    ).toEqual(topics.map(({ name, topicId }) => [TOPIC_AUTHORIZATION_FAILED, name, topicId, []]));
    await expect(gateway.broker.describeTopic('other')).rejects.toMatchObject({ code: 'unknown_topic' });
  });

  it('makes topics that it asks for only with the right to', async () => {
    for (const [actions, errorCode] of [
      [['produce', 'consume'], TOPIC_AUTHORIZATION_FAILED],
      [['admin'], NONE],
    ] as const) {
      const connection = await connectWith([{ actions, topics: ['new-*'], groups: [] }]);
      const topics = [{ name: 'new-one', topicId: ZERO_UUID }];
      const answer = await connection.send(METADATA, 12, { topics, allowAutoTopicCreation: true });
      expect(answer).toMatchObject({ topics: [{ errorCode }] });
    }
  });

  it('subscribes by a pattern only with the right on all topics', async () => {
    await prepare();
    for (const [topics, errorCode] of [
      [[ALLOWED, ASKED, 'a*'], TOPIC_AUTHORIZATION_FAILED],
      [['*'], NONE],
    ] as const) {
      const connection = await connectWith([{ actions: ['consume'], topics, groups: [ASKED] }]);
      const heartbeat = { ...CASES.ConsumerGroupHeartbeat?.request({ allowed: '', asked: '' }) };
      const request = { ...heartbeat, subscribedTopicNames: null, subscribedTopicRegex: 'a.*' };
      expect(await connection.send(CONSUMER_GROUP_HEARTBEAT, 1, request)).toMatchObject({ errorCode });
    }
  });

  it('that appends without an answer, and may not, is disconnected, and nothing is appended', async () => {
    await prepare();
    const connection = await connectWith([BASE]);
    const append = vi.spyOn(gateway.broker, 'append');
    const topicData = [{ name: ASKED, topicId: ZERO_UUID, partitionData: [{ index: 0, records: [batch] }] }];
    expect(await connection.send(PRODUCE, 9, { transactionalId: null, acks: 0, timeoutMs: 9, topicData })).toBe(
      'closed',
    );
    expect(append.mock.calls.flatMap(([{ batches }]) => batches)).toEqual([]);
    append.mockRestore();
  });
});
