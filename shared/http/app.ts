import { type Context, Hono } from 'hono';
import { toHex } from '../log/bytes.ts';
import { EventLogError } from '../log/errors.ts';
import { apiKeyHandlers } from './access/routes.ts';
import { asEventLogError } from './answer/problem.ts';
import { type AnswerContext, empty, problem } from './answer/respond.ts';
import { appendHandlers } from './append/routes.ts';
import { MEDIA } from './contract.ts';
import { type Call, DEFAULT_HTTP_SETTINGS, type Handler, type HttpAppParts, type HttpContext } from './handler.ts';
import { OPERATION_IDS, OPERATIONS, type Operation, type OperationId } from './operation.ts';
import { readHandlers } from './read/routes.ts';
import { checkPath, rawPath } from './request/input.ts';
import { chooseMediaType } from './request/media-type.ts';
import { checkOrigin } from './request/origin.ts';
import { type Access, createAccess, type Principal } from './request/principal.ts';
import { objectHandlers, serviceHandlers } from './service/routes.ts';
import { topicHandlers } from './topics/routes.ts';

export interface HttpEnv {
  readonly Variables: { readonly answer: AnswerContext };
}

export type HttpApp = Hono<HttpEnv>;

const REQUEST_ID_BYTES = 12;
const REQUEST_IDS_AT_ONCE = 64;

/**
 * The HTTP API over a broker, as one function from a request to its answer: `app.fetch`. It runs the same behind Node's
 * server, in Lambda and in a test, keeps nothing between requests, and answers every error as a problem.
 */
export function createHttpApp(parts: HttpAppParts): HttpApp {
  const context: HttpContext = {
    ...parts,
    settings: { ...DEFAULT_HTTP_SETTINGS, ...parts.settings },
    onError: parts.onError ?? (() => {}),
  };
  const access = createAccess(parts.access ?? { mode: 'open' }, context);
  const nextId = requestIds(context);
  // Paths are matched as they were sent, so that an encoded slash does not part segments.
  const app: HttpApp = new Hono<HttpEnv>({ getPath: rawPath });

  app.use('*', async (c, next) => {
    const requestId = nextId();
    c.set('answer', { requestId, allowedOrigin: undefined });
    const allowedOrigin = checkOrigin(c.req.raw, context.settings);
    if (allowedOrigin !== undefined) c.set('answer', { requestId, allowedOrigin });
    if (context.stopping?.aborted) throw new EventLogError('shutting_down', 'The server is stopping.');
    checkPath(c.req.path);
    await next();
  });

  const handlers: Readonly<Record<OperationId, Handler>> = {
    ...topicHandlers(context),
    ...appendHandlers(context),
    ...readHandlers(context),
    ...apiKeyHandlers(context),
    ...serviceHandlers(context),
    ...objectHandlers(context),
  };
  for (const id of OPERATION_IDS) {
    if (id === 'getObject' && parts.signedObjects === undefined) continue;
    const operation: Operation = OPERATIONS[id];
    const handler = handlers[id];
    const jsonOnly = answersJsonOnly(operation);
    app.on(operation.method, routePath(operation.path), async (c) => {
      const call = await admitted(c, operation, access);
      if (jsonOnly) chooseMediaType(c.req.raw.headers.get('accept'), [MEDIA.json]);
      return handler(call);
    });
  }

  app.notFound((c) => {
    const answer = c.get('answer');
    const allowed = allowedMethods(app, c.req.path);
    if (allowed.length === 0) {
      return problem(
        answer,
        new EventLogError('not_found', 'There is nothing at this path. /openapi.json lists what there is.'),
      );
    }
    const allow = allowed.join(', ');
    if (c.req.method === 'OPTIONS') return empty(answer, 204, { Allow: allow, ...preflightHeaders(answer, allow) });
    const error = new EventLogError('method_not_allowed', `This path takes ${allow}.`, { details: { allow } });
    return problem(answer, error, { Allow: allow });
  });

  app.onError((error, c) => {
    const answer = c.get('answer');
    const known = asEventLogError(error);
    if (known.code === 'internal') context.onError(error, answer.requestId);
    return problem(answer, known);
  });

  return app;
}

/** Random bytes are asked for many ids at once: each asking is a system call. */
function requestIds({ random }: HttpContext): () => string {
  let left: Uint8Array = new Uint8Array(0);
  return () => {
    if (left.length === 0) left = random.bytes(REQUEST_ID_BYTES * REQUEST_IDS_AT_ONCE);
    const id = toHex(left.subarray(0, REQUEST_ID_BYTES));
    left = left.subarray(REQUEST_ID_BYTES);
    return id;
  };
}

/** The call of a request that may be made, as far as its path tells. @throws EventLogError as `Access.admit` */
async function admitted(c: Context<HttpEnv>, operation: Operation, access: Access): Promise<Call> {
  const { requestId, allowedOrigin } = c.get('answer');
  const request = c.req.raw;
  const params: Readonly<Record<string, string>> = c.req.param();
  const admit = (): Promise<Principal> | Principal => access.admit(request, operation, params.topic);
  const call = { requestId, allowedOrigin, request, params, principal: await admit() };
  if (access.mode === 'open') return call;
  const isStillAllowed = async (): Promise<boolean> => {
    try {
      await admit();
      return true;
    } catch (error) {
      // That it can't be found out is no answer.
      const { code } = asEventLogError(error);
      return code !== 'unauthenticated' && code !== 'access_denied';
    }
  };
  return { ...call, isStillAllowed };
}

function answersJsonOnly({ answers }: Operation): boolean {
  return Object.values(answers).every(({ content = {} }) => Object.keys(content).join() === MEDIA.json);
}

/** OpenAPI's `{name}` as Hono writes it. */
function routePath(path: string): string {
  return path.replaceAll(/\{(\w+)(\+?)\}/g, (_, name: string, rest: string) =>
    rest === '' ? `:${name}` : `:${name}{.+}`,
  );
}

function allowedMethods(app: HttpApp, path: string): string[] {
  // The guard matches every path and method; an operation comes beside it.
  const methods = ['GET', 'PUT', 'POST', 'DELETE'].filter((method) => app.router.match(method, path)[0].length > 1);
  if (methods.length === 0) return [];
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'];
}

/** What a browser asks before a page of an allowed origin may send a request (CORS). */
function preflightHeaders({ allowedOrigin }: AnswerContext, allow: string): Record<string, string> {
  if (allowedOrigin === undefined) return {};
  return {
    'Access-Control-Allow-Methods': allow,
    'Access-Control-Allow-Headers':
      'Authorization, Content-Type, Content-Encoding, Producer-Id, Producer-Epoch, Producer-Seq, Idempotency-Key, If-Match, Last-Event-ID',
    'Access-Control-Max-Age': '600',
  };
}
