import type { BatchesAppendOutput, ProducerOutput } from '../http/append/contract.ts';
import type { ExtendOutput, PollInput, PollOutput } from '../http/groups/contract.ts';
import type { ReadOutput } from '../http/read/contract.ts';
import type { TopicDetail } from '../http/topics/contract.ts';
import type { TransactionProducer, TransactOutput } from '../http/transactions/contract.ts';
import type { StoredRecord } from '../log/batch/record.ts';
import { concatBytes } from '../log/bytes.ts';
import { EventLogError, invalidField } from '../log/errors.ts';
import { base64OfBytes, bytesOfBase64 } from './codec.ts';
import { errorOfProblem, errorOfResponse, noWholeAnswer } from './http-errors.ts';
import { asEventLogError, beforeAppend } from './in-time.ts';
import type {
  BatchesToAppend,
  BatchOutcome,
  BatchToAppend,
  CallOptions,
  CommitOutcome,
  GroupPoll,
  GroupPollRequest,
  GroupToLeave,
  LeaseToExtend,
  LogApi,
  PlaceOfRecord,
  PollInTransaction,
  ProducerName,
  ProducerToInitialise,
  ReadFrom,
  ReadRecordsRequest,
  RecordsInTransaction,
  RecordsRead,
  RecordToAppend,
  TopicFacts,
  TransactionToEnd,
} from './log-api.ts';

const JSON_BODY = { 'content-type': 'application/json' };
const BATCHES = 'application/vnd.apache.kafka.record-batches';

export interface HttpLogOptions {
  /** Where the log answers, such as `http://127.0.0.1:8080`; a path before `/v1` belongs to it. */
  readonly url: string;
  /** An API key. */
  readonly apiKey?: string | undefined;
  /** A bearer token, or what gets one. It is asked before each request, and again if the log says that it is not valid. */
  readonly token?: string | (() => string | Promise<string>) | undefined;
  /** Further headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Default: the global `fetch`. One that signs requests, say. */
  readonly fetch?: typeof fetch | undefined;
}

/** The log over the HTTP API. Repeats nothing: who calls it knows what may be repeated. */
export class HttpLog implements LogApi {
  readonly #url: string;
  readonly #options: HttpLogOptions;
  readonly #fetch: typeof fetch;

