import type { EventLogError } from '../../log/errors.ts';
import { MEDIA } from '../contract.ts';
import { CORS_ANSWER_HEADERS } from '../request/cors.ts';
import { problemHeaders, toProblem } from './problem.ts';

/**
 * Builds answers. All headers are passed at once as a plain object: `@hono/node-server` sends such an answer without
 * building `Headers`, which saves a tenth of a small request's time.
 */
export interface AnswerContext {
  readonly requestId: string;
  /** The request's origin, if its pages may read the answer and the server itself adds the CORS headers. */
  readonly allowedOrigin: string | undefined;
}

export type Headers = Record<string, string>;

const EXPOSED = CORS_ANSWER_HEADERS.join(', ');

export function answerHeaders({ requestId, allowedOrigin }: AnswerContext, more: Readonly<Headers>): Headers {
  const headers: Headers = {
    'Request-Id': requestId,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
    ...more,
  };
  if (allowedOrigin !== undefined) {
    headers['Access-Control-Allow-Origin'] = allowedOrigin;
    headers['Access-Control-Expose-Headers'] = EXPOSED;
    headers.Vary = 'Origin';
  }
  return headers;
}

export function json(context: AnswerContext, status: number, body: unknown): Response {
  return text(context, status, JSON.stringify(body), { 'Content-Type': MEDIA.json });
}

export function text(context: AnswerContext, status: number, body: string, headers: Readonly<Headers>): Response {
  return new Response(body, { status, headers: answerHeaders(context, headers) });
}

export function empty(context: AnswerContext, status: number, headers: Readonly<Headers> = {}): Response {
  return new Response(null, { status, headers: answerHeaders(context, headers) });
}

export function bytes(context: AnswerContext, body: Uint8Array, headers: Readonly<Headers>): Response {
  return new Response(body as Uint8Array<ArrayBuffer>, { status: 200, headers: answerHeaders(context, headers) });
}

export function problem(context: AnswerContext, error: EventLogError, headers: Readonly<Headers> = {}): Response {
  const body = toProblem(error, context.requestId);
  return text(context, body.status, JSON.stringify(body), { ...problemHeaders(error), ...headers });
}

/**
 * Answers with the pieces of `chunks`, one at a time and only as fast as the client reads. The status is sent after the
 * first two pieces, so that an immediate failure becomes a problem. A later failure is reported and breaks the connection,
 * so that an answer that is cut short never looks complete.
 */
export async function stream(
  context: AnswerContext,
  chunks: AsyncGenerator<Uint8Array>,
  headers: Readonly<Headers>,
  report: (error: unknown) => void,
): Promise<Response> {
  const first = await chunks.next();
  if (first.done) return bytes(context, new Uint8Array(0), headers);
  const second = await chunks.next();
  if (second.done) return bytes(context, first.value, headers);
  return live(context, resumed([first.value, second.value], chunks, report), headers);
}

/** Like `stream`, but sends the status at once, for answers that may have no content for a long time. */
export function live(
  context: AnswerContext,
  chunks: AsyncGenerator<Uint8Array>,
  headers: Readonly<Headers>,
  stop?: AbortController,
): Response {
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        // A waiting generator continues only when its wait has ended.
        stop?.abort();
        await chunks.return(undefined);
      },
    },
    // Nothing is fetched before the client reads it.
    { highWaterMark: 0 },
  );
  return new Response(body, { status: 200, headers: answerHeaders(context, headers) });
}

async function* resumed(
  taken: Uint8Array[],
  rest: AsyncGenerator<Uint8Array>,
  report: (error: unknown) => void,
): AsyncGenerator<Uint8Array> {
  try {
    for (let chunk = taken.shift(); chunk !== undefined; chunk = taken.shift()) yield chunk;
    yield* rest;
  } catch (error) {
    report(error);
    throw error;
  } finally {
    await rest.return(undefined);
  }
}
