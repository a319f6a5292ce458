import { expect } from 'vitest';
import type { Problem } from '../../../shared/http/contract.ts';
import type { ReadOutput } from '../../../shared/http/read/contract.ts';
import { decodeRecords, encodeBatch, readBatchHeader } from '../../../shared/log/batch/record-batch.ts';
import { EventReader } from '../../support/event-reader.ts';
import { HttpContract } from '../../support/http-contract.ts';

/** A server, or an app in this process: `path` is what comes after the origin. */
export interface HttpTarget {
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

export const JSON_TYPE = 'application/json';
export const NDJSON = 'application/x-ndjson';
export const BATCHES = 'application/vnd.apache.kafka.record-batches';
export const SSE = 'text/event-stream';

export interface CallOptions {
  readonly body?: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Answer<T> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly bytes: Uint8Array;
  /** Parsed, where it is JSON. The document says what it is; `T` is what the test takes it for. */
  readonly json: T;
}

export interface Appended {
  readonly partition: number;
  readonly offset: number;
  readonly timestamp: number;
}

export interface AppendAnswer {
  readonly records: readonly Appended[];
}

export type Loose = Readonly<Record<string, unknown>>;

export class Client {
  readonly target: HttpTarget;
  private contract: HttpContract | undefined;

  constructor(target: HttpTarget) {
    this.target = target;
  }

  /** Sends a request and checks the answer against the server's own OpenAPI document. */
  async call<T = Loose>(
    method: string,
    path: string,
    { body, type, headers = {} }: CallOptions = {},
  ): Promise<Answer<T>> {
    this.contract ??= new HttpContract(await (await this.target.fetch('/openapi.json')).json());
    const plain = body === undefined || typeof body === 'string' || body instanceof Uint8Array;
    const contentType = type ?? (plain ? undefined : JSON_TYPE);
    const response = await this.target.fetch(path, {
      method,
      headers: { ...(contentType === undefined ? {} : { 'Content-Type': contentType }), ...headers },
      ...(body === undefined ? {} : { body: (plain ? body : JSON.stringify(body)) as BodyInit }),
    });
    const bytes = new Uint8Array(await response.arrayBuffer());
    const text = new TextDecoder().decode(bytes);
    const contentTypeOfAnswer = response.headers.get('content-type');
    if (method !== 'HEAD' && method !== 'OPTIONS') {
      const answered = { status: response.status, contentType: contentTypeOfAnswer, body: text };
      expect(this.contract.fault(method, path, answered)).toBeUndefined();
    }
    expect(response.headers.get('request-id')).toMatch(/^\S{8,}$/);
    expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    expect(response.headers.get('cache-control')).toMatch(/^no-store(, no-transform)?$/);
    const isJson = /^application\/(problem\+)?json/.test(contentTypeOfAnswer ?? '') && text !== '';
    return {
      status: response.status,
      headers: response.headers,
      text,
      bytes,
      json: (isJson ? JSON.parse(text) : undefined) as T,
    };
  }

  /** As `call`, for what must fail: the code, with the status that belongs to it. */
  async problem(method: string, path: string, options?: CallOptions): Promise<Problem> {
    const { status, json, headers, text } = await this.call<Problem>(method, path, options);
    expect(status, text).toBeGreaterThanOrEqual(400);
    expect(json.status).toBe(status);
    expect(json.type).toBe(`/errors/${json.code}`);
    expect(json.instance).toBe(headers.get('request-id'));
    return json;
  }

  async topic(name: string, partitions = 1, config: Record<string, unknown> = {}): Promise<void> {
    const { status } = await this.call('PUT', `/v1/topics/${name}`, { body: { partitions, config } });
    expect(status).toBe(201);
  }

  async append(topic: string, records: readonly unknown[], options: CallOptions = {}): Promise<readonly Appended[]> {
    const answer = await this.call<AppendAnswer>('POST', `/v1/topics/${topic}/records`, {
      body: { records },
      ...options,
    });
    expect(answer.status, answer.text).toBe(200);
    return answer.json.records;
  }

  async values(topic: string, partition = 0): Promise<unknown[]> {
    const { json } = await this.call<ReadOutput>(
      'GET',
      `/v1/topics/${topic}/partitions/${partition}/records?limit=10000`,
    );
    return json.records.map(({ value }) => value);
  }

  events(path: string, headers: Record<string, string> = {}): Promise<EventReader> {
    return EventReader.open((init) => this.target.fetch(path, init), headers);
  }
}

export function batchOf(values: readonly string[]): Uint8Array<ArrayBuffer> {
  const records = values.map((value) => ({
    timestampMs: 1_763_722_800_000,
    key: null,
    value: new TextEncoder().encode(value),
    headers: [],
  }));
  return new Uint8Array(encodeBatch(records));
}

export function recordsOf(bytes: Uint8Array): [offset: number, value: string][] {
  const records: [number, string][] = [];
  for (let position = 0; position < bytes.length; ) {
    const header = readBatchHeader(bytes, position);
    for (const record of decodeRecords(bytes, position, header)) {
      records.push([record.offset, new TextDecoder().decode(record.value as Uint8Array)]);
    }
    position += header.bytes;
  }
  return records;
}
