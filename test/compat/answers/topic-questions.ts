import { ALTER_CONFIGS } from '../../../shared/kafka/protocol/messages/topics/alter-configs.ts';
import { CREATE_PARTITIONS } from '../../../shared/kafka/protocol/messages/topics/create-partitions.ts';
import { CREATE_TOPICS } from '../../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { DELETE_RECORDS } from '../../../shared/kafka/protocol/messages/topics/delete-records.ts';
import { DELETE_TOPICS } from '../../../shared/kafka/protocol/messages/topics/delete-topics.ts';
import { DESCRIBE_CONFIGS } from '../../../shared/kafka/protocol/messages/topics/describe-configs.ts';
import { INCREMENTAL_ALTER_CONFIGS } from '../../../shared/kafka/protocol/messages/topics/incremental-alter-configs.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { type Answer, errorsOf, nameOf, type Questions, type World } from './ask.ts';

const [TOPIC, BROKER] = [2, 4];
const [SET, DELETE, APPEND] = [0, 1, 2];
const UNKNOWN_ID = 'AAECAwQFBgcICQoLDA0ODw';

interface NewTopic {
  readonly name: string;
  readonly partitions?: number;
  readonly factor?: number;
  readonly configs?: Readonly<Record<string, string | null>>;
  readonly assignments?: readonly { readonly partitionIndex: number; readonly brokerIds: readonly number[] }[];
}

/** Nothing is made: the questions are about what is refused. */
async function create({ client }: World, topics: readonly NewTopic[]): Promise<Answer> {
  const answer = await client.request(CREATE_TOPICS, 7, {
    validateOnly: true,
    topics: topics.map(({ name, partitions = 1, factor = 1, configs = {}, assignments = [] }) => ({
      ...{ name, numPartitions: partitions, replicationFactor: factor, assignments },
      configs: Object.entries(configs).map(([setting, value]) => ({ name: setting, value })),
    })),
  });
  return errorsOf(answer.topics);
}

async function remove({ client }: World, topics: readonly { name: string | null; topicId: string }[]): Promise<Answer> {
  const { responses } = await client.request(DELETE_TOPICS, 6, { topics, topicNames: [], timeoutMs: 10_000 });
  return errorsOf(responses);
}

async function grow(
  { client }: World,
  topics: readonly { name: string; count: number; assignments?: readonly { brokerIds: readonly number[] }[] }[],
): Promise<Answer> {
  const asked = topics.map(({ assignments = null, ...topic }) => ({ ...topic, assignments }));
  const request = { topics: asked, timeoutMs: 10_000, validateOnly: true };
  return errorsOf((await client.request(CREATE_PARTITIONS, 3, request)).results);
}

async function deleteRecords(
  { client }: World,
  name: string,
  partitions: readonly [number, number][],
): Promise<Answer> {
  const answer = await client.request(DELETE_RECORDS, 2, {
    topics: [{ name, partitions: partitions.map(([partitionIndex, offset]) => ({ partitionIndex, offset })) }],
    timeoutMs: 10_000,
  });
  return answer.topics.flatMap((topic) =>
    topic.partitions.flatMap(({ errorCode, lowWatermark }) => [nameOf(errorCode), lowWatermark]),
  );
}

interface Resource {
  readonly type?: number;
  readonly name: string;
  readonly keys?: readonly string[];
}

async function describe({ client }: World, resources: readonly Resource[]): Promise<Answer> {
  const { results } = await client.request(DESCRIBE_CONFIGS, 4, {
    resources: resources.map(({ type = TOPIC, name, keys = ['retention.ms'] }) => ({
      ...{ resourceType: type, resourceName: name, configurationKeys: keys },
    })),
  });
  return results.flatMap(({ errorCode, configs }) => [nameOf(errorCode), configs.length]);
}

type Change = readonly [setting: string, operation: number, value: string | null];

async function change(
  { client }: World,
  resources: readonly { type?: number; name: string; changes: readonly Change[] }[],
): Promise<Answer> {
  const { responses } = await client.request(INCREMENTAL_ALTER_CONFIGS, 1, {
    validateOnly: true,
    resources: resources.map(({ type = TOPIC, name, changes }) => ({
      ...{ resourceType: type, resourceName: name },
      configs: changes.map(([setting, configOperation, value]) => ({ name: setting, configOperation, value })),
    })),
  });
  return errorsOf(responses);
}

async function replace(
  { client }: World,
  resources: readonly { type?: number; name: string; configs: Readonly<Record<string, string | null>> }[],
): Promise<Answer> {
  const { responses } = await client.request(ALTER_CONFIGS, 2, {
    validateOnly: true,
    resources: resources.map(({ type = TOPIC, name, configs }) => ({
      ...{ resourceType: type, resourceName: name },
      configs: Object.entries(configs).map(([setting, value]) => ({ name: setting, value })),
    })),
  });
  return errorsOf(responses);
}

