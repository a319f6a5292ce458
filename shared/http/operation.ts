import type * as z from 'zod';
import type { ErrorCode } from '../log/errors.ts';
import type { Action } from '../log/scopes.ts';
import * as apiKeys from './access/contract.ts';
import * as contract from './contract.ts';

/**
 * The operations of the HTTP API as data: the router, the checks of parameters, the OpenAPI document and the tests are all
 * made from this table.
 */
export interface Operation {
  readonly method: 'get' | 'put' | 'post' | 'delete';
  /** As in OpenAPI: `{name}` is one segment, and `{name+}` here all the rest. */
  readonly path: string;
  readonly tag: 'topics' | 'append' | 'read' | 'access' | 'service';
  /** The right that it takes, where the server asks for any; `any`: one of them, whichever. */
  readonly action: Action | 'any' | 'open';
  /**
   * On what: the topic of its path; those that its body names, each of which it checks itself; some topic, whichever; or
   * all of them, by the pattern `*`.
   */
  readonly topics: 'path' | 'body' | 'some' | 'all' | 'none';
  readonly summary: string;
  readonly description?: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  /** Request headers that mean something here. Those of `appendHeaders` are refused where they do not. */
  readonly headers?: z.ZodObject;
  readonly body?: {
    readonly required: boolean;
    /** By media type; `bytes` is any content. */
    readonly content: Readonly<Record<string, z.ZodType | 'bytes'>>;
  };
  readonly answers: Readonly<Record<number, Answer>>;
  readonly errors: readonly ErrorCode[];
}

interface Answer {
  readonly description: string;
  readonly content?: Readonly<Record<string, z.ZodType | 'bytes' | 'events'>>;
  readonly headers?: Readonly<Record<string, string>>;
}

const { MEDIA } = contract;

/** What any operation may answer with. */
export const COMMON_ERRORS: readonly ErrorCode[] = [
  'invalid_request',
  'access_denied',
  'not_acceptable',
  'throttled',
  'storage_unavailable',
  'shutting_down',
  'internal',
];

const BODY_ERRORS = ['unsupported_media_type', 'request_too_large'] as const;
const APPEND_ERRORS = [
  ...BODY_ERRORS,
  'unknown_topic',
  'unknown_partition',
  'record_too_large',
  'offset_mismatch',
  'producer_fenced',
  'out_of_order_sequence',
  'idempotency_key_reused',
  'atomic_append_refused',
  'storage_full',
] as const;
const READ_ERRORS = ['unknown_topic', 'unknown_partition', 'corrupt_data'] as const;

export const EVENTS_DESCRIPTION =
  'Server-sent events. `record`: its data is a record with its partition, its id the next offsets of all partitions ' +
  '(`0:17,1:4`), with which `Last-Event-ID` or `from` go on. In topics of more than 64 partitions only the last event of ' +
  'each write has an id. `heartbeat`: sent first and whenever nothing else was for some seconds, with the same id. `gap`: ' +
  'data `{"partition", "from", "to"}`: these offsets were dropped by retention before they could be read. `error`: its data ' +
  'is a problem, and the stream ends.';

