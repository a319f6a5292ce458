import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { problem } from '../../shared/http/answer/respond.ts';
import { EventLogError, invalidField } from '../../shared/log/errors.ts';
import { type HttpEvent, toRequest } from './event.ts';
import { logLine } from './log-line.ts';

/**
 * Converts between Lambda's events and the fetch API. Function URLs and API Gateway's HTTP APIs send events of format 2;
 * REST APIs send events of format 1. `handler` returns whole answers. `streamHandler` sends an answer while it is being
 * produced, for Function URLs with response streaming.
 *
 * We do not use `hono/aws-lambda`: it drops empty headers, percent-encodes headers with non-ASCII text, ends a failed
 * stream as if it were whole, and sends NDJSON as base64. It also supports neither a deadline nor work that continues
 * after the answer.
 */

/** The part of Lambda's invocation context that is used here. */
export interface LambdaContext {
  readonly awsRequestId: string;
  getRemainingTimeInMillis(): number;
}

/** An answer that both formats accept. */
export interface LambdaResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly isBase64Encoded: boolean;
}

export interface LambdaStreaming {
  streamifyResponse(handler: (event: HttpEvent, stream: Writable, context: LambdaContext) => Promise<void>): unknown;
  readonly HttpResponseStream: {
    from(
      stream: Writable,
      prelude: { readonly statusCode: number; readonly headers: Readonly<Record<string, string>> },
    ): Writable;
  };
}

declare global {
  /** A global of Lambda's Node runtime. Elsewhere it is absent, or empty because the AWS SDK stores its own data in it. */
  var awslambda: Partial<LambdaStreaming> | undefined;
}

export interface LambdaEdgeComponents {
  fetch(request: Request): Response | Promise<Response>;
  /** Resolves when answered requests have no work left. It is awaited before the environment may freeze. */
  idle(): Promise<void>;
  readonly streaming?: Partial<LambdaStreaming> | undefined;
}

export interface LambdaHandlers {
  handler(event: HttpEvent, context: LambdaContext): Promise<LambdaResult>;
  /** `undefined` outside Lambda's own runtime. */
  readonly streamHandler: unknown;
}

/** Waits end this long before Lambda would end the invocation, which leaves time to answer. */
const ANSWER_MARGIN_MS = 2_000;
/**
 * Work after the answer is abandoned this long before the end of the invocation. The work is safe to stop anywhere,
 * whereas Lambda reports a time-out as an error.
 */
const IDLE_MARGIN_MS = 250;
/** Lambda's limit for an answer that is not streamed, with room for its JSON. */
export const RESULT_BYTES_MAX = 6 * 1024 * 1024 - 64 * 1024;

export function lambdaHandlers(components: LambdaEdgeComponents): LambdaHandlers {
  return {
    async handler(event, context) {
      try {
        return await answering(components, event, context, toResult);
      } finally {
        await settle(components, context);
      }
    },
    streamHandler: streamHandler(components),
  };
}

function streamHandler(components: LambdaEdgeComponents): unknown {
  const { streamifyResponse, HttpResponseStream } = components.streaming ?? {};
  if (streamifyResponse === undefined || HttpResponseStream === undefined) return undefined;
  return streamifyResponse(async (event, stream, context) => {
    try {
      await answering(components, event, context, (response) =>
        send(HttpResponseStream.from(stream, { statusCode: response.status, headers: headersOf(response) }), response),
      );
    } finally {
      // The caller already has the whole answer.
      await settle(components, context);
    }
  });
}

/** Runs a request, then `deliver` with its answer. The request's signal is aborted when the time is up. */
async function answering<T>(
  components: LambdaEdgeComponents,
  event: HttpEvent,
  context: LambdaContext,
  deliver: (response: Response, context: LambdaContext) => Promise<T>,
): Promise<T> {
  const timeIsUp = new AbortController();
  const timer = setTimeout(() => timeIsUp.abort(), Math.max(0, context.getRemainingTimeInMillis() - ANSWER_MARGIN_MS));
  try {
    return await deliver(await respond(components, event, context, timeIsUp.signal), context);
  } finally {
    clearTimeout(timer);
  }
}

