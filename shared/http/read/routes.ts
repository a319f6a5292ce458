import type { ReadFrom, ReadRequest, ReadResult } from '../../broker/read/read.ts';
import { invalidField } from '../../log/errors.ts';
import { OFFSET_MAX, READ_BYTES_DEFAULT, READ_RECORDS_DEFAULT } from '../../log/limits.ts';
import { empty, json, live, stream } from '../answer/respond.ts';
import {
  type FetchPlanOutput,
  fetchPlanInput,
  MEDIA,
  type OffsetForTimeOutput,
  type SegmentPage,
} from '../contract.ts';
import { abortedWith, type Call, type Handler, type HttpContext } from '../handler.ts';
import { OPERATIONS } from '../operation.ts';
import { toBase64 } from '../records/base64.ts';
import { readJson } from '../request/body.ts';
import { check, parseHeaders, parseParams, parseQuery } from '../request/input.ts';
import { chooseMediaType, requireMediaType } from '../request/media-type.ts';
import { CREDENTIAL_CACHE_MS } from '../request/principal.ts';
import { jsonOutput, ndjsonOutput, rawOutput } from './record-output.ts';
import { openTail, parseTailFrom, type TailClock, type TailRequest } from './tail.ts';

type ReadOperation = 'readRecords' | 'tailTopic' | 'planFetch' | 'listSegments' | 'getOffset';

/** A read so far before the end begins at the log start offset. */
const FROM_START: ReadFrom = { tail: OFFSET_MAX };

export function readHandlers(context: HttpContext): Record<ReadOperation, Handler> {
  const { broker } = context;
  return {
    async readRecords(call) {
      const { topic, partition } = parseParams(OPERATIONS.readRecords.params, call.params);
      const query = parseQuery(OPERATIONS.readRecords.query, call.request.url);
      const from = readFrom(query);
      parseHeaders(OPERATIONS.readRecords.headers, call.request.headers);
      const { limit, maxBytes, waitMs, encoding = 'auto' } = query;
      const type = chooseMediaType(call.request.headers.get('accept'), [
        MEDIA.json,
        MEDIA.ndjson,
        MEDIA.sse,
        MEDIA.batches,
      ]);
      if (type === MEDIA.sse) {
        refuse(query, ['limit', 'maxBytes', 'waitMs'], 'A live tail has no end');
        return follow(context, call, { topic, partition, from: { type: 'read', from }, filter: undefined, encoding });
      }
      if (type === MEDIA.batches) refuse(query, ['limit', 'encoding'], 'Raw record batches come whole and as they are');
      const report = (error: unknown): void => context.onError(error, call.requestId);
      const result = await readOrWait(context, call, { topic, partition, from, maxBytes, waitMs });
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
      const { topic } = parseParams(OPERATIONS.tailTopic.params, call.params);
      const { from = 'latest', filter, encoding = 'auto' } = parseQuery(OPERATIONS.tailTopic.query, call.request.url);
      chooseMediaType(call.request.headers.get('accept'), [MEDIA.sse]);
      return follow(context, call, {
        topic,
        partition: undefined,
        from: parseTailFrom(from, 'from'),
        filter,
        encoding,
      });
    },

    async planFetch(call) {
      const { topic } = parseParams(OPERATIONS.planFetch.params, call.params);
      parseQuery(OPERATIONS.planFetch.query, call.request.url);
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const { partitions } = check(fetchPlanInput, await readJson(call.request));
      const plan = await broker.planFetch({ topic, partitions });
      const output: FetchPlanOutput = {
        expiresAtMs: plan.expiresAtMs,
        partitions: plan.partitions.map((each) => ({
          ...each,
          parts: each.parts.map((part) => (part.storage === 'inline' ? { ...part, data: toBase64(part.data) } : part)),
        })),
      };
      return json(call, 200, output);
    },

    async listSegments(call) {
      const { topic } = parseParams(OPERATIONS.listSegments.params, call.params);
      const page = await broker.listSegments(topic, parseQuery(OPERATIONS.listSegments.query, call.request.url));
      const output: SegmentPage = { ...page, items: [...page.items] };
      return json(call, 200, output);
    },

    async getOffset(call) {
      const { topic, partition } = parseParams(OPERATIONS.getOffset.params, call.params);
      const { timestamp } = parseQuery(OPERATIONS.getOffset.query, call.request.url);
      const { timestampMs, ...found } = await broker.offsetForTime(topic, partition, timestamp);
      const output: OffsetForTimeOutput = { ...found, timestamp: timestampMs };
      return json(call, 200, output);
    },
  };
}

interface FromQuery {
  readonly offset?: number | undefined;
  readonly timestamp?: number | undefined;
  readonly tail?: number | undefined;
}

function readFrom({ offset, timestamp, tail }: FromQuery): ReadFrom {
  const given = Object.entries({ offset, timestamp, tail }).filter(([, value]) => value !== undefined);
  if (given.length > 1) {
    const [name] = given[1] as [string, unknown];
    throw invalidField(name, 'A read begins at one of offset, timestamp and tail, not at several.');
  }
  if (offset !== undefined) return { offset };
  if (timestamp !== undefined) return { timestampMs: timestamp };
  return tail === undefined ? FROM_START : { tail };
}

function refuse(query: Readonly<Record<string, unknown>>, names: readonly string[], why: string): void {
  const name = names.find((one) => query[one] !== undefined);
  if (name !== undefined) throw invalidField(name, `${why}; leave out ${name}.`);
}

async function follow(
  { broker, clock, settings, stopping, onError }: HttpContext,
  call: Call,
  request: TailRequest,
): Promise<Response> {
  const { 'Last-Event-ID': lastEventId = '' } = parseHeaders(OPERATIONS.tailTopic.headers, call.request.headers);
  const from = lastEventId === '' ? request.from : parseTailFrom(lastEventId, 'Last-Event-ID');
  const stop = abortedWith(call.request.signal, stopping);
  if (call.isStillAllowed !== undefined) void endWhenDenied(call.isStillAllowed, clock, stop);
  const parts = { broker, clock, settings, onError: (error: unknown) => onError(error, call.requestId) };
  // Proxies that gather answers before they pass them on are told not to.
  const headers = { 'Content-Type': MEDIA.sse, 'X-Accel-Buffering': 'no' };
  try {
    const events = await openTail(parts, { ...request, from }, stop);
    if (call.request.method !== 'HEAD') return live(call, events, headers, stop);
  } catch (error) {
    stop.abort();
    throw error;
  }
  stop.abort();
  return empty(call, 200, headers);
}

/** A tail may outlive the credential that it was begun with, or its rights. Ends when the tail does. */
async function endWhenDenied(
  isStillAllowed: () => Promise<boolean>,
  clock: TailClock,
  stop: AbortController,
): Promise<void> {
  while (!stop.signal.aborted) {
    await clock.sleep(CREDENTIAL_CACHE_MS, stop.signal);
    if (!stop.signal.aborted && !(await isStillAllowed())) stop.abort();
  }
}

/** Waits for records no longer than the client, and the server, are there. */
async function readOrWait({ broker, stopping }: HttpContext, call: Call, request: ReadRequest): Promise<ReadResult> {
  if (!request.waitMs) return broker.read(request);
  const stop = abortedWith(call.request.signal, stopping);
  try {
    return await broker.read({ ...request, signal: stop.signal });
  } finally {
    stop.abort();
  }
}