export const OPERATIONS = {
  listTopics: {
    method: 'get',
    path: '/v1/topics',
    tag: 'topics',
    action: 'any',
    topics: 'some',
    summary: 'List topics, in the order of their names',
    params: contract.noParams,
    query: contract.pageQuery,
    answers: { 200: { description: 'A page of topics.', content: { [MEDIA.json]: contract.topicPage } } },
    errors: [],
  },
  putTopic: {
    method: 'put',
    path: '/v1/topics/{topic}',
    tag: 'topics',
    action: 'admin',
    topics: 'path',
    summary: 'Make a topic, or change it',
    description: 'Sending the same again changes nothing. Partitions only grow.',
    params: contract.topicParams,
    query: contract.noQuery,
    body: { required: false, content: { [MEDIA.json]: contract.topicInput } },
    answers: {
      200: { description: 'It existed, and is now as asked for.', content: { [MEDIA.json]: contract.topicOutput } },
      201: { description: 'It was made.', content: { [MEDIA.json]: contract.topicOutput } },
    },
    errors: ['topic_conflict', ...BODY_ERRORS],
  },
  getTopic: {
    method: 'get',
    path: '/v1/topics/{topic}',
    tag: 'topics',
    action: 'any',
    topics: 'path',
    summary: 'Describe a topic and its partitions',
    params: contract.topicParams,
    query: contract.noQuery,
    answers: { 200: { description: 'The topic.', content: { [MEDIA.json]: contract.topicDetail } } },
    errors: ['unknown_topic'],
  },
  deleteTopic: {
    method: 'delete',
    path: '/v1/topics/{topic}',
    tag: 'topics',
    action: 'admin',
    topics: 'path',
    summary: 'Delete a topic',
    description: 'When it is answered no append to the topic can succeed any more, and its name is free.',
    params: contract.topicParams,
    query: contract.noQuery,
    answers: { 204: { description: 'It is deleted.' } },
    errors: ['unknown_topic'],
  },
  appendRecords: {
    method: 'post',
    path: '/v1/topics/{topic}/records',
    tag: 'append',
    action: 'produce',
    topics: 'path',
    summary: 'Append records',
    description:
      'As JSON, as NDJSON with one record a line, or as Kafka record batches (magic 2) back to back. What was answered is ' +
      'durable. A record that fails alone has `error` in its place; where all fail the answer is a problem.',
    params: contract.topicParams,
    query: contract.appendQuery,
    headers: contract.appendHeaders,
    body: {
      required: true,
      content: {
        [MEDIA.json]: contract.appendInput,
        [MEDIA.ndjson]: contract.recordInput,
        [MEDIA.batches]: 'bytes',
      },
    },
    answers: {
      200: {
        description: 'Where the records are; `batches` for raw record batches.',
        content: { [MEDIA.json]: contract.appendAnswer },
      },
    },
    errors: [...APPEND_ERRORS, 'invalid_batch'],
  },
  appendOne: {
    method: 'post',
    path: '/v1/topics/{topic}',
    tag: 'append',
    action: 'produce',
    topics: 'path',
    summary: 'Append the body as one record',
    description: 'The content type is kept as the record header `content-type`.',
    params: contract.topicParams,
    query: contract.singleAppendQuery,
    headers: contract.appendHeaders,
    body: { required: false, content: { '*/*': 'bytes' } },
    answers: { 200: { description: 'Where the record is.', content: { [MEDIA.json]: contract.singleAppendOutput } } },
    errors: APPEND_ERRORS,
  },
  appendEntries: {
    method: 'post',
    path: '/v1/records',
    tag: 'append',
    action: 'produce',
    topics: 'body',
    summary: 'Append to several topics',
    description:
      'Each entry has its own outcome, and no entry waits for another. Where all fail the answer is a problem.',
    params: contract.noParams,
    query: contract.entriesQuery,
    body: { required: true, content: { [MEDIA.json]: contract.entriesInput } },
    answers: {
      200: {
        description: 'The outcomes, in the order of the request.',
        content: { [MEDIA.json]: contract.entriesOutput },
      },
    },
    errors: APPEND_ERRORS,
  },
  makeProducer: {
    method: 'post',
    path: '/v1/producers',
    tag: 'append',
    action: 'produce',
    topics: 'some',
    summary: 'Get a producer id',
    description: 'To append each record once, whatever is retried: see `Producer-Id`.',
    params: contract.noParams,
    query: contract.noQuery,
    answers: {
      201: { description: 'It begins at sequence 0.', content: { [MEDIA.json]: contract.producerOutput } },
    },
    errors: [],
  },
  readRecords: {
    method: 'get',
    path: '/v1/topics/{topic}/partitions/{partition}/records',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Read records of a partition',
    description: 'At most one of `offset`, `timestamp` and `tail`.',
    params: contract.partitionParams,
    query: contract.readQuery,
    headers: contract.tailHeaders,
    answers: {
      200: {
        description: 'Records, and where to go on.',
        content: {
          [MEDIA.json]: contract.readOutput,
          [MEDIA.ndjson]: contract.ndjsonLine,
          [MEDIA.sse]: 'events',
          [MEDIA.batches]: 'bytes',
        },
        headers: {
          'Tailrace-Next-Offset': 'With raw batches: `nextOffset`.',
          'Tailrace-High-Watermark': 'With raw batches: `highWatermark`.',
          'Tailrace-Log-Start-Offset': 'With raw batches: `logStartOffset`.',
        },
      },
    },
    errors: [...READ_ERRORS, 'offset_out_of_range'],
  },
  tailTopic: {
    method: 'get',
    path: '/v1/topics/{topic}/tail',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Follow the records of all partitions, live',
    params: contract.topicParams,
    query: contract.tailQuery,
    headers: contract.tailHeaders,
    answers: { 200: { description: EVENTS_DESCRIPTION, content: { [MEDIA.sse]: 'events' } } },
    errors: READ_ERRORS,
  },
  planFetch: {
    method: 'post',
    path: '/v1/topics/{topic}/fetch-plan',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Where to take record batches from directly',
    params: contract.topicParams,
    query: contract.noQuery,
    body: { required: true, content: { [MEDIA.json]: contract.fetchPlanInput } },
    answers: { 200: { description: 'The plan.', content: { [MEDIA.json]: contract.fetchPlanOutput } } },
    errors: [...READ_ERRORS, ...BODY_ERRORS, 'offset_out_of_range'],
  },
  listSegments: {
    method: 'get',
    path: '/v1/topics/{topic}/segments',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Where every offset lies',
    params: contract.topicParams,
    query: contract.segmentsQuery,
    answers: { 200: { description: 'A page of the segment map.', content: { [MEDIA.json]: contract.segmentPage } } },
    errors: READ_ERRORS,
  },
  getOffset: {
    method: 'get',
    path: '/v1/topics/{topic}/partitions/{partition}/offsets',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'The offset at a time',
    params: contract.partitionParams,
    query: contract.offsetQuery,
    answers: { 200: { description: 'The offset.', content: { [MEDIA.json]: contract.offsetForTimeOutput } } },
    errors: READ_ERRORS,
  },
  createApiKey: {
    method: 'post',
    path: '/v1/api-keys',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'Make an API key',
    description: 'The answer has the whole key. It is not kept, and can not be had again.',
    params: contract.noParams,
    query: contract.noQuery,
    body: { required: true, content: { [MEDIA.json]: apiKeys.apiKeyInput } },
    answers: { 201: { description: 'It was made.', content: { [MEDIA.json]: apiKeys.createdApiKeyOutput } } },
    errors: BODY_ERRORS,
  },
  listApiKeys: {
    method: 'get',
    path: '/v1/api-keys',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'List API keys, the revoked and expired ones too',
    params: contract.noParams,
    query: contract.pageQuery,
    answers: { 200: { description: 'A page of keys.', content: { [MEDIA.json]: apiKeys.apiKeyPage } } },
    errors: [],
  },
  revokeApiKey: {
    method: 'delete',
    path: '/v1/api-keys/{id}',
    tag: 'access',
    action: 'admin',
    topics: 'all',
    summary: 'Revoke an API key',
    description: 'Servers that have checked it go on taking it for 30 seconds at most. Revoking again changes nothing.',
    params: apiKeys.apiKeyParams,
    query: contract.noQuery,
    answers: { 204: { description: 'It is revoked.' } },
    errors: ['not_found'],
  },
  getUsage: {
    method: 'get',
    path: '/v1/usage',
    tag: 'service',
    action: 'admin',
    topics: 'all',
    summary: 'Counted requests to the storage, and what they would cost on AWS',
    params: contract.noParams,
    query: contract.usageQuery,
    answers: { 200: { description: 'Since this process started.', content: { [MEDIA.json]: contract.usageOutput } } },
    errors: [],
  },
  getHealth: {
    method: 'get',
    path: '/v1/health',
    tag: 'service',
    action: 'open',
    topics: 'none',
    summary: 'Whether the server answers',
    params: contract.noParams,
    query: contract.noQuery,
    answers: { 200: { description: 'It does.', content: { [MEDIA.json]: contract.healthOutput } } },
    errors: [],
  },
  getOpenApi: {
    method: 'get',
    path: '/openapi.json',
    tag: 'service',
    action: 'open',
    topics: 'none',
    summary: 'This document',
    params: contract.noParams,
    query: contract.noQuery,
    answers: { 200: { description: 'OpenAPI 3.1.', content: { [MEDIA.json]: contract.openApiOutput } } },
    errors: [],
  },
  getRoot: {
    method: 'get',
    path: '/',
    tag: 'service',
    action: 'open',
    topics: 'none',
    summary: 'Where to begin',
    params: contract.noParams,
    query: contract.noQuery,
    answers: { 200: { description: 'Links.', content: { [MEDIA.json]: contract.rootOutput } } },
    errors: [],
  },
  getObject: {
    method: 'get',
    path: '/v1/objects/{key+}',
    tag: 'read',
    action: 'open',
    topics: 'none',
    summary: 'Bytes of a stored object, at an address from a fetch plan',
    description: 'Take the whole address, with its query, from the fetch plan.',
    params: contract.objectParams,
    query: contract.objectQuery,
    answers: { 200: { description: 'The bytes.', content: { [MEDIA.bytes]: 'bytes' } } },
    errors: ['corrupt_data'],
  },
} as const satisfies Record<string, Operation>;

export type OperationId = keyof typeof OPERATIONS;
export const OPERATION_IDS = Object.keys(OPERATIONS) as OperationId[];
