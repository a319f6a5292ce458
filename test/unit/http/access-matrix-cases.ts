import type { OperationId } from '../../../shared/http/operations.ts';
import type { Action } from '../../../shared/log/scopes.ts';

/** What every operation takes and answers, for `access-matrix.test.ts`. */

export type Right = readonly [
  Action | 'any',
  'topic' | 'some topic' | 'all topics' | 'group' | 'some group' | 'transactional id' | 'some transactional id',
];

export interface Case {
  /** All of these; none: the operation is open. */
  readonly rights: readonly Right[];
  request(topic: string): { readonly path: string; readonly body?: unknown };
  /** Of those who have the right: where the topic exists, and where it doesn't. */
  readonly granted: readonly [number, number];
}

export const EXISTING = 'orders';
export const MISSING = 'absent';
/** As long as that of a topic, so that not even a length tells them apart. */
export const OTHER = 'others';

const onTopic =
  (rest: string, body?: unknown): Case['request'] =>
  (topic) => ({ path: `/v1/topics/${topic}${rest}`, body });
/** A group has the name of the topic that it reads. */
const onGroup =
  (rest: string, bodyOf: (topic: string) => unknown = () => undefined): Case['request'] =>
  (topic) => ({ path: `/v1/groups/${topic}${rest.replace('TOPIC', topic)}`, body: bodyOf(topic) });
/** A transactional id has the name of a topic. */
const onTransaction =
  (rest = '', bodyOf: (topic: string) => unknown = () => undefined): Case['request'] =>
  (topic) => ({ path: `/v1/transactions/${topic}${rest}`, body: bodyOf(topic) });
const PRODUCER = { producerId: 0, producerEpoch: 0 };
const recordsFor = (topic: string) => ({ entries: [{ topic, records: [{ value: 'x' }] }] });
const at =
  (path: string, body?: unknown): Case['request'] =>
  () => ({ path, body });

