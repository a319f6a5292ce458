import * as z from 'zod';
import { MEDIA, noParams, noQuery, topicParams } from '../contract.ts';
import { BODY_ERRORS, type Operation } from '../operation.ts';
import { recordInput } from '../records/contract.ts';
import {
  appendAnswer,
  appendHeaders,
  appendInput,
  appendQuery,
  cloudEvent,
  cloudEventBatch,
  entriesInput,
  entriesOutput,
  entriesQuery,
  producerOutput,
  singleAppendOutput,
  singleAppendQuery,
  valuesInput,
} from './contract.ts';

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

export const appendOperations = {
  appendRecords: {
    method: 'post',
    path: '/v1/topics/{topic}/records',
    tag: 'append',
    action: 'produce',
    topics: 'path',
    summary: 'Append records',
    description:
      'As JSON, as NDJSON with one record a line, as CloudEvents, or as Kafka record batches (magic 2) back to back. Records ' +
      'that are acknowledged are durable. A record that fails has `error` in its place; if all records fail, the answer is a ' +
      'problem.',
    params: topicParams,
    query: appendQuery,
    headers: appendHeaders,
    body: {
      required: true,
      content: {
        [MEDIA.json]: z.union([appendInput, valuesInput]),
        [MEDIA.ndjson]: recordInput,
        [MEDIA.cloudEvent]: cloudEvent,
        [MEDIA.cloudEvents]: cloudEventBatch,
        [MEDIA.batches]: 'bytes',
      },
    },
    answers: {
      200: {
        description: 'The offsets of the records; `batches` for raw record batches.',
        content: { [MEDIA.json]: appendAnswer },
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
    description:
      'The content type is kept as the record header `content-type`. The attributes of a CloudEvent in binary mode (`ce-…` ' +
      "headers) become record headers `ce_…`, as in CloudEvents' binding for Kafka.",
    params: topicParams,
    query: singleAppendQuery,
    headers: appendHeaders,
    body: { required: false, content: { '*/*': 'bytes' } },
    answers: { 200: { description: 'The offset of the record.', content: { [MEDIA.json]: singleAppendOutput } } },
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
      'Each entry has its own outcome, and no entry waits for another. If all fail, the answer is a problem.',
    params: noParams,
    query: entriesQuery,
    body: { required: true, content: { [MEDIA.json]: entriesInput } },
    answers: {
      200: {
        description: 'The outcomes, in the order of the request.',
        content: { [MEDIA.json]: entriesOutput },
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
    description: 'With a producer id, each record is appended once, even if requests are retried: see `Producer-Id`.',
    params: noParams,
    query: noQuery,
    answers: {
      201: {
        description: 'The producer begins at sequence 0 in each partition.',
        content: { [MEDIA.json]: producerOutput },
      },
    },
    errors: [],
  },
} as const satisfies Record<string, Operation>;
