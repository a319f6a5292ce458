import type * as z from 'zod';
import type { ErrorCode } from '../log/errors.ts';
import type { Action } from '../log/scopes.ts';

/**
 * An operation of the HTTP API as data: the router, the checks of a request, the OpenAPI document and the tests are all
 * made from it. Each area has a table of its own; `operations.ts` puts them together.
 */
export interface Operation {
  readonly method: 'get' | 'put' | 'post' | 'delete';
  /** As in OpenAPI: `{name}` is one segment, and `{name+}` here all the rest. */
  readonly path: string;
  readonly tag: Tag;
  /** The right that it takes, if the server asks for any; `any`: any one of them. */
  readonly action: Action | 'any' | 'open';
  /**
   * What the right must cover: the topic of the path; the topics that the body names, each of which the operation checks
   * itself; some topic, whichever; or all of them, by the pattern `*`.
   */
  readonly topics: 'path' | 'body' | 'some' | 'all' | 'none';
  readonly summary: string;
  readonly description?: string;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  /** The query is covered by a signature, which the operation checks as a whole instead of each parameter. */
  readonly signed?: true;
  /**
   * Request headers that mean something here. A header that makes a request conditional, done once or resumed is rejected
   * by every operation that does not name it: ignoring it would break what its sender relies on.
   */
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
  /** `events`: server-sent events. */
  readonly content?: Readonly<Record<string, z.ZodType | 'bytes' | 'events' | 'html'>>;
  readonly headers?: Readonly<Record<string, string>>;
}

export const TAGS = {
  topics: 'Make, change, list and delete topics.',
  append: 'Append records: as JSON, lines, CloudEvents, any body, or Kafka record batches.',
  read: 'Read records: a page, a long poll, a live stream, or directly from the storage.',
  access: 'API keys.',
  service: 'What the server is and does.',
} as const;
export type Tag = keyof typeof TAGS;

/** What the parts of a request besides its body are, once they were checked. */
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
