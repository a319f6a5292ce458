/** Converts Lambda's HTTP events to requests. The types hold only the fields that are used here. */

/** Format 2.0: Function URL, HTTP API. */
export interface EventV2 {
  readonly version: '2.0';
  readonly rawPath: string;
  readonly rawQueryString?: string | undefined;
  readonly headers?: Readonly<Record<string, string | undefined>> | undefined;
  readonly requestContext: {
    readonly http: { readonly method: string };
    readonly domainName?: string | undefined;
    readonly stage?: string | undefined;
    /** `iam` is present if AWS has checked the request's signature. */
    readonly authorizer?: { readonly iam?: { readonly userArn?: string | null } | null } | undefined;
  };
  readonly body?: string | undefined;
  readonly isBase64Encoded?: boolean | undefined;
}

/** Format 1.0: REST API. */
export interface EventV1 {
  readonly httpMethod: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>> | null | undefined;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[]>> | null | undefined;
  readonly queryStringParameters?: Readonly<Record<string, string>> | null | undefined;
  readonly multiValueQueryStringParameters?: Readonly<Record<string, readonly string[]>> | null | undefined;
  readonly requestContext?: {
    readonly domainName?: string | undefined;
    /** The caller; `userArn` is present if AWS has checked the request's signature. */
    readonly identity?: { readonly userArn?: string | null } | undefined;
  };
  readonly body?: string | null | undefined;
  readonly isBase64Encoded?: boolean | undefined;
}

export type HttpEvent = EventV1 | EventV2;

/** The caller who signed each request that was made from an event. */
const callers = new WeakMap<Request, string>();

/** The ARN of the caller who signed the request. It comes from AWS, never from anything that a caller can write. */
export function iamCallerOf(request: Request): string | undefined {
  return callers.get(request);
}

/** Converts an event to a request. @throws TypeError if HTTP does not allow its method, address or a header */
export function toRequest(event: HttpEvent, signal?: AbortSignal): Request {
  const method = isV2(event) ? event.requestContext.http.method : event.httpMethod;
  const headers = new Headers();
  if (isV2(event)) {
    for (const [name, value] of Object.entries(event.headers ?? {}))
      if (value !== undefined) headers.set(name, latin1(value));
  } else {
    for (const [name, value] of Object.entries(event.headers ?? {})) headers.set(name, latin1(value));
    for (const [name, values] of Object.entries(event.multiValueHeaders ?? {})) {
      headers.delete(name);
      for (const value of values) headers.append(name, latin1(value));
    }
  }
  const path = (isV2(event) ? pathV2(event) : event.path).replaceAll('?', '%3F').replaceAll('#', '%23');
  const query = isV2(event) ? (event.rawQueryString ?? '') : queryV1(event);
  const host = headers.get('host') ?? event.requestContext?.domainName ?? 'localhost';
  // `fetch` allows no body with these methods, and no operation takes one.
  const bodyless = method === 'GET' || method === 'HEAD' || event.body === undefined || event.body === null;
  const request = new Request(`https://${host}${path}${query === '' ? '' : `?${query}`}`, {
    method,
    headers,
    body: bodyless ? null : Buffer.from(event.body, event.isBase64Encoded ? 'base64' : 'utf8'),
    signal: signal ?? null,
  });
  const caller = isV2(event) ? event.requestContext.authorizer?.iam?.userArn : event.requestContext?.identity?.userArn;
  if (caller) callers.set(request, caller);
  return request;
}

function isV2(event: HttpEvent): event is EventV2 {
  return 'version' in event && event.version === '2.0';
}

/**
 * The path as it was sent. HTTP APIs decode it, also in `rawPath`, so that the names in it are encoded again; a slash within a
 * name cannot be told from one between names. Function URLs leave it as it is.
 */
function pathV2(event: EventV2): string {
  const path = pathWithoutStage(event);
  if (event.requestContext.domainName?.includes('.lambda-url.')) return path;
  return path.split('/').map(encodeURIComponent).join('/');
}

/** An HTTP API's stage precedes the path unless it is the default stage. */
function pathWithoutStage({ rawPath, requestContext: { stage } }: EventV2): string {
  if (stage === undefined || stage === '$default' || !rawPath.startsWith(`/${stage}`)) return rawPath;
  const rest = rawPath.slice(stage.length + 1);
  return rest === '' || rest.startsWith('/') ? rest || '/' : rawPath;
}

/** The query string of a REST API's event, whose parameters arrive decoded. */
function queryV1({ multiValueQueryStringParameters, queryStringParameters }: EventV1): string {
  const query = new URLSearchParams();
  if (multiValueQueryStringParameters) {
    for (const [name, values] of Object.entries(multiValueQueryStringParameters))
      for (const value of values) query.append(name, value);
  } else for (const [name, value] of Object.entries(queryStringParameters ?? {})) query.append(name, value);
  return query.toString();
}

/** `fetch` and Node's server treat header values as bytes: text beyond Latin-1 is passed as the bytes of its UTF-8. */
function latin1(value: string): string {
  return /^[\0-\xff]*$/.test(value) ? value : Buffer.from(value, 'utf8').toString('latin1');
}
