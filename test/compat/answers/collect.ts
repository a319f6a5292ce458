import { setTimeout as sleep } from 'node:timers/promises';
import { OFFSET_COMMIT } from '../../../shared/kafka/protocol/messages/groups/offset-commit.ts';
import { FIND_COORDINATOR } from '../../../shared/kafka/protocol/messages/members/find-coordinator.ts';
import { JOIN_GROUP } from '../../../shared/kafka/protocol/messages/members/join-group.ts';
import { SYNC_GROUP } from '../../../shared/kafka/protocol/messages/members/sync-group.ts';
import { INIT_PRODUCER_ID } from '../../../shared/kafka/protocol/messages/records/init-producer-id.ts';
import { CREATE_TOPICS } from '../../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { KafkaClient } from '../../support/kafka-client.ts';
import { batchOf, produceAll } from '../../support/produced.ts';
import type { Answer, World } from './ask.ts';
import { GROUP_QUESTIONS } from './group-questions.ts';
import { RECORD_QUESTIONS } from './record-questions.ts';
import { TOPIC_QUESTIONS } from './topic-questions.ts';

export type Answers = Readonly<Record<string, Answer>>;

/** A new Kafka answers at first that it is not ready. */
const TRIES_MAX = 100;
const TRY_EVERY_MS = 200;
/** Some requests make Kafka fail in a way that it answers nothing. */
const ANSWER_MS_MAX = 15_000;
const NO_ANSWER = 'no answer';

/** Asks a server that holds nothing yet. */
export async function collectAnswers(bootstrap: string): Promise<Answers> {
  let client = await KafkaClient.connect(bootstrap);
  try {
    const world = await prepareWorld(client);
    const answers: Record<string, Answer> = {};
    for (const [name, ask] of Object.entries({ ...TOPIC_QUESTIONS, ...RECORD_QUESTIONS, ...GROUP_QUESTIONS })) {
      const answer = await answerInTime(ask({ ...world, client }));
      answers[name] = answer ?? [NO_ANSWER];
      if (answer !== undefined) continue;
      client.close();
      client = await KafkaClient.connect(bootstrap);
    }
    return answers;
  } finally {
    client.close();
  }
}

/** `undefined` if none comes, or the connection ends instead. */
async function answerInTime(asked: Promise<Answer>): Promise<Answer | undefined> {
  const waiting = new AbortController();
  try {
    return await Promise.race([asked, sleep(ANSWER_MS_MAX, undefined, { signal: waiting.signal })]);
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('The connection ended')) return undefined;
    throw error;
  } finally {
    waiting.abort();
    asked.catch(() => {});
  }
}

/** Topics with some records, a group `idle` with an offset, one `twice`, and one `busy` with a member. */
async function prepareWorld(client: KafkaClient): Promise<World> {
  const topicIds: Record<string, string> = {};
  const wanted: readonly [string, number, Record<string, string>?][] = [
    ...([
      ['full', 3],
      ['short', 1],
      ['twice', 1],
      ['with_dot.1', 1],
      ['ordered', 1],
    ] as [string, number][]),
    ['refusing', 1, { 'max.message.bytes': '1000', 'message.timestamp.after.max.ms': '3600000' }],
  ];
  const { topics } = await client.request(CREATE_TOPICS, 7, {
    topics: wanted.map(([name, numPartitions, configs = {}]) => ({
      ...{ name, numPartitions, replicationFactor: 1, assignments: [] },
      configs: Object.entries(configs).map(([setting, value]) => ({ name: setting, value })),
    })),
  });
  for (const { name, topicId, errorCode } of topics) {
    if (errorCode !== 0) throw new Error(`The topic ${name} was not made: error ${errorCode}.`);
    topicIds[name] = topicId;
  }
  for (const name of Object.keys(topicIds))
    await untilDone(`produce to ${name}`, async () => {
      const batch = batchOf({ values: ['a', 'b', 'c'] });
      return (await produceAll(client, [{ topic: name, batch }]))[0]?.errorCode ?? 0;
    });
  // Kafka makes the topic of its coordinators when it is first asked for one.
  await untilDone('find a coordinator', async () => {
    const answer = await client.request(FIND_COORDINATOR, 4, { key: '', keyType: 0, coordinatorKeys: ['idle'] });
    return answer.coordinators[0]?.errorCode ?? 0;
  });
  const idempotent = { transactionalId: null, transactionTimeoutMs: 1_000 };
  await untilDone('get a producer id', async () => (await client.request(INIT_PRODUCER_ID, 4, idempotent)).errorCode);
  for (const group of ['idle', 'twice']) await untilDone(`commit for ${group}`, () => commitFor(client, group));
  return { client, topicIds, memberId: await joinBusy(client) };
}

async function commitFor(client: KafkaClient, groupId: string): Promise<number> {
  const partitions = [{ partitionIndex: 0, committedOffset: 1, committedMetadata: '' }];
  const topic = { name: 'full', topicId: ZERO_UUID, partitions };
  const { topics } = await client.request(OFFSET_COMMIT, 9, { groupId, memberId: '', topics: [topic] });
  return topics[0]?.partitions[0]?.errorCode ?? 0;
}

/** Kafka's ConsumerProtocol: version 0, the topic `full`, no user data. */
const SUBSCRIPTION = Buffer.from(`0000000000010004${Buffer.from('full').toString('hex')}ffffffff`, 'hex');

async function joinBusy(client: KafkaClient): Promise<string> {
  let memberId = '';
  const asks = { groupId: 'busy', sessionTimeoutMs: 60_000, rebalanceTimeoutMs: 1_000, protocolType: 'consumer' };
  const protocols = [{ name: 'range', metadata: new Uint8Array(SUBSCRIPTION) }];
  await untilDone('join the group', async () => {
    const answer = await client.request(JOIN_GROUP, 5, { ...asks, memberId, protocols });
    memberId = answer.memberId;
    return answer.errorCode;
  });
  const assignments = [{ memberId, assignment: new Uint8Array(0) }];
  const sync = { groupId: 'busy', generationId: 1, memberId, protocolType: 'consumer', protocolName: 'range' };
  const { errorCode } = await client.request(SYNC_GROUP, 5, { ...sync, assignments });
  if (errorCode !== 0) throw new Error(`The member was not synchronized: error ${errorCode}.`);
  return memberId;
}

async function untilDone(what: string, attempt: () => Promise<number>): Promise<void> {
  let errorCode = 0;
  for (let i = 0; i < TRIES_MAX; i++) {
    errorCode = await attempt();
    if (errorCode === 0) return;
    await sleep(TRY_EVERY_MS);
  }
  throw new Error(`Could not ${what}: error ${errorCode}.`);
}
