import { CREDENTIAL_CACHE_MS } from '../../access/credentials.ts';
import type { ReadFrom, ReadRequest, ReadResult } from '../../broker/read/read.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { READ_BYTES_DEFAULT, READ_RECORDS_DEFAULT } from '../../log/limits.ts';
import type { Clock } from '../../storage/ports.ts';
import { bytes, empty, json, live, stream } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import { abortedWith, type Call, type Handlers, type HttpContext } from '../handler.ts';
import { toBase64 } from '../records/base64.ts';
import { readJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { chooseMediaType, requireMediaType } from '../request/media-type.ts';
import {
  type FetchPlanOutput,
  fetchPlanInput,
  type OffsetForTimeOutput,
  type ReadQuery,
  type SegmentPage,
} from './contract.ts';
import type { readOperations } from './operations.ts';
import { jsonOutput, ndjsonOutput, rawOutput } from './record-output.ts';
import { openTail, type TailRequest } from './tail.ts';
import { FROM_START, parseFrom, parseLastEventId, type TailFrom } from './tail-from.ts';

export function readHandlers(context: HttpContext): Handlers<typeof readOperations> {
  const { broker, clock, signedObjects } = context;
  return {
    async readRecords(call) {
      const { query } = call;
      const { topic, partition } = call.params;
      const from = readFrom(query);
      const { limit, maxBytes, waitMs, isolation, encoding = 'auto' } = query;
      const type = chooseMediaType(call.request.headers.get('accept'), [
        MEDIA.json,
        MEDIA.ndjson,
        MEDIA.sse,
        MEDIA.batches,
      ]);
      if (type === MEDIA.sse) {
        refuse(query, ['limit', 'maxBytes', 'waitMs'], 'A live tail has no end');
        return follow(context, call, {
          topic,
          partition,
          from: { from, field: 'offset' },
          filter: undefined,
          isolation,
          encoding,
        });
      }
      const { 'Last-Event-ID': header } = call.headers;
      const field = header === undefined ? 'lastEventId' : 'Last-Event-ID';
      if ((header ?? query.lastEventId) !== undefined) {
        throw invalidField(field, `${field} is only for live tails. Accept text/event-stream, or leave ${field} out.`);
      }
      if (type === MEDIA.batches)
        refuse(query, ['limit', 'encoding'], 'Raw record batches are returned whole and unchanged');
      const report = (error: unknown): void => context.onError(error, call.requestId);
      const result = await readOrWait(context, call, { topic, partition, from, maxBytes, waitMs, isolation });
      if (type === MEDIA.batches) {
        const headers = {
          'Content-Type': type,
          'Tailrace-Next-Offset': String(result.nextOffset),
          'Tailrace-High-Watermark': String(result.highWatermark),
          'Tailrace-Log-Start-Offset': String(result.logStartOffset),
        };
        return stream(call, rawOutput(result), headers, report);
      }
      const output = type === MEDIA.json ? jsonOutput : ndjsonOutput;
      const limits = { records: limit ?? READ_RECORDS_DEFAULT, bytes: maxBytes ?? READ_BYTES_DEFAULT };
      return stream(call, output(result, limits, encoding), { 'Content-Type': type }, report);
    },

    tailTopic(call) {
      const { topic } = call.params;
      const { from = 'latest', filter, isolation, encoding = 'auto' } = call.query;
      chooseMediaType(call.request.headers.get('accept'), [MEDIA.sse]);
      return follow(context, call, {
        topic,
        partition: undefined,
        from: parseFrom(from),
        filter,
        isolation,
        encoding,
      });
    },

    async planFetch(call) {
      const { topic } = call.params;
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { partitions, isolation } = check(fetchPlanInput, await readJson(call.request));
      const plan = await broker.planFetch({
        topic,
        isolation: isolation ?? undefined,
        partitions: partitions.map(({ maxBytes, ...from }) => ({ ...from, maxBytes: maxBytes ?? undefined })),
      });
      const output: FetchPlanOutput = {
        expiresAtMs: plan.expiresAtMs,
        partitions: plan.partitions.map((each) => ({
          ...each,
          parts: each.parts.map((part) => {
            if (part.storage === 'inline') return { ...part, data: toBase64(part.data) };
            return signedObjects === undefined ? part : { ...part, url: asReached(part.url, call.request) };
          }),
        })),
      };
      return json(call, 200, output);
    },

    async listSegments(call) {
      const page: SegmentPage = await broker.listSegments(call.params.topic, call.query);
      return json(call, 200, page);
    },

    async getOffset(call) {
      const { topic, partition } = call.params;
      const { timestampMs, ...found } = await broker.offsetForTime(topic, partition, call.query.timestamp);
      const output: OffsetForTimeOutput = { ...found, timestamp: timestampMs };
      return json(call, 200, output);
    },

    /** Whatever is wrong with an address, the answer reveals nothing about the object. */
    async getObject(call) {
      const { key } = call.params;
      const query = new URL(call.request.url).searchParams;
      const range = rangeOf(query);
      if (signedObjects === undefined || range === undefined || !signedObjects.verify(key, query, clock.nowMs())) {
        throw new EventLogError('access_denied', 'The address was altered or has expired. Request a new fetch plan.');
      }
      const found = await signedObjects.get(key, range);
      if (found === undefined) {
        throw new EventLogError('corrupt_data', `The stored data '${key}' is missing.`, { details: { storedAs: key } });
      }
      return bytes(call, found, { 'Content-Type': MEDIA.bytes });
    },
  };
}

/**
 * The address of an object that this server itself returns, at the host that the request was sent to: a server does not know
 * all of its addresses.
 */
function asReached(address: string, request: Request): string {
  const { pathname, search } = new URL(address);
  return `${new URL(request.url).origin}${pathname}${search}`;
}

/** Returns `undefined` unless each parameter is given exactly once, so that the signed range is the range that is read. */
function rangeOf(query: URLSearchParams): { start: number; end: number } | undefined {
  for (const name of ['start', 'end', 'expires', 'signature']) if (query.getAll(name).length !== 1) return undefined;
  const [start, end] = ['start', 'end'].map((name) =>
    /^\d{1,16}$/.test(query.get(name) ?? '') ? Number(query.get(name)) : -1,
  );
  if (start === undefined || end === undefined || start < 0 || end < start || !Number.isSafeInteger(end))
    return undefined;
  return { start, end };
}

function readFrom({ offset, timestamp, tail }: ReadQuery): ReadFrom {
  const given = Object.entries({ offset, timestamp, tail }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const [name] = given[1] as [string, unknown];
    throw invalidField(name, 'A read can have only one of offset, timestamp and tail. Leave out the others.');
  }
  if (offset !== undefined) return { offset };
  if (timestamp !== undefined) return { timestampMs: timestamp };
  return tail === undefined ? FROM_START : { tail };
}

function refuse(query: Readonly<Record<string, unknown>>, names: readonly string[], why: string): void {
  const name = names.find((one) => query[one] !== undefined);
  if (name !== undefined) throw invalidField(name, `${why}; leave out ${name}.`);
}

/** Headers for proxies: a proxy must neither compress events, which would delay them, nor buffer them (nginx). */
const EVENT_HEADERS = {
  'Content-Type': MEDIA.sse,
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
};

type TailCall = Call<typeof readOperations.tailTopic> | Call<typeof readOperations.readRecords>;

async function follow(
  { broker, clock, settings, stopping, onError }: HttpContext,
  call: TailCall,
  request: TailRequest,
): Promise<Response> {
  const from = lastSeen(call) ?? request.from;
  const stop = abortedWith(call.request.signal, stopping);
  if (call.isStillAllowed !== undefined) void endWhenDenied(call.isStillAllowed, clock, stop);
  const components = { broker, clock, settings, onError: (error: unknown) => onError(error, call.requestId) };
  try {
    const events = await openTail(components, { ...request, from }, stop);
    if (call.request.method !== 'HEAD') return live(call, events, EVENT_HEADERS, stop);
  } catch (error) {
    stop.abort();
    throw error;
  }
  stop.abort();
  return empty(call, 200, EVENT_HEADERS);
}

/**
 * The position after the last event that the client received. The header takes precedence over the parameter: a browser's
 * EventSource sends the same URL each time it connects again, so an id in the URL is older.
 */
function lastSeen({ headers, query }: TailCall): TailFrom | undefined {
  for (const [field, text = ''] of [
    ['Last-Event-ID', headers['Last-Event-ID']],
    ['lastEventId', query.lastEventId],
  ] as const) {
    if (text !== '') return parseLastEventId(text, field);
  }
  return undefined;
}

/** Ends a tail whose credential has expired or lost its rights. The check itself ends together with the tail. */
async function endWhenDenied(
  isStillAllowed: () => Promise<boolean>,
  clock: Clock,
  stop: AbortController,
): Promise<void> {
  while (!stop.signal.aborted) {
    await clock.sleep(CREDENTIAL_CACHE_MS, stop.signal);
    if (!stop.signal.aborted && !(await isStillAllowed())) stop.abort();
  }
}

/** Reads, and waits for records until the client leaves or the server stops. */
async function readOrWait(
  { broker, stopping }: HttpContext,
  call: Pick<Call, 'request'>,
  request: ReadRequest,
): Promise<ReadResult> {
  if (!request.waitMs) return broker.read(request);
  const stop = abortedWith(call.request.signal, stopping);
  try {
    return await broker.read({ ...request, signal: stop.signal });
  } finally {
    stop.abort();
  }
}