async function respond(
  components: LambdaEdgeComponents,
  event: HttpEvent,
  context: LambdaContext,
  signal: AbortSignal,
): Promise<Response> {
  let request: Request;
  try {
    request = toRequest(event, signal);
  } catch (cause) {
    return problemOf(
      context,
      invalidField('request', 'HTTP does not allow this request. Check its method, address and headers.', {}),
      cause,
    );
  }
  try {
    return await components.fetch(request);
  } catch (cause) {
    return problemOf(
      context,
      new EventLogError('internal', 'An unexpected error occurred. Report the request id.'),
      cause,
    );
  }
}

const TEXT = /^(?:text\/|application\/(?:json|x-ndjson)\b|application\/[\w.-]+\+json\b)/i;

async function toResult(response: Response, context: LambdaContext): Promise<LambdaResult> {
  let answer = response;
  let body: Buffer;
  try {
    body = Buffer.from(await response.arrayBuffer());
  } catch (cause) {
    // The answer failed half-way, before any of it was sent.
    const error =
      cause instanceof EventLogError
        ? cause
        : new EventLogError('internal', 'The answer failed before it was complete.');
    answer = problemOf(context, error, cause);
    body = Buffer.from(await answer.arrayBuffer());
  }
  const isText = TEXT.test(answer.headers.get('content-type') ?? '');
  const encoded = body.toString(isText ? 'utf8' : 'base64');
  // Text is sent as a JSON string, in which quotes and control characters take more bytes.
  const bytes = isText ? JSON.stringify(encoded).length + nonAsciiBytes(body) : encoded.length;
  if (bytes > RESULT_BYTES_MAX) {
    const message = `The answer is too large for Lambda to send whole (${body.length} bytes). Request less at a time, or use a fetch plan.`;
    return toResult(problemOf(context, invalidField('maxBytes', message, { answerBytes: body.length })), context);
  }
  return { statusCode: answer.status, headers: headersOf(answer), body: encoded, isBase64Encoded: !isText };
}

/** Counts the bytes that UTF-8 needs beyond one per character. The text's `length` plus this count is its size. */
function nonAsciiBytes(body: Uint8Array): number {
  let continuation = 0;
  for (const byte of body) if ((byte & 0xc0) === 0x80) continuation++;
  return continuation;
}

/** Resolves when the whole answer has been sent. */
async function send(stream: Writable, { body }: Response): Promise<void> {
  const sent = new Promise<void>((resolve, reject) => {
    stream.once('finish', resolve);
    stream.on('error', reject);
    stream.once('close', () => reject(new Error('The stream of the answer was closed early.')));
  });
  sent.catch(() => {});
  // The runtime sends status and headers with the first write, so an empty answer also needs a write.
  if (body === null) stream.write('');
  else await pump(body.getReader(), stream, sent);
  stream.end();
  await sent;
}

/** Reads the body only as fast as the stream sends it. `sent` is rejected when the stream fails. */
async function pump(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  stream: Writable,
  sent: Promise<void>,
): Promise<void> {
  try {
    for (;;) {
      const chunk = await Promise.race([reader.read(), sent]);
      if (chunk === undefined || chunk.done) return;
      if (!stream.write(chunk.value)) await Promise.race([once(stream, 'drain'), sent]);
    }
  } catch (error) {
    // Rethrown so that the runtime breaks the connection: an answer that is cut short must not look complete.
    await reader.cancel(error).catch(() => {});
    throw error;
  }
}

function headersOf(response: Response): Record<string, string> {
  return Object.fromEntries(response.headers);
}

async function settle({ idle }: LambdaEdgeComponents, context: LambdaContext): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeIsUp = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, context.getRemainingTimeInMillis() - IDLE_MARGIN_MS));
  });
  await Promise.race([idle(), timeIsUp]);
  clearTimeout(timer);
}

function problemOf(context: LambdaContext, error: EventLogError, cause?: unknown): Response {
  if (cause !== undefined && error.code === 'internal') {
    const why = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    logLine('ERROR', error.message, { requestId: context.awsRequestId, why });
  }
  return problem({ requestId: context.awsRequestId, allowedOrigin: undefined }, error);
}
