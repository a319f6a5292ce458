import type * as z from 'zod';
import type { ErrorCode } from '../log/errors.ts';
import type { Action } from '../log/scopes.ts';

/**
 * An operation of the HTTP API as data. The router, the checks of requests, the OpenAPI document and the tests are made
 * from operations. Each area has its own table; `operations.ts` combines the tables.
 */
export interface Operation {
  readonly method: 'get' | 'put' | 'post' | 'delete';
  /** The path, as in OpenAPI: `{name}` is one segment. In addition, `{name+}` is the whole rest of the path. */
  readonly path: string;
  readonly tag: Tag;
  /** The required right, if the server checks rights; `any`: any one right is enough. */
  readonly action: Action | 'any' | 'open';
  /**
   * The topics that the right must cover. `path`: the topic of the path. `body`: each topic that the body names; the
   * operation checks these itself. `some`: at least one topic. `all`: all topics, by the pattern `*`.
   */
  readonly topics: 'path' | 'body' | 'some' | 'all' | 'none';
  /**
   * The consumer groups that the right must cover, if it is one on groups. `path`: the group of the path. `some`: at least one
   * group. With `topics: 'body'` the operation itself checks the right on topics.
   */
  readonly groups?: 'path' | 'some';
  /** The transactional ids that the right must cover, if it is one on these. Otherwise as `groups`. */
  readonly transactionalIds?: 'path' | 'some';
  readonly summary: string;
  readonly description?: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  /** The query is covered by a signature, which the operation checks as a whole instead of each parameter. */
  readonly signed?: true;
  /**
   * The request headers that the operation supports. Some headers make a request conditional, done once, or resumed. An
   * operation that does not list such a header rejects it: ignoring the header would break what the sender relies on.
   */
  readonly headers?: z.ZodObject;
  readonly body?: {
    readonly required: boolean;
    /** The schemas by media type; `bytes` is any content. */
    readonly content: Readonly<Record<string, z.ZodType | 'bytes'>>;
  };
  readonly answers: Readonly<Record<number, Answer>>;
  readonly errors: readonly ErrorCode[];
}

interface Answer {
  readonly description: string;
  /** `events`: server-sent events. */
  readonly content?: Readonly<Record<string, z.ZodType | 'bytes' | 'events' | 'html' | 'text'>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export const TAGS = {
  topics: 'Make, change, list and delete topics.',
  append: 'Append records: as JSON, lines, CloudEvents, any body, or Kafka record batches.',
  read: 'Read records: a page, a long poll, a live stream, or directly from the storage.',
  groups: 'Consumer groups: share partitions, commit offsets, and see the lag.',
  transactions: 'Transactions: several appends and commits of offsets, all or nothing.',
  access: 'API keys.',
  service: 'Information about the server.',
} as const;
export type Tag = keyof typeof TAGS;

/** The checked parts of a request, except its body. */
export interface Inputs<O extends Operation> {
  /** Path parameters, decoded. */
  readonly params: z.infer<O['params']>;
  readonly query: z.infer<O['query']>;
  readonly headers: O extends { readonly headers: infer H extends z.ZodObject }
    ? z.infer<H>
    : Readonly<Record<never, never>>;
}

/** Errors of every operation. */
export const COMMON_ERRORS: readonly ErrorCode[] = [
  'invalid_request',
  'access_denied',
  'not_acceptable',
  'headers_too_large',
  'throttled',
  'storage_unavailable',
  'shutting_down',
  'internal',
];

/** Errors of every operation that has a body. */
export const BODY_ERRORS = ['unsupported_media_type', 'request_too_large'] as const;