const set = (name: string, value: string | null): Change => [name, SET, value];

export const TOPIC_QUESTIONS: Questions = {
  'create topics with names that are not allowed': (world) =>
    create(
      world,
      ['', '.', '..', 'a b', 'ü', 'x'.repeat(250), 'a/b'].map((name) => ({ name })),
    ),
  'create a topic with the longest name': (world) => create(world, [{ name: 'x'.repeat(249) }]),
  'create a topic that exists': (world) => create(world, [{ name: 'full' }]),
  'create a topic whose name differs in dot and underscore': (world) => create(world, [{ name: 'with.dot_1' }]),
  'create topics with no partitions': (world) =>
    create(world, [
      { name: 'a', partitions: 0 },
      { name: 'b', partitions: -2 },
    ]),
  'create topics with default numbers': (world) => create(world, [{ name: 'a', partitions: -1, factor: -1 }]),
  'create topics with other factors': (world) =>
    create(world, [
      { name: 'a', factor: 0 },
      { name: 'b', factor: -2 },
      { name: 'c', factor: 2 },
    ]),
  'create a topic with a setting that there is none of': (world) =>
    create(world, [{ name: 'a', configs: { 'no.such.setting': '1' } }]),
  'create topics with bad values': (world) =>
    create(world, [
      { name: 'a', configs: { 'retention.ms': 'soon' } },
      { name: 'b', configs: { 'retention.ms': '-2' } },
      { name: 'c', configs: { 'cleanup.policy': 'burn' } },
      { name: 'd', configs: { 'max.message.bytes': '-1' } },
      { name: 'e', configs: { 'compression.type': 'rar' } },
      { name: 'f', configs: { 'min.insync.replicas': '0' } },
      { name: 'g', configs: { 'unclean.leader.election.enable': 'perhaps' } },
      { name: 'h', configs: { 'min.cleanable.dirty.ratio': '1.5' } },
      { name: 'i', configs: { 'segment.ms': '0' } },
      { name: 'j', configs: { 'message.timestamp.type': 'Now' } },
    ]),
  'create a topic with a setting of no value': (world) =>
    create(world, [{ name: 'a', configs: { 'retention.ms': null } }]),
  'create a topic twice in one request': (world) => create(world, [{ name: 'a' }, { name: 'a' }]),
  'create topics with assignments and numbers': (world) => {
    const assignments = [{ partitionIndex: 0, brokerIds: [1] }];
    return create(world, [
      { name: 'a', assignments },
      { name: 'b', assignments, factor: -1 },
      { name: 'c', assignments, partitions: -1 },
      { name: 'd', assignments, partitions: -1, factor: -1 },
    ]);
  },
  'create topics with assignments that do not fit': (world) =>
    create(
      world,
      [
        [{ partitionIndex: 1, brokerIds: [1] }],
        [{ partitionIndex: 0, brokerIds: [] }],
        [{ partitionIndex: 0, brokerIds: [1, 1] }],
        [
          { partitionIndex: 0, brokerIds: [1] },
          { partitionIndex: 0, brokerIds: [1] },
        ],
        [{ partitionIndex: 0, brokerIds: [77] }],
      ].map((assignments, i) => ({ name: `a${i}`, assignments, partitions: -1, factor: -1 })),
    ),
  'delete topics that there are none of': (world) =>
    remove(world, [
      { name: 'none', topicId: ZERO_UUID },
      { name: null, topicId: UNKNOWN_ID },
    ]),
  'delete a topic without a name': (world) => remove(world, [{ name: null, topicId: ZERO_UUID }]),
  'delete a topic by name and id': (world) => remove(world, [{ name: 'full', topicId: world.topicIds.full as string }]),
  'delete topics with names that are not allowed': (world) =>
    remove(world, [
      { name: '', topicId: ZERO_UUID },
      { name: 'a b', topicId: ZERO_UUID },
    ]),
  'delete a topic twice in one request': (world) =>
    remove(world, [
      { name: 'twice', topicId: ZERO_UUID },
      { name: 'twice', topicId: ZERO_UUID },
    ]),
  'delete a topic by its name and again by its id': (world) =>
    remove(world, [
      { name: 'twice', topicId: ZERO_UUID },
      { name: null, topicId: world.topicIds.twice as string },
    ]),
  'give a topic other numbers of partitions': async (world) => [
    ...(await grow(world, [{ name: 'full', count: 2 }])),
    ...(await grow(world, [{ name: 'full', count: 3 }])),
    ...(await grow(world, [{ name: 'full', count: 0 }])),
    ...(await grow(world, [{ name: 'full', count: -1 }])),
    ...(await grow(world, [{ name: 'full', count: 4 }])),
  ],
  'give partitions to topics that there are none of': (world) =>
    grow(world, [
      { name: 'none', count: 2 },
      { name: 'a b', count: 2 },
    ]),
  'give partitions to a topic twice': (world) =>
    grow(world, [
      { name: 'full', count: 4 },
      { name: 'full', count: 5 },
    ]),
  'give partitions with assignments that do not fit': async (world) => [
    ...(await grow(world, [{ name: 'full', count: 5, assignments: [{ brokerIds: [1] }] }])),
    ...(await grow(world, [{ name: 'full', count: 4, assignments: [{ brokerIds: [] }] }])),
    ...(await grow(world, [{ name: 'full', count: 4, assignments: [{ brokerIds: [77] }] }])),
    ...(await grow(world, [{ name: 'full', count: 4, assignments: [{ brokerIds: [1] }] }])),
  ],
  'delete records beyond the end, and before the beginning': async (world) => [
    ...(await deleteRecords(world, 'full', [[0, 4]])),
    ...(await deleteRecords(world, 'full', [[0, -2]])),
    ...(await deleteRecords(world, 'full', [[0, 0]])),
    ...(await deleteRecords(world, 'full', [[0, 1]])),
    ...(await deleteRecords(world, 'full', [[0, 0]])),
    ...(await deleteRecords(world, 'short', [[0, -1]])),
  ],
  'delete records of what there is none of': async (world) => [
    ...(await deleteRecords(world, 'none', [[0, 0]])),
    ...(await deleteRecords(world, 'full', [[9, 0]])),
    ...(await deleteRecords(world, 'full', [[-1, 0]])),
  ],
  'describe topics that there are none of': (world) =>
    describe(world, [{ name: 'none' }, { name: '' }, { name: 'a b' }]),
  'describe settings that there are none of': (world) => describe(world, [{ name: 'full', keys: ['no.such.setting'] }]),
  'describe brokers that there are none of': (world) =>
    describe(world, [
      { type: BROKER, name: '99', keys: [] },
      { type: BROKER, name: 'abc', keys: [] },
    ]),
  'describe resources of other types': (world) =>
    describe(world, [
      { type: 0, name: 'a' },
      { type: 99, name: 'a' },
    ]),
  'describe a topic twice': (world) => describe(world, [{ name: 'full' }, { name: 'full' }]),
  'change settings of what there is none of': (world) =>
    change(world, [
      { name: 'none', changes: [set('retention.ms', '1')] },
      { name: 'a b', changes: [set('retention.ms', '1')] },
      { name: '', changes: [set('retention.ms', '1')] },
    ]),
  'change settings of resources of other types': (world) =>
    change(world, [
      { type: 0, name: 'a', changes: [set('retention.ms', '1')] },
      { type: 99, name: 'a', changes: [set('retention.ms', '1')] },
    ]),
  'change settings of brokers': async (world) => [
    ...(await change(world, [{ type: BROKER, name: '99', changes: [set('log.retention.ms', '1')] }])),
    ...(await change(world, [{ type: BROKER, name: 'abc', changes: [set('log.retention.ms', '1')] }])),
    ...(await change(world, [{ type: BROKER, name: '1', changes: [set('process.roles', 'broker')] }])),
  ],
  'set what there is none of, and bad values': async (world) => {
    const answers: (string | number | null)[] = [];
    for (const changes of [
      [set('no.such.setting', '1')],
      [['no.such.setting', DELETE, null] as Change],
      [set('retention.ms', 'soon')],
      [set('retention.ms', null)],
      [['retention.ms', 9, '1'] as Change],
      [['retention.ms', APPEND, '1'] as Change],
      [['cleanup.policy', APPEND, 'compact'] as Change],
      [['cleanup.policy', APPEND, 'burn'] as Change],
      [set('retention.ms', '1'), set('retention.ms', '2')],
      [set('retention.ms', '')],
      [],
    ])
      answers.push(...(await change(world, [{ name: 'full', changes }])));
    return answers;
  },
  'change a topic twice in one request': (world) =>
    change(world, [
      { name: 'full', changes: [set('retention.ms', '1')] },
      { name: 'full', changes: [set('segment.ms', '1')] },
    ]),
  'replace settings': async (world) => [
    ...(await replace(world, [{ name: 'none', configs: {} }])),
    ...(await replace(world, [{ name: 'full', configs: { 'no.such.setting': '1' } }])),
    ...(await replace(world, [{ name: 'full', configs: { 'retention.ms': 'soon' } }])),
    ...(await replace(world, [{ name: 'full', configs: { 'retention.ms': '5' } }])),
  ],
  'replace a setting by no value': (world) => replace(world, [{ name: 'full', configs: { 'retention.ms': null } }]),
  'replace the settings of a topic twice': (world) =>
    replace(world, [
      { name: 'full', configs: {} },
      { name: 'full', configs: {} },
    ]),
  'replace settings of resources of other types': (world) => replace(world, [{ type: 99, name: 'full', configs: {} }]),
};
