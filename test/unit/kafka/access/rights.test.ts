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
import { DESCRIBE_TRANSACTIONS } from '../../../../shared/kafka/protocol/messages/transactions/describe-transactions.ts';
import { ZERO_UUID } from '../../../../shared/kafka/protocol/types.ts';
import { ACTIONS, type Action, type Scope } from '../../../../shared/log/scopes.ts';
import { beginTransaction } from '../../../support/begin-transaction.ts';
import { type KafkaConnection, kafkaGateway, type TestGateway } from '../../../support/kafka-gateway.ts';
import { ALLOWED, ASKED, batch, CASES, type Case, type Ids } from './rights-cases.ts';

/**
 * Every API with a caller who has what it needs, and with callers who have all but that. What is refused is found in the
 * answer by its number; beside it stands a topic or a group that the caller may use, which must not suffer.
 */

const { TOPIC_AUTHORIZATION_FAILED, NONE } = KAFKA_ERRORS;

/** Handlers that do not look at rights, and why. */
const WITHOUT_RIGHTS = [
  ...['ApiVersions', 'SaslHandshake', 'SaslAuthenticate'],
  // They tell nothing of topics or groups.
  ...['DescribeCluster', 'DescribeClientQuotas', 'ListPartitionReassignments'],
];

const ALL_HANDLERS = [...HANDLERS.values()];
const GUARDED = ALL_HANDLERS.filter((handler): handler is Handler & { readonly needs: readonly Need[] } =>
  Array.isArray(handler.needs),
);

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await kafkaGateway({ credentials: { apiKeys: true } });
});

afterEach(() => gateway.close());

/** Topics, groups and transactional ids of both names, as they are before each request. */
async function prepare(): Promise<Ids> {
  const ids: string[] = [];
  for (const name of [ALLOWED, ASKED]) {
    ids.push((await gateway.broker.putTopic({ name, partitions: 1 })).topic.topicId);
    await gateway.broker.commitOffsets({ group: name, offsets: [{ topic: name, partition: 0, offset: 0 }] });
    await gateway.broker.initialiseProducer({ transactionalId: name, timeoutMs: 60_000 });
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

/** Rights on the topic, group and transactional id that are allowed in any case. */
const BASE: Scope = { actions: ACTIONS, topics: [ALLOWED], groups: [ALLOWED], transactionalIds: [ALLOWED] };
const NOTHING: Scope = { actions: ACTIONS, topics: [], groups: [], transactionalIds: [] };

function resourceOf({ on }: Need): 'topics' | 'groups' | 'transactionalIds' {
  if (on === 'transactional id') return 'transactionalIds';
  return on.includes('topic') ? 'topics' : 'groups';
}

/** Just what a need asks for on what is asked about. */
function scopeFor(need: Need): Scope {
  const { action, on } = need;
  const actions: Action[] = [action === 'any' ? 'consume' : action];
  return { ...NOTHING, actions, [resourceOf(need)]: [on.startsWith('all') ? '*' : ASKED] };
}

/** Every other right, on everything that is not named like the need. */
function allBut(need: Need): Scope[] {
  const { action, on } = need;
  const actions = action === 'any' ? [] : ACTIONS.filter((each) => each !== action);
  return [
    { actions: ACTIONS, topics: ['*'], groups: ['*'], transactionalIds: ['*'], [resourceOf(need)]: [] },
    ...(actions.length === 0
      ? []
      : [{ ...NOTHING, actions, [resourceOf(need)]: on.startsWith('some') ? ['*'] : [ASKED] }]),
  ];
}

async function ask(name: string, scopes: readonly Scope[]): Promise<[number | undefined, number | undefined]> {
  const { api: apiName = name, version, request, errorOf, otherErrorOf } = CASES[name] as Case;
  const ids = await prepare();
  const connection = await connectWith(scopes);
  const api = ALL_HANDLERS.find((handler) => handler.api.name === apiName)?.api as Api;
  const answer = await connection.send(api, version, request(ids));
  expect(answer).not.toBe('closed');
  connection.cut();
  return [errorOf(answer as never), otherErrorOf?.(answer as never)];
}

it('has a case for every right that an API needs, and every other is known to need none', () => {
  const cases = Object.entries(CASES).map(([name, { api = name, refusals }]) => ({ api, refusals }));
  expect([...new Set(cases.map(({ api }) => api))].sort()).toEqual(GUARDED.map(({ api }) => api.name).sort());
  const others = ALL_HANDLERS.filter((handler) => !GUARDED.some(({ api }) => api === handler.api));
  expect(others.map(({ api }) => api.name).sort()).toEqual([...WITHOUT_RIGHTS].sort());
  for (const { api, needs } of GUARDED) {
    const ofApi = cases.filter((one) => one.api === api.name);
    for (const { refusals } of ofApi) expect([api.name, refusals.length]).toEqual([api.name, needs.length]);
    const isShown = (_: Need, i: number): boolean => ofApi.some(({ refusals }) => refusals[i] !== undefined);
    expect([api.name, needs.map(isShown)]).toEqual([api.name, needs.map(() => true)]);
  }
});

describe.each(Object.entries(CASES))('%s', (name, { api = name, refusals, granted = NONE }) => {
  const needs = GUARDED.find((handler) => handler.api.name === api)?.needs ?? [];

  it('is answered to who has just the rights that it needs', async () => {
    const [error, other] = await ask(name, [BASE, ...needs.map(scopeFor)]);
    expect([error, other ?? granted]).toEqual([granted, granted]);
  });

  it.each(needs.map((need, i) => [`${need.action} on ${need.on}`, i] as const))(
    'is refused without %s, if it needs that',
    async (_, i) => {
      const need = needs[i] as Need;
      const rest = needs.filter((_, other) => other !== i).map(scopeFor);
      const base = need.on.startsWith('some') ? [] : [BASE];
      const [error, other] = await ask(name, [...base, ...rest, ...allBut(need)]);
      expect([error, other ?? NONE]).toEqual([refusals[i] ?? granted, NONE]);
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

  it('sees of a transaction only topics on which it has some', async () => {
    await prepare();
    for (const topic of [ALLOWED, ASKED]) await beginTransaction(gateway.broker, topic, { topic });
    const connection = await connectWith([{ ...BASE, transactionalIds: ['*'] }]);
    const transactionalIds = [ALLOWED, ASKED];
    expect(await connection.send(DESCRIBE_TRANSACTIONS, 0, { transactionalIds })).toMatchObject({
      transactionStates: [
        { errorCode: NONE, transactionState: 'Ongoing', topics: [{ topic: ALLOWED }] },
        { errorCode: NONE, transactionState: 'Ongoing', topics: [] },
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
