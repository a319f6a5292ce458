import { type Context, Hono } from 'hono';
import type { Principal } from '../access/credentials.ts';
import { toHex } from '../log/bytes.ts';
import { EventLogError } from '../log/errors.ts';
import { accessHandlers } from './access/routes.ts';
import { asEventLogError } from './answer/problem.ts';
import { type AnswerContext, empty, problem } from './answer/respond.ts';
import { appendHandlers } from './append/routes.ts';
import { MEDIA } from './contract.ts';
import { groupHandlers } from './groups/routes.ts';
import {
  DEFAULT_HTTP_SETTINGS,
  type Handler,
  type Handlers,
  type HttpAppComponents,
  type HttpContext,
} from './handler.ts';
import { openApiDocument } from './openapi.ts';
import type { Operation, Tag } from './operation.ts';
import { OPERATION_IDS, OPERATIONS, type OperationId } from './operations.ts';
import { readHandlers } from './read/routes.ts';
import { refuseBody } from './request/body.ts';
import { CORS_MAX_AGE_S, CORS_REQUEST_HEADERS } from './request/cors.ts';
import { checkPath, inputReader, rawPath } from './request/input.ts';
import { chooseMediaType } from './request/media-type.ts';
import { checkOrigin } from './request/origin.ts';
import { type AccessCheck, createAccess } from './request/principal.ts';
import { serviceHandlers } from './service/routes.ts';
import { topicHandlers } from './topics/routes.ts';
import { transactionAdminHandlers } from './transactions/admin-routes.ts';
import { transactionHandlers } from './transactions/routes.ts';

export interface HttpEnv {
  readonly Variables: { readonly answer: AnswerContext };
}

export type HttpApp = Hono<HttpEnv>;

const REQUEST_ID_BYTES = 12;
const REQUEST_IDS_AT_ONCE = 64;

/**
 * The HTTP API over a broker, as one function from a request to its answer: `app.fetch`. It behaves the same behind Node's
 * server, in Lambda and in a test. It keeps no state between requests, and returns every error as a problem.
 */
