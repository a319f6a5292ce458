import type { LambdaContext } from '../../functions/lambda/edge.ts';
import type { EventV1, EventV2 } from '../../functions/lambda/event.ts';

/** Events as AWS sends them, with all their fields, for a request in the form of `fetch`. */

export interface EventRequest {
  readonly method?: string;
  /** The path, including the query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

export function functionUrlEvent({ method = 'GET', path, headers = {}, body }: EventRequest): EventV2 {
  const [rawPath = '', rawQueryString = ''] = path.split('?');
  const host = 'abcdefghijklmnopqrstuvwxyz012345.lambda-url.eu-central-1.on.aws';
  const event = {
    version: '2.0',
    routeKey: '$default',
    rawPath,
    rawQueryString,
    headers: {
      host,
      'x-forwarded-for': '203.0.113.7',
      'x-forwarded-port': '443',
      'x-forwarded-proto': 'https',
      'x-amzn-trace-id': 'Root=1-65a1b2c3-0123456789abcdef01234567',
      ...lowerCase(headers),
    },
    ...(rawQueryString === '' ? {} : { queryStringParameters: joined(rawQueryString) }),
    requestContext: {
      accountId: '123456789012',
      apiId: 'abcdefghijklmnopqrstuvwxyz012345',
      domainName: host,
      domainPrefix: 'abcdefghijklmnopqrstuvwxyz012345',
      http: { method, path: rawPath, protocol: 'HTTP/1.1', sourceIp: '203.0.113.7', userAgent: 'curl/8.7.1' },
      requestId: '5c1f3e0a-0000-4000-8000-000000000000',
      routeKey: '$default',
      stage: '$default',
      time: '21/Nov/2026:13:00:00 +0000',
      timeEpoch: 1_795_266_000_000,
      authorizer: { iam: { accountId: '123456789012', userArn: 'arn:aws:iam::123456789012:user/me' } },
    },
    ...bodyOf(body),
    isBase64Encoded: body instanceof Uint8Array,
  } as const;
  return event;
}

/** HTTP APIs decode the path, also in `rawPath`; Function URLs and REST APIs do not. */
export function httpApiEvent(request: EventRequest, stage = '$default'): EventV2 {
  const event = functionUrlEvent(request);
  const host = 'a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com';
  const path = decodeURIComponent(event.rawPath);
  return {
    ...event,
    rawPath: stage === '$default' ? path : `/${stage}${path}`,
    headers: { ...event.headers, host },
    requestContext: { ...event.requestContext, domainName: host, stage },
  };
}

/** REST APIs keep the case of headers, and pass everything both as single values and as lists. */
export function restApiEvent({ method = 'GET', path, headers = {}, body }: EventRequest): EventV1 {
  const [rawPath = '', query = ''] = path.split('?');
  const host = 'a1b2c3d4e5.execute-api.eu-central-1.amazonaws.com';
  const all = { Host: host, 'X-Forwarded-For': '203.0.113.7', 'X-Forwarded-Proto': 'https', ...headers };
  const event = {
    resource: '/{proxy+}',
    path: rawPath,
    httpMethod: method,
    headers: all,
    multiValueHeaders: Object.fromEntries(Object.entries(all).map(([name, value]) => [name, [value]])),
    queryStringParameters: query === '' ? null : Object.fromEntries(new URLSearchParams(query)),
    multiValueQueryStringParameters: query === '' ? null : multiple(query),
    pathParameters: { proxy: rawPath.slice(1) },
    stageVariables: null,
    requestContext: {
      accountId: '123456789012',
      apiId: 'a1b2c3d4e5',
      domainName: host,
      httpMethod: method,
      path: `/prod${rawPath}`,
      protocol: 'HTTP/1.1',
      requestId: '5c1f3e0a-0000-4000-8000-000000000001',
      resourcePath: '/{proxy+}',
      stage: 'prod',
    },
    body: body === undefined ? null : (bodyOf(body).body ?? null),
    isBase64Encoded: body instanceof Uint8Array,
  };
  return event;
}

export const EVENT_FORMATS = [
  ['Function URL', functionUrlEvent],
  ['HTTP API', httpApiEvent],
  ['REST API', restApiEvent],
] as const;

export function lambdaContext(remainingMs = 30_000): LambdaContext {
  const endMs = Date.now() + remainingMs;
  return {
    awsRequestId: 'c6af9ac6-7b61-11e6-9a41-93e8deadbeef',
    getRemainingTimeInMillis: () => Math.max(0, endMs - Date.now()),
  };
}

function bodyOf(body: string | Uint8Array | undefined): { body?: string } {
  if (body === undefined) return {};
  return { body: typeof body === 'string' ? body : Buffer.from(body).toString('base64') };
}

function lowerCase(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}

function multiple(query: string): Record<string, string[]> {
  const values: Record<string, string[]> = {};
  for (const [name, value] of new URLSearchParams(query)) values[name] = [...(values[name] ?? []), value];
  return values;
}

function joined(query: string): Record<string, string> {
  return Object.fromEntries(Object.entries(multiple(query)).map(([name, values]) => [name, values.join(',')]));
}
