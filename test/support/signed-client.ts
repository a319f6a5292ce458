import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { requestThrough, type ThroughResponse } from '../localstack/request-through.ts';

/** The part of SHA-256 that SignatureV4 needs, implemented by Node's own. */
class Sha256 {
  private readonly hash;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.hash = secret === undefined ? createHash('sha256') : createHmac('sha256', toBytes(secret));
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.hash.update(toBytes(data));
  }

  async digest(): Promise<Uint8Array> {
    return this.hash.digest();
  }
}

function toBytes(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === 'string') return new TextEncoder().encode(data);
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data);
}

export interface SignedRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
}

/** Sends requests to a function URL, signed with SigV4 for `lambda`, through an emulator. */
export class SignedClient {
  private readonly endpoint: string;
  private readonly baseUrl: string;
  private readonly signer: SignatureV4;

  constructor(endpoint: string, baseUrl: string, credentials = { accessKeyId: 'test', secretAccessKey: 'test' }) {
    this.endpoint = endpoint;
    this.baseUrl = baseUrl.replace(/\/$/, '');
    this.signer = new SignatureV4({ credentials, region: 'us-east-1', service: 'lambda', sha256: Sha256 });
  }

  async send(path: string, request: SignedRequest = {}): Promise<ThroughResponse> {
    const url = new URL(this.baseUrl + path);
    const query: Record<string, string> = Object.fromEntries(url.searchParams);
    const signed = await this.signer.sign({
      method: request.method ?? 'GET',
      protocol: url.protocol,
      hostname: url.hostname,
      ...(url.port === '' ? {} : { port: Number(url.port) }),
      path: url.pathname,
      query,
      headers: { ...request.headers, host: url.host },
      body: request.body,
    });
    return requestThrough(this.endpoint, url.toString(), { ...request, headers: signed.headers });
  }

  /** Sends JSON and returns the parsed body. Throws on a status other than `expected`. */
  async json<T>(path: string, method: string, body?: unknown, expected = 200): Promise<T> {
    const response = await this.send(path, {
      method,
      headers: { 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (response.status !== expected)
      throw new Error(`${method} ${path}: ${response.status} ${response.body.toString().slice(0, 500)}`);
    return JSON.parse(response.body.toString() || 'null') as T;
  }
}