export function createHttpApp(components: HttpAppComponents): HttpApp {
  const context: HttpContext = {
    ...components,
    settings: { ...DEFAULT_HTTP_SETTINGS, ...components.settings },
    onError: components.onError ?? (() => {}),
  };
  const access = createAccess(components.access ?? { mode: 'open' }, context);
  const nextId = requestIds(context);
  // Paths are matched as they were sent, so that an encoded slash does not separate segments.
  const app: HttpApp = new Hono<HttpEnv>({ getPath: rawPath });

  // There is no middleware: Hono calls a route with one handler directly, which makes small requests a tenth cheaper.
  const begin = (c: Context<HttpEnv>): AnswerContext => {
    let answer: AnswerContext = { requestId: nextId(), allowedOrigin: undefined };
    c.set('answer', answer);
    const allowedOrigin = checkOrigin(c.req.raw, context.settings);
    if (allowedOrigin !== undefined && !context.settings.corsInFront) {
      answer = { ...answer, allowedOrigin };
      c.set('answer', answer);
    }
    if (context.stopping?.aborted) throw new EventLogError('shutting_down', 'The server is stopping.');
    checkPath(c.req.path);
    return answer;
  };

  const served = operationsServed(context);
  const handlers: Handlers<typeof OPERATIONS> = {
    ...topicHandlers(context),
    ...appendHandlers(context),
    ...readHandlers(context),
    ...groupHandlers(context),
    ...transactionHandlers(context),
    ...transactionAdminHandlers(context),
    ...accessHandlers(context),
    ...serviceHandlers(context, () => JSON.stringify(openApiDocument(served, describedAs(context)))),
  };
  for (const id of Object.keys(served) as OperationId[])
    register(app, OPERATIONS[id], handlers[id] as Handler, { access, begin });

  app.notFound((c) => {
    const answer = begin(c);
    const allowed = allowedMethods(app, c.req.path);
    if (allowed.length === 0) return problem(answer, notFound(components.tags));
    const allow = allowed.join(', ');
    if (c.req.method === 'OPTIONS') return empty(answer, 204, { Allow: allow, ...preflightHeaders(answer, allow) });
    const error = new EventLogError('method_not_allowed', `This path accepts only ${allow}.`, { details: { allow } });
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

/** The operations with the given tags, or all operations if no tags are given. */
function operationsServed({
  tags,
  signedObjects,
  processMetrics,
}: HttpContext): Partial<Record<OperationId, Operation>> {
  const ids = OPERATION_IDS.filter(
    (id) =>
      (tags === undefined || tags.includes(OPERATIONS[id].tag)) &&
      (id !== 'getObject' || signedObjects !== undefined) &&
      (id !== 'getMetrics' || processMetrics !== undefined),
  );
  return Object.fromEntries(ids.map((id) => [id, OPERATIONS[id]]));
}

function describedAs({ settings, access }: HttpContext): { version: string; authenticated: boolean } {
  return { version: settings.version, authenticated: access?.mode === 'authenticated' };
}

interface RouteContext {
  readonly access: AccessCheck;
  /** The first step of every request. */
  readonly begin: (c: Context<HttpEnv>) => AnswerContext;
}

function register(app: HttpApp, operation: Operation, handler: Handler, { access, begin }: RouteContext): void {
  const read = inputReader(operation);
  const jsonOnly = answersJsonOnly(operation);
  const parameters = Object.keys(operation.query.shape);
  app.on(operation.method, routePath(operation.path), async (c) => {
    const { requestId, allowedOrigin } = begin(c);
    const request = c.req.raw;
    const params: Readonly<Record<string, string>> = c.req.param();
    // The caller is admitted before the request is checked: a caller without the right must learn nothing from the checks.
    const { principal, isStillAllowed } = await admit(c, operation, access, params);
    const inputs = read(params, request.url, request.headers);
    if (jsonOnly) chooseMediaType(request.headers.get('accept'), [MEDIA.json]);
    if (operation.body === undefined) await refuseBody(request, parameters);
    return handler({ requestId, allowedOrigin, request, principal, isStillAllowed, ...inputs });
  });
}

/** Makes request ids. Random bytes for many ids are drawn at once, because each draw is a system call. */
function requestIds({ random }: HttpContext): () => string {
  let left: Uint8Array = new Uint8Array(0);
  return () => {
    if (left.length === 0) left = random.bytes(REQUEST_ID_BYTES * REQUEST_IDS_AT_ONCE);
    const id = toHex(left.subarray(0, REQUEST_ID_BYTES));
    left = left.subarray(REQUEST_ID_BYTES);
    return id;
  };
}

/** Returns the caller, who may use the operation on the path's resource. @throws EventLogError as `AccessCheck.admit` */
async function admit(
  c: Context<HttpEnv>,
  operation: Operation,
  access: AccessCheck,
  { topic, group, transactionalId }: Readonly<Record<string, string>>,
): Promise<{ readonly principal: Principal; readonly isStillAllowed?: (() => Promise<boolean>) | undefined }> {
  const ask = (): Promise<Principal> | Principal =>
    access.admit(c.req.raw, operation, { topic, group, transactionalId });
  const principal = await ask();
  if (access.mode === 'open') return { principal };
  const isStillAllowed = async (): Promise<boolean> => {
    try {
      await ask();
      return true;
    } catch (error) {
      // A failed check is not a denial: keep the stream open.
      const { code } = asEventLogError(error);
      return code !== 'unauthenticated' && code !== 'access_denied';
    }
  };
  return { principal, isStillAllowed };
}

function answersJsonOnly({ answers }: Operation): boolean {
  return Object.values(answers).every(({ content = {} }) => Object.keys(content).join() === MEDIA.json);
}

/** Converts OpenAPI's `{name}` to Hono's syntax. */
function routePath(path: string): string {
  return path.replaceAll(/\{(\w+)(\+?)\}/g, (_, name: string, rest: string) =>
    rest === '' ? `:${name}` : `:${name}{.+}`,
  );
}

function notFound(tags: readonly Tag[] | undefined): EventLogError {
  return new EventLogError(
    'not_found',
    tags === undefined
      ? 'There is nothing at this path. /openapi.json lists all paths.'
      : `This address serves only: ${tags.join(', ')}. Everything else is at the address of the whole API.`,
  );
}

function allowedMethods(app: HttpApp, path: string): string[] {
  const methods = ['GET', 'PUT', 'POST', 'DELETE'].filter((method) => app.router.match(method, path)[0].length > 0);
  if (methods.length === 0) return [];
  return [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'];
}

/** The answer to a browser that asks whether a page of an allowed origin may send a request (CORS). */
function preflightHeaders({ allowedOrigin }: AnswerContext, allow: string): Record<string, string> {
  if (allowedOrigin === undefined) return {};
  return {
    'Access-Control-Allow-Methods': allow,
    'Access-Control-Allow-Headers': CORS_REQUEST_HEADERS.join(', '),
    'Access-Control-Max-Age': String(CORS_MAX_AGE_S),
  };
}
