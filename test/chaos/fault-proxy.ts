import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/**
 * What stands between the AWS SDK and an emulator and does what networks and services do: it loses requests, loses
 * replies, delivers late or twice, and answers in the services' own words that it would rather not. It speaks plain HTTP
 * and knows of DynamoDB and S3 only how to tell them apart and how their errors look.
 */

/** What a plan of faults decides by. */
export interface ProxiedRequest {
  readonly service: 'dynamodb' | 's3';
  /** DynamoDB's operation, such as `UpdateItem`; of S3 the method, such as `PUT`. */
  readonly operation: string;
}

/** What becomes of a request, and of its reply. */
export const PROXY_FAULTS = {
  /** Never arrives; the connection is reset. */
  reset: 'lost',
  /** Takes effect; then the connection is reset instead of an answer. */
  unanswered: 'applied',
  /** Takes effect, and no one ever hears of it: the client waits as long as it will. */
  silent: 'applied',
  /** Takes effect `delayMs` later, when the client has long given up; no one hears of it. */
  late: 'applied',
  /** Takes effect and is answered; `delayMs` later the same arrives once more. */
  repeated: 'applied',
  /** Refused for too many requests: 400 of DynamoDB, 503 SlowDown of S3. */
  throttled: 'lost',
  /** 500, and nothing was done. */
  failed: 'lost',
  /** 500, and yet it was done. */
  failed_applied: 'applied',
  /** Refused since another write was under way: 409 of S3 to a conditional put, 400 of DynamoDB to a write. */
  conflict: 'lost',
  /** The reply's body breaks off in the middle. */
  truncated: 'applied',
  /** The reply's body comes in drops, over `delayMs`. */
  slow: 'applied',
  /** The reply stops in the middle of its body, and the connection stays open. */
  stalled: 'applied',
} as const satisfies Record<string, 'lost' | 'applied'>;

export type ProxyFaultKind = keyof typeof PROXY_FAULTS;

export interface ProxyFault {
  readonly kind: ProxyFaultKind;
  /** For `late`, `repeated` and `slow`. */
  readonly delayMs: number;
}

interface Reply {
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

interface Received extends ProxiedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

const DROPS = 8;
/** Of one connection, so that their values never speak of another. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length', 'expect']);

export class FaultProxy {
  /** Asked for every request; without it all pass. */
  decide: ((request: ProxiedRequest) => ProxyFault | undefined) | undefined;
  /** How many requests met which fault. */
  readonly faults = new Map<ProxyFaultKind, number>();
  readonly endpoint: string;
  private readonly server: http.Server;
  private readonly upstream: URL;
  private readonly agent = new http.Agent({ keepAlive: true });
  private readonly closing = new AbortController();
  /** Requests that the upstream has, or will have, not answered. */
  private readonly underWay = new Set<Promise<unknown>>();

  /** Listens on a free port of 127.0.0.1. `upstream` is where requests go, such as `http://127.0.0.1:4566`. */
  static async start(upstream: string): Promise<FaultProxy> {
    const server = http.createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new FaultProxy(server, new URL(upstream));
  }

  private constructor(server: http.Server, upstream: URL) {
    this.server = server;
    this.upstream = upstream;
    this.endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('request', (request, response) => {
      // Whatever fails on the way looks to the client like a lost connection, as it would without a proxy.
      this.serve(request, response).catch(() => cut(response));
    });
  }

  /** Resolves when the upstream has answered all that was sent to it, also what was to arrive late. */
  async idle(): Promise<void> {
    while (this.underWay.size > 0) await Promise.allSettled(this.underWay);
  }

  /** Drops every connection, and what has not arrived yet. */
  async close(): Promise<void> {
    this.closing.abort();
    this.server.closeAllConnections();
    this.server.close();
    await this.idle();
    this.agent.destroy();
  }

