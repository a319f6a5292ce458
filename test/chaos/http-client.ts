import type { AppendOutput } from '../../shared/http/append/contract.ts';
import type { Problem } from '../../shared/http/contract.ts';
import type { ReadOutput } from '../../shared/http/read/contract.ts';
import type { RecordInput } from '../../shared/http/records/contract.ts';
import type { AppendInvocation, ReadRecord, RecordFate } from '../history/history.ts';
import { type AnswerTo, answerOf, type LogClient, type ReadAsked } from './log-client.ts';

/** A client over HTTP of a server that may be gone, stopped, or another one than a moment ago. */
export class HttpLogClient implements LogClient {
  private readonly url: () => string;
  private readonly timeoutMs: () => number;

  /** `url` and `timeoutMs` are asked for each request. A request that takes longer is broken off, and its fate unknown. */
  constructor(url: () => string, timeoutMs: () => number) {
    this.url = url;
    this.timeoutMs = timeoutMs;
  }

  async append(topic: string, append: AppendInvocation): Promise<AnswerTo<'append'>> {
    const { records, atomic, idempotencyKey, producer, expectedOffset } = append;
    const headers = {
      'content-type': 'application/json',
      ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      ...(expectedOffset === undefined ? {} : { 'if-match': `"${expectedOffset}"` }),
      ...(producer === undefined
        ? {}
        : {
            'producer-id': String(producer.id),
            'producer-epoch': String(producer.epoch),
            'producer-seq': String(producer.sequence),
          }),
    };
    const body = JSON.stringify({ records: records.map(toInput) });
    const path = `/v1/topics/${topic}/records${atomic ? '?atomic=true' : ''}`;
    const answer = await this.ask<AppendOutput>(path, { method: 'POST', headers, body });
    if ('error' in answer) {
      const { error, certain, nextOffset } = answer;
      return { type: certain ? 'fail' : 'info', error, ...(nextOffset === undefined ? {} : { nextOffset }) };
    }
    return answerOf(answer.output.records.map(toFate));
  }

  async read(topic: string, { partition, offset, waitMs }: ReadAsked): Promise<AnswerTo<'read'>> {
    const query = `offset=${offset}&limit=10000&waitMs=${waitMs}&encoding=string`;
    const answer = await this.ask<ReadOutput>(`/v1/topics/${topic}/partitions/${partition}/records?${query}`);
    if ('error' in answer) return { type: 'fail', error: answer.error };
    const { records, nextOffset, logStartOffset, highWatermark } = answer.output;
    return { type: 'ok', records: records.map(toReadRecord), nextOffset, logStartOffset, highWatermark };
  }

  async end(topic: string, partition: number): Promise<AnswerTo<'end'>> {
    const answer = await this.ask<ReadOutput>(`/v1/topics/${topic}/partitions/${partition}/records?tail=0`);
    if ('error' in answer) return { type: 'fail', error: answer.error };
    return { type: 'ok', highWatermark: answer.output.highWatermark };
  }

  private async ask<Output>(path: string, init?: RequestInit): Promise<{ readonly output: Output } | Failure> {
    try {
      const response = await fetch(`${this.url()}${path}`, { ...init, signal: AbortSignal.timeout(this.timeoutMs()) });
      const body: unknown = await response.json();
      return response.ok ? { output: body as Output } : failureOf(body as Problem);
    } catch (error) {
      return lost(error);
    }
  }
}

interface Failure {
  readonly error: string;
  /** Nothing was done, for certain. */
  readonly certain: boolean;
  readonly nextOffset?: number | undefined;
}

function failureOf({ code, outcome, nextOffset }: Problem): Failure {
  return { error: code, certain: outcome === 'not_applied', nextOffset: nextOffset as number | undefined };
}

/** No answer, or half of one. */
function lost(error: unknown): Failure {
  if (error instanceof DOMException && error.name === 'TimeoutError') return { error: 'timeout', certain: false };
  if (error instanceof SyntaxError) return { error: 'connection_lost', certain: false };
  if (!(error instanceof TypeError)) throw error;
  const { cause } = error;
  const refused = cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
  return refused ? { error: 'connection_refused', certain: true } : { error: 'connection_lost', certain: false };
}

function toInput({ value, key, headers, timestampMs, partition }: AppendInvocation['records'][number]): RecordInput {
  return {
    value,
    ...(key === undefined ? {} : { key }),
    ...(headers === undefined ? {} : { headers: Object.entries(headers).map(([name, value]) => ({ name, value })) }),
    ...(timestampMs === undefined ? {} : { timestamp: timestampMs }),
    ...(partition === undefined ? {} : { partition }),
  };
}

function toFate(outcome: AppendOutput['records'][number]): RecordFate {
  if (!('error' in outcome)) return { type: 'ok', partition: outcome.partition, offset: outcome.offset };
  const { error, certain } = failureOf(outcome.error);
  return { type: certain ? 'fail' : 'info', error };
}

function toReadRecord({ offset, value, key, headers, timestamp }: ReadOutput['records'][number]): ReadRecord {
  return {
    offset,
    value: value as string,
    timestampMs: timestamp,
    ...(key === null ? {} : { key: key as string }),
    ...(headers.length === 0
      ? {}
      : { headers: Object.fromEntries(headers.map(({ name, value }) => [name, value as string])) }),
  };
}