  /** @throws EventLogError `invalid_request` naming the option */
  constructor(options: HttpLogOptions) {
    const { url, apiKey, token } = options;
    if (!/^https?:\/\/[^/?#]+[^?#]*$/.test(url))
      throw invalidField('url', 'url takes the http or https address of a log, such as http://127.0.0.1:8080.');
    if (apiKey !== undefined && token !== undefined)
      throw invalidField('token', 'A log takes an API key or a token. Leave out one of them.');
    this.#url = url.replace(/\/+$/, '');
    this.#options = options;
    // Called as a method of another object, a browser's fetch refuses to work.
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
  }

  describeTopic(name: string, { signal }: CallOptions = {}): Promise<TopicFacts> {
    return this.#ask<TopicDetail>(`/v1/topics/${encodeURIComponent(name)}`, { signal });
  }

  async allocateProducerId({ signal }: CallOptions = {}): Promise<number> {
    return (await this.#ask<ProducerOutput>('/v1/producers', { method: 'POST', signal })).producerId;
  }

  /** One request for each partition. */
  async append({ batches, signal }: BatchesToAppend): Promise<BatchOutcome[]> {
    const outcomes: BatchOutcome[] = [];
    const places = new Map<string, number[]>();
    batches.forEach(({ topic, partition }, place) => {
      const name = `${topic}/${partition}`;
      const others = places.get(name);
      if (others === undefined) places.set(name, [place]);
      else others.push(place);
    });
    await Promise.all(
      [...places.values()].map(async (ofPartition) => {
        const given = ofPartition.map((place) => batches[place] as BatchToAppend);
        const settled = await this.#appendTo(given, signal);
        ofPartition.forEach((place, i) => {
          outcomes[place] = settled[i] ?? { ok: false, error: missingOutcome() };
        });
      }),
    );
    return outcomes;
  }

  async #appendTo(batches: readonly BatchToAppend[], signal: AbortSignal | undefined): Promise<BatchOutcome[]> {
    const { topic, partition } = batches[0] as BatchToAppend;
    const path = `/v1/topics/${encodeURIComponent(topic)}/records?partition=${partition}`;
    const body =
      batches.length === 1 ? (batches[0] as BatchToAppend).batch : concatBytes(batches.map(({ batch }) => batch));
    try {
      const headers = { 'content-type': BATCHES };
      const output = await this.#ask<BatchesAppendOutput>(path, { method: 'POST', headers, body, signal });
      return output.batches.map((each): BatchOutcome => {
        if ('error' in each) return { ok: false, error: errorOfProblem(each.error) };
        const { baseOffset, records, duplicate, timestamp } = each;
        return { ok: true, baseOffset, records, duplicate, logAppendTimeMs: timestamp };
      });
    } catch (thrown) {
      const error = asEventLogError(thrown);
      return batches.map(() => ({ ok: false, error }));
    }
  }

  async readRecords(request: ReadRecordsRequest): Promise<RecordsRead> {
    const { topic, partition, from, maxRecords, maxBytes, waitMs, signal } = request;
    const query = new URLSearchParams({ encoding: 'base64', ...queryOf(from) });
    for (const [name, value] of Object.entries({ limit: maxRecords, maxBytes, waitMs }))
      if (value !== undefined) query.set(name, String(value));
    const path = `/v1/topics/${encodeURIComponent(topic)}/partitions/${partition}/records?${query}`;
    const { records, ...ends } = await this.#ask<ReadOutput>(path, { signal });
    return { ...ends, records: records.map(storedRecord) };
  }

  async pollRecords({ group, subscription, commitLater, signal, ...request }: GroupPollRequest): Promise<GroupPoll> {
    const { topics, pattern } = subscription ?? {};
    const commit = commitLater ? 'later' : 'after';
    const input = { ...request, topics, topicPattern: pattern, commit, encoding: 'base64' } satisfies PollInput;
    const call = jsonCall(input, signal);
    const { commits, partitions, ...about } = await this.#ask<PollOutput>(`${groupPath(group)}/poll`, call);
    return {
      ...about,
      commits: commits.map(({ error, ...where }) => ({
        ...where,
        outcome: error === undefined ? { ok: true } : { ok: false, error: errorOfProblem(error) },
      })),
      partitions: partitions.map(({ records, ...where }) => ({ ...where, records: records.map(storedRecord) })),
    };
  }

  extendLease({ group, memberId, token, signal }: LeaseToExtend): Promise<ExtendOutput> {
    const call = jsonCall({ token }, signal);
    return this.#ask<ExtendOutput>(`${memberPath(group, memberId)}/extend`, call);
  }

  async leaveGroup({ group, memberId, instanceId, willReturn, signal }: GroupToLeave): Promise<void> {
    const query = new URLSearchParams();
    if (instanceId !== undefined) query.set('instanceId', instanceId);
    if (willReturn !== undefined) query.set('willReturn', String(willReturn));
    const answer = await this.#answerOf(`${memberPath(group, memberId)}?${query}`, { method: 'DELETE', signal });
    await answer.body?.cancel();
  }

  async initialiseProducer({ transactionalId, timeoutMs, signal }: ProducerToInitialise): Promise<ProducerName> {
    const path = `${transactionPath(transactionalId)}/begin?timeoutMs=${timeoutMs}`;
    return producerOf(await this.#ask<TransactionProducer>(path, { method: 'POST', signal }));
  }

  async appendRecordsInTransaction(request: RecordsInTransaction): Promise<PlaceOfRecord[][]> {
    const { transactionalId, producer, entries, signal } = request;
    const input = {
      ...producer,
      entries: entries.map(({ topic, records, baseSequence }) => ({
        topic,
        sequence: baseSequence,
        records: records.map(recordInput),
      })),
    };
    const path = `${transactionPath(transactionalId)}/records`;
    const output = await this.#ask<TransactOutput>(path, jsonCall(input, signal));
    return output.entries.map(({ records }) =>
      records.map(({ partition, offset, timestamp }) => ({ partition, offset, timestampMs: timestamp })),
    );
  }

  /** All of them succeed, or none. */
  async commitOffsetsInTransaction(request: PollInTransaction): Promise<CommitOutcome[]> {
    const { transactionalId, producer, group, after, signal } = request;
    const path = `${transactionPath(transactionalId)}/offsets`;
    const answer = await this.#answerOf(path, jsonCall({ ...producer, group, after }, signal));
    await answer.body?.cancel();
    return [];
  }

  async endTransaction({ transactionalId, producer, outcome, signal }: TransactionToEnd): Promise<ProducerName> {
    const path = `${transactionPath(transactionalId)}/${outcome === 'committed' ? 'commit' : 'abort'}`;
    return producerOf(await this.#ask<TransactionProducer>(path, jsonCall(producer, signal)));
  }

  async #ask<Output>(path: string, call: Call): Promise<Output> {
    const answer = await this.#answerOf(path, call);
    try {
      return (await answer.json()) as Output;
    } catch (cause) {
      throw noWholeAnswer(this.#url, cause);
    }
  }

  async #answerOf(path: string, call: Call): Promise<Response> {
    const response = await this.#send(path, call);
    const { token } = this.#options;
    // A token that expired on the way is not asked for twice.
    const answer = response.status === 401 && typeof token === 'function' ? await this.#send(path, call) : response;
    if (!answer.ok) throw await errorOfResponse(answer);
    return answer;
  }

  async #send(path: string, { method = 'GET', headers, body, signal }: Call): Promise<Response> {
    const { apiKey, token, headers: further } = this.#options;
    const credential = apiKey ?? (typeof token === 'function' ? await askFor(token) : token);
    try {
      return await this.#fetch(`${this.#url}${path}`, {
        method,
        headers: {
          accept: 'application/json',
          ...(credential === undefined ? {} : { authorization: `Bearer ${credential}` }),
          ...further,
          ...headers,
        },
        ...(body === undefined ? {} : { body: body as BodyInit }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      throw noWholeAnswer(this.#url, cause);
    }
  }
}

/** @throws EventLogError `storage_unavailable` with the outcome `not_applied`: the request was not sent */
async function askFor(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token();
  } catch (cause) {
    if (cause instanceof EventLogError) throw beforeAppend(cause);
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('storage_unavailable', `There is no token: ${why}.`, { outcome: 'not_applied', cause });
  }
}

interface Call {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal: AbortSignal | undefined;
}

function jsonCall(input: object, signal: AbortSignal | undefined): Call {
  return { method: 'POST', headers: JSON_BODY, body: UTF8.encode(JSON.stringify(input)), signal };
}

function transactionPath(transactionalId: string): string {
  return `/v1/transactions/${encodeURIComponent(transactionalId)}`;
}

function producerOf({ producerId, producerEpoch }: TransactionProducer): ProducerName {
  return { producerId, producerEpoch };
}

function recordInput({ key, value, headers, timestampMs, partition }: RecordToAppend): object {
  const coded = (bytes: Uint8Array | null) => bytes && { $base64: base64OfBytes(bytes) };
  return {
    key: coded(key),
    value: coded(value),
    headers: headers.map((header) => ({ name: header.key, value: coded(header.value) })),
    timestamp: timestampMs,
    partition,
  };
}

function groupPath(group: string): string {
  return `/v1/groups/${encodeURIComponent(group)}`;
}

function memberPath(group: string, memberId: string): string {
  return `${groupPath(group)}/members/${encodeURIComponent(memberId)}`;
}

function queryOf(from: ReadFrom): Record<string, string> {
  if ('offset' in from) return { offset: String(from.offset) };
  return 'tail' in from ? { tail: String(from.tail) } : { timestamp: String(from.timestampMs) };
}

const UTF8 = new TextEncoder();

function storedRecord({ offset, timestamp, key, value, headers }: ReadOutput['records'][number]): StoredRecord {
  return {
    offset,
    timestampMs: timestamp,
    key: bytesOf(key),
    value: bytesOf(value),
    headers: headers.map((header) => ({ key: header.name, value: bytesOf(header.value) })),
  };
}

/** Keys and values come as base64, headers as text if they are text. */
function bytesOf(given: unknown): Uint8Array | null {
  if (given === null) return null;
  if (typeof given === 'string') return UTF8.encode(given);
  const coded = (given as { readonly $base64?: unknown }).$base64;
  const decoded = typeof coded === 'string' ? bytesOfBase64(coded) : undefined;
  if (decoded === undefined) throw new EventLogError('internal', 'An answer has a value that is not base64.');
  return decoded;
}

function missingOutcome(): EventLogError {
  return new EventLogError('internal', 'An answer has no outcome for a batch.');
}