  private async serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const received = await receive(request);
    const fault = this.faultFor(received);
    switch (fault?.kind) {
      case undefined:
        return answer(response, await this.forward(received));
      case 'reset':
        return cut(response);
      case 'unanswered':
        await this.forward(received);
        return cut(response);
      case 'silent':
        await this.forward(received);
        return;
      case 'late':
        await this.forward(received, fault.delayMs);
        return cut(response);
      case 'repeated':
        answer(response, await this.forward(received));
        await this.forward(received, fault.delayMs);
        return;
      case 'failed_applied':
        await this.forward(received);
        return answer(response, errorReply(received, 'failed'));
      case 'throttled':
      case 'failed':
      case 'conflict':
        return answer(response, errorReply(received, fault.kind));
      case 'truncated':
      case 'slow':
      case 'stalled':
        return answerBadly(response, await this.forward(received), fault, this.closing.signal);
    }
  }

  private faultFor(request: ProxiedRequest): ProxyFault | undefined {
    const fault = this.decide?.(request);
    if (fault === undefined) return undefined;
    this.faults.set(fault.kind, (this.faults.get(fault.kind) ?? 0) + 1);
    return fault;
  }

  private forward(received: Received, delayMs = 0): Promise<Reply> {
    const work = this.send(received, delayMs);
    this.underWay.add(work);
    const done = (): void => {
      this.underWay.delete(work);
    };
    work.then(done, done);
    return work;
  }

  private async send({ method, path, headers, body }: Received, delayMs: number): Promise<Reply> {
    const { signal } = this.closing;
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    const { hostname, port } = this.upstream;
    const length = ['Content-Length', String(body.length)];
    const options = { agent: this.agent, hostname, port, method, path, headers: [...headers, ...length], signal };
    const request = http.request(options);
    request.end(body);
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    return {
      status: response.statusCode as number,
      headers: endToEnd(response.rawHeaders),
      body: await readBody(response),
    };
  }
}

async function receive(request: http.IncomingMessage): Promise<Received> {
  const body = await readBody(request);
  const target = request.headers['x-amz-target'];
  const operation = typeof target === 'string' ? target.split('.')[1] : undefined;
  const method = request.method as string;
  return {
    service: operation === undefined ? 's3' : 'dynamodb',
    operation: operation ?? method,
    method,
    path: request.url as string,
    headers: endToEnd(request.rawHeaders),
    body,
  };
}

async function readBody(message: http.IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Names and values in turn, as they came. */
function endToEnd(rawHeaders: readonly string[]): string[] {
  return rawHeaders.filter((_, i) => !HOP_BY_HOP.has((rawHeaders[i - (i % 2)] as string).toLowerCase()));
}

function answer(response: http.ServerResponse, reply: Reply): void {
  writeHead(response, reply);
  response.end(reply.body);
}

/** The whole length is announced, whatever comes of it. */
function writeHead(response: http.ServerResponse, { status, headers, body }: Reply): void {
  response.writeHead(status, [...headers, 'Content-Length', String(body.length)]);
}

async function answerBadly(
  response: http.ServerResponse,
  reply: Reply,
  { kind, delayMs }: ProxyFault,
  signal: AbortSignal,
): Promise<void> {
  writeHead(response, reply);
  const { body } = reply;
  if (kind === 'slow') {
    for (let drop = 0; drop < DROPS; drop++) {
      response.write(body.subarray((body.length * drop) / DROPS, (body.length * (drop + 1)) / DROPS));
      await sleep(delayMs / DROPS, undefined, { signal });
    }
    response.end();
    return;
  }
  response.write(body.subarray(0, body.length / 2));
  // After a moment, so that the head and what there is of the body come through.
  if (kind === 'truncated') await sleep(5, undefined, { signal }).then(() => cut(response));
}

/** As a RST, which no one takes for the end of a reply. */
function cut(response: http.ServerResponse): void {
  const socket: Socket | null = response.socket;
  if (socket !== null && !socket.destroyed) socket.resetAndDestroy();
}

const DYNAMODB = 'com.amazonaws.dynamodb.v20120810#';

const ERRORS = {
  dynamodb: {
    throttled: { status: 400, code: `${DYNAMODB}ProvisionedThroughputExceededException` },
    failed: { status: 500, code: `${DYNAMODB}InternalServerError` },
    conflict: { status: 400, code: `${DYNAMODB}TransactionConflictException` },
  },
  s3: {
    throttled: { status: 503, code: 'SlowDown' },
    failed: { status: 500, code: 'InternalError' },
    conflict: { status: 409, code: 'ConditionalRequestConflict' },
  },
} as const;

function errorReply({ service }: ProxiedRequest, kind: 'throttled' | 'failed' | 'conflict'): Reply {
  const { status, code } = ERRORS[service][kind];
  const message = 'By the fault proxy.';
  if (service === 'dynamodb') {
    const body = Buffer.from(JSON.stringify({ __type: code, message }));
    return { status, headers: ['Content-Type', 'application/x-amz-json-1.0'], body };
  }
  const error = `<Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${error}`);
  return { status, headers: ['Content-Type', 'application/xml'], body };
}