export const CASES: Readonly<Record<OperationId, Case>> = {
  listTopics: { rights: [['any', 'some topic']], request: at('/v1/topics'), granted: [200, 200] },
  putTopic: { rights: [['admin', 'topic']], request: onTopic('', { partitions: 2 }), granted: [200, 201] },
  getTopic: { rights: [['any', 'topic']], request: onTopic(''), granted: [200, 404] },
  deleteTopic: { rights: [['admin', 'topic']], request: onTopic(''), granted: [204, 404] },
  deleteRecords: {
    rights: [['admin', 'topic']],
    request: onTopic('/partitions/0/records?before=0'),
    granted: [200, 404],
  },
  verifyTopic: { rights: [['admin', 'topic']], request: onTopic('/verification'), granted: [200, 404] },
  appendRecords: {
    rights: [['produce', 'topic']],
    request: onTopic('/records', { records: [{ value: 'x' }] }),
    granted: [200, 404],
  },
  appendOne: { rights: [['produce', 'topic']], request: onTopic('', 'x'), granted: [200, 404] },
  appendEntries: {
    rights: [['produce', 'topic']],
    request: (topic) => ({ path: '/v1/records', body: { entries: [{ id: 'a', topic, records: [{ value: 'x' }] }] } }),
    granted: [200, 404],
  },
  makeProducer: { rights: [['produce', 'some topic']], request: at('/v1/producers'), granted: [201, 201] },
  readRecords: { rights: [['consume', 'topic']], request: onTopic('/partitions/0/records'), granted: [200, 404] },
  tailTopic: { rights: [['consume', 'topic']], request: onTopic('/tail'), granted: [200, 404] },
  planFetch: {
    rights: [['consume', 'topic']],
    request: onTopic('/fetch-plan', { partitions: [{ partition: 0, offset: 0 }] }),
    granted: [200, 404],
  },
  listSegments: { rights: [['consume', 'topic']], request: onTopic('/segments'), granted: [200, 404] },
  getOffset: {
    rights: [['consume', 'topic']],
    request: onTopic('/partitions/0/offsets?timestamp=0'),
    granted: [200, 404],
  },
  listGroups: { rights: [['any', 'some group']], request: at('/v1/groups'), granted: [200, 200] },
  getGroup: { rights: [['any', 'group']], request: onGroup(''), granted: [200, 404] },
  deleteGroup: { rights: [['admin', 'group']], request: onGroup(''), granted: [204, 404] },
  heartbeat: {
    rights: [
      ['consume', 'group'],
      ['consume', 'topic'],
    ],
    request: onGroup('/members/m', (topic) => ({ memberEpoch: 0, topics: [topic] })),
    granted: [200, 200],
  },
  leaveGroup: { rights: [['consume', 'group']], request: onGroup('/members/m'), granted: [404, 404] },
  extendLease: {
    rights: [['consume', 'group']],
    request: onGroup('/members/m/extend', () => ({ token: '!' })),
    granted: [400, 400],
  },
  // The token is looked at only after the rights on the topics.
  pollGroup: {
    rights: [
      ['consume', 'group'],
      ['consume', 'topic'],
    ],
    request: onGroup('/poll', (topic) => ({ topics: [topic], after: '!' })),
    granted: [400, 400],
  },
  getGroupLag: { rights: [['any', 'group']], request: onGroup('/lag'), granted: [200, 404] },
  getOffsets: { rights: [['any', 'group']], request: onGroup('/offsets'), granted: [200, 200] },
  commitOffsets: {
    rights: [
      ['consume', 'group'],
      ['consume', 'topic'],
    ],
    request: onGroup('/offsets', (topic) => ({ offsets: [{ topic, partition: 0, offset: 0 }] })),
    granted: [200, 404],
  },
  resetOffsets: {
    rights: [
      ['consume', 'group'],
      ['consume', 'topic'],
    ],
    request: onGroup('/offsets/reset', (topic) => ({ topics: [{ topic }], to: 'latest' })),
    granted: [200, 404],
  },
  deleteOffsets: {
    rights: [
      ['admin', 'group'],
      ['admin', 'topic'],
    ],
    request: onGroup('/offsets?topic=TOPIC'),
    granted: [200, 404],
  },
  listTransactions: {
    rights: [['any', 'some transactional id']],
    request: at('/v1/transactions'),
    granted: [200, 200],
  },
  getTransaction: { rights: [['any', 'transactional id']], request: onTransaction(), granted: [200, 404] },
  abortTransaction: { rights: [['admin', 'transactional id']], request: onTransaction(), granted: [204, 404] },
  transact: {
    rights: [['produce', 'topic']],
    request: (topic) => ({ path: '/v1/transactions', body: recordsFor(topic) }),
    granted: [200, 404],
  },
  beginTransaction: {
    rights: [['produce', 'transactional id']],
    request: onTransaction('/begin'),
    granted: [200, 200],
  },
  appendInTransaction: {
    rights: [
      ['produce', 'transactional id'],
      ['produce', 'topic'],
    ],
    request: onTransaction('/records', (topic) => ({ ...PRODUCER, ...recordsFor(topic) })),
    granted: [200, 404],
  },
  commitOffsetsInTransaction: {
    rights: [
      ['produce', 'transactional id'],
      ['consume', 'group'],
      ['consume', 'topic'],
    ],
    request: onTransaction('/offsets', (topic) => ({
      ...PRODUCER,
      group: topic,
      offsets: [{ topic, partition: 0, offset: 0 }],
    })),
    granted: [204, 404],
  },
  // Nothing was added to it.
  commitTransaction: {
    rights: [['produce', 'transactional id']],
    request: onTransaction('/commit', () => PRODUCER),
    granted: [409, 404],
  },
  abortOwnTransaction: {
    rights: [['produce', 'transactional id']],
    request: onTransaction('/abort', () => PRODUCER),
    granted: [200, 404],
  },
  createApiKey: {
    rights: [['admin', 'all topics']],
    request: at('/v1/api-keys', { name: 'new', scopes: [{ actions: ['produce'], topics: ['*'] }] }),
    granted: [201, 201],
  },
  listApiKeys: { rights: [['admin', 'all topics']], request: at('/v1/api-keys'), granted: [200, 200] },
  revokeApiKey: {
    rights: [['admin', 'all topics']],
    request: at('/v1/api-keys/0123456789abcdef'),
    granted: [404, 404],
  },
  getUsage: { rights: [['admin', 'all topics']], request: at('/v1/usage'), granted: [200, 200] },
  getMetrics: { rights: [['admin', 'all topics']], request: at('/metrics'), granted: [200, 200] },
  getHealth: { rights: [], request: at('/v1/health'), granted: [200, 200] },
  getError: { rights: [], request: at('/errors/internal'), granted: [200, 200] },
  getOpenApi: { rights: [], request: at('/openapi.json'), granted: [200, 200] },
  getRoot: { rights: [], request: at('/'), granted: [200, 200] },
  // What lets in there is the signature in the address.
  getObject: {
    rights: [],
    request: at('/v1/objects/hot/x?start=0&end=1&expires=1&signature=x'),
    granted: [403, 403],
  },
};
