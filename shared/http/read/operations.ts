import { MEDIA, noQuery, partitionParams, topicParams } from '../contract.ts';
import { BODY_ERRORS, type Operation } from '../operation.ts';
import {
  fetchPlanInput,
  fetchPlanOutput,
  ndjsonLine,
  objectParams,
  objectQuery,
  offsetForTimeOutput,
  offsetQuery,
  readOutput,
  readQuery,
  segmentPage,
  segmentsQuery,
  tailHeaders,
  tailQuery,
} from './contract.ts';

const READ_ERRORS = ['unknown_topic', 'unknown_partition', 'corrupt_data'] as const;

export const EVENTS_DESCRIPTION =
  'Server-sent events. `record`: its data is a record with its partition. `heartbeat`: sent first, and after some seconds ' +
  'without another event. `gap`: retention dropped records before they could be read, or the topic was made again; `reason` ' +
  'says which. `error`: its data is a problem, and the stream ends. The id of an event contains the topic and the position ' +
  'in every partition. To continue, send the id unchanged as `Last-Event-ID`, `lastEventId` or `from`. In topics of more ' +
  'than 64 partitions only the last event of each write has an id.';

export const readOperations = {
  readRecords: {
    method: 'get',
    path: '/v1/topics/{topic}/partitions/{partition}/records',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Read records of a partition',
    description: 'At most one of `offset`, `timestamp` and `tail`.',
    params: partitionParams,
    query: readQuery,
    headers: tailHeaders,
    answers: {
      200: {
        description: 'Records, and the offset at which to continue.',
        content: {
          [MEDIA.json]: readOutput,
          [MEDIA.ndjson]: ndjsonLine,
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
    params: topicParams,
    query: tailQuery,
    headers: tailHeaders,
    answers: { 200: { description: EVENTS_DESCRIPTION, content: { [MEDIA.sse]: 'events' } } },
    errors: READ_ERRORS,
  },
  planFetch: {
    method: 'post',
    path: '/v1/topics/{topic}/fetch-plan',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Where to fetch record batches directly',
    params: topicParams,
    query: noQuery,
    body: { required: true, content: { [MEDIA.json]: fetchPlanInput } },
    answers: { 200: { description: 'The plan.', content: { [MEDIA.json]: fetchPlanOutput } } },
    errors: [...READ_ERRORS, ...BODY_ERRORS, 'offset_out_of_range'],
  },
  listSegments: {
    method: 'get',
    path: '/v1/topics/{topic}/segments',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'Where every offset is stored',
    params: topicParams,
    query: segmentsQuery,
    answers: { 200: { description: 'A page of the segment map.', content: { [MEDIA.json]: segmentPage } } },
    errors: READ_ERRORS,
  },
  getOffset: {
    method: 'get',
    path: '/v1/topics/{topic}/partitions/{partition}/offsets',
    tag: 'read',
    action: 'consume',
    topics: 'path',
    summary: 'The offset at a time',
    params: partitionParams,
    query: offsetQuery,
    answers: { 200: { description: 'The offset.', content: { [MEDIA.json]: offsetForTimeOutput } } },
    errors: READ_ERRORS,
  },
  getObject: {
    method: 'get',
    path: '/v1/objects/{key+}',
    tag: 'read',
    action: 'open',
    topics: 'none',
    summary: 'Bytes of a stored object, at an address from a fetch plan',
    description: 'Use the whole address, including its query, as in the fetch plan.',
    params: objectParams,
    query: objectQuery,
    signed: true,
    answers: { 200: { description: 'The bytes.', content: { [MEDIA.bytes]: 'bytes' } } },
    errors: ['corrupt_data'],
  },
} as const satisfies Record<string, Operation>;
