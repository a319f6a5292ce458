import type { RecordOutcome, RecordToAppend } from '../../broker/append/outcomes.ts';
import { type EventLogError, invalidField } from '../../log/errors.ts';
import { OFFSET_MAX } from '../../log/limits.ts';
import { allowsTopic } from '../../log/scopes.ts';
import { failureOf, throwIfAllFailed, worst } from '../answer/outcomes.ts';
import { asEventLogError, toProblem } from '../answer/problem.ts';
import { json } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import type { Call, Handlers, HttpContext } from '../handler.ts';
import { readBody } from '../request/body.ts';
import { requireMediaType } from '../request/media-type.ts';
import { accessDenied } from '../request/principal.ts';
import { recordsFromCloudEvents } from './cloud-events.ts';
import type {
  AppendHeaders,
  AppendOutput,
  BatchesAppendOutput,
  EntriesOutput,
  ProducerOutput,
  RecordOutcomeOutput,
  SingleAppendOutput,
} from './contract.ts';
import type { appendOperations } from './operations.ts';
import { splitBatches } from './record-batches.ts';
import {
  type EntryRecords,
  entriesFromJson,
  recordsFromJson,
  recordsFromNdjson,
  valuesFromJson,
  valuesFromNdjson,
} from './record-input.ts';
import { singleRecord } from './single-record.ts';

/** Content types of NDJSON: senders use different names. */
const NDJSON_NAMES = [MEDIA.ndjson, 'application/ndjson', 'application/jsonl', 'application/x-jsonlines'] as const;
const RECORD_TYPES = [MEDIA.json, ...NDJSON_NAMES, MEDIA.batches, MEDIA.cloudEvent, MEDIA.cloudEvents] as const;

export function appendHandlers(context: HttpContext): Handlers<typeof appendOperations> {
  const { broker } = context;
  return {
    async appendRecords(call) {
      const { topic } = call.params;
      const { atomic, partition, envelope = true } = call.query;
      const once = appendOptions(call.headers);
      const type = requireMediaType(call.request.headers.get('content-type'), RECORD_TYPES);
      if (type === MEDIA.batches) return appendRaw(context, call, topic, partition, atomic, once);
      if (partition !== undefined) {
        throw invalidField(
          'partition',
          'The parameter partition is only for raw record batches. Set the partition on each record.',
        );
      }
      const records = recordsOf(await readBody(call.request), type, envelope);
      const outcomes = await broker.appendRecords({ topic, records, atomic, ...once });
      throwIfAllFailed(outcomes);
      const output: AppendOutput = { records: outcomes.map(toOutput) };
      return json(call, 200, output);
    },

    async appendOne(call) {
      const { topic } = call.params;
      const once = appendOptions(call.headers);
      const records = [await singleRecord(call.request, call.query)];
      const [outcome] = (await broker.appendRecords({ topic, records, ...once })) as [RecordOutcome];
      if (!outcome.ok) throw outcome.error;
      const output: SingleAppendOutput = place(outcome);
      return json(call, 200, output);
    },

    async appendEntries(call) {
      requireMediaType(call.request.headers.get('content-type'), [MEDIA.json]);
      const entries = entriesFromJson(await readBody(call.request));
      const outcomes = await (call.query.atomic
        ? appendTogether(context, call, entries)
        : appendApart(context, call, entries));
      const errors = outcomes.map((outcome) => (Array.isArray(outcome) ? failureOf(outcome) : outcome));
      if (errors.every((error) => error !== undefined)) throw worst(errors);
      const output: EntriesOutput = {
        entries: entries.map(({ id }, i) => {
          const error = errors[i];
          return error === undefined
            ? { id, records: (outcomes[i] as RecordOutcome[]).map(toOutput) }
            : { id, error: toProblem(error) };
        }),
      };
      return json(call, 200, output);
    },

    async makeProducer(call) {
      const output: ProducerOutput = { producerId: await broker.allocateProducerId(), producerEpoch: 0 };
      return json(call, 201, output);
    },
  };
}

function recordsOf(
  body: Uint8Array,
  type: Exclude<(typeof RECORD_TYPES)[number], typeof MEDIA.batches>,
  envelope: boolean,
): RecordToAppend[] {
  if (type === MEDIA.cloudEvent || type === MEDIA.cloudEvents) {
    if (!envelope) throw invalidField('envelope', 'CloudEvents do not support the parameter envelope. Leave it out.');
    return recordsFromCloudEvents(body, type);
  }
  if (type === MEDIA.json) return envelope ? recordsFromJson(body) : valuesFromJson(body);
  return envelope ? recordsFromNdjson(body) : valuesFromNdjson(body);
}

interface AppendOptions {
  readonly producer?: { readonly producerId: number; readonly producerEpoch: number; readonly baseSequence: number };
  readonly idempotencyKey?: string;
  readonly expectedOffset?: number;
}

const PRODUCER_HEADERS = ['Producer-Id', 'Producer-Epoch', 'Producer-Seq'] as const;

/** @throws EventLogError `invalid_request` */
function appendOptions(headers: AppendHeaders): AppendOptions {
  const given = PRODUCER_HEADERS.filter((name) => headers[name] !== undefined);
  if (given.length > 0 && given.length < PRODUCER_HEADERS.length) {
    const missing = PRODUCER_HEADERS.find((name) => headers[name] === undefined) as string;
    throw invalidField(missing, `${PRODUCER_HEADERS.join(', ')} come together; ${missing} is missing.`);
  }
  const idempotencyKey = headers['Idempotency-Key'];
  const ifMatch = headers['If-Match'];
  return {
    ...(given.length === 0
      ? {}
      : {
          producer: {
            producerId: headers['Producer-Id'] as number,
            producerEpoch: headers['Producer-Epoch'] as number,
            baseSequence: headers['Producer-Seq'] as number,
          },
        }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    ...(ifMatch === undefined ? {} : { expectedOffset: expectedOffsetOf(ifMatch) }),
  };
}

function expectedOffsetOf(ifMatch: string): number {
  const offset = Number(ifMatch.slice(1, -1));
  if (offset <= OFFSET_MAX) return offset;
  throw invalidField('If-Match', `An offset can be at most ${OFFSET_MAX}.`);
}

async function appendRaw(
  { broker }: HttpContext,
  call: Pick<Call, 'request' | 'requestId' | 'allowedOrigin'>,
  topic: string,
  partition: number | undefined,
  atomic: boolean | undefined,
  { producer, idempotencyKey, expectedOffset }: AppendOptions,
): Promise<Response> {
  if (partition === undefined) {
    throw invalidField('partition', 'Raw record batches need the parameter partition, such as ?partition=0.');
  }
  if (producer !== undefined || idempotencyKey !== undefined) {
    throw invalidField(
      producer === undefined ? 'Idempotency-Key' : 'Producer-Id',
      'Raw record batches have their own producer id, epoch and sequence. Leave this header out.',
    );
  }
  const batches = splitBatches(await readBody(call.request)).map((batch, i) => ({
    topic,
    partition,
    batch,
    expectedOffset: i === 0 ? expectedOffset : undefined,
  }));
  const outcomes = await broker.append({ batches, atomic });
  throwIfAllFailed(outcomes);
  const output: BatchesAppendOutput = {
    batches: outcomes.map((outcome) =>
      outcome.ok
        ? {
            partition,
            baseOffset: outcome.baseOffset,
            records: outcome.records,
            duplicate: outcome.duplicate,
            ...(outcome.logAppendTimeMs === undefined ? {} : { timestamp: outcome.logAppendTimeMs }),
          }
        : { error: toProblem(outcome.error) },
    ),
  };
  return json(call, 200, output);
}

/** An entry's outcomes, or the error with which it failed as a whole. */
type EntryOutcome = RecordOutcome[] | EventLogError;

function appendApart(
  { broker }: HttpContext,
  { principal }: Pick<Call, 'principal'>,
  entries: readonly EntryRecords[],
): Promise<EntryOutcome[]> {
  return Promise.all(
    entries.map(({ topic, records }) => {
      if (!allowsTopic(principal.scopes, 'produce', topic)) return accessDenied();
      return broker.appendRecords({ topic, records }).catch(asEventLogError);
    }),
  );
}

/** All records of all entries as one append. */
async function appendTogether(
  { broker }: HttpContext,
  { principal }: Pick<Call, 'principal'>,
  entries: readonly EntryRecords[],
): Promise<EntryOutcome[]> {
  const topic = (entries[0] as EntryRecords).topic;
  const other = entries.findIndex((entry) => entry.topic !== topic);
  if (other > 0) {
    throw invalidField(
      `entries[${other}].topic`,
      'With atomic=true all entries must be for one topic. Set the same topic on each entry.',
    );
  }
  if (!allowsTopic(principal.scopes, 'produce', topic)) throw accessDenied();
  const outcomes = await broker.appendRecords({
    topic,
    records: entries.flatMap((entry) => entry.records),
    atomic: true,
  });
  let start = 0;
  return entries.map(({ records }) => {
    start += records.length;
    return outcomes.slice(start - records.length, start);
  });
}

function place({ partition, offset, timestampMs }: RecordOutcome & { readonly ok: true }): SingleAppendOutput {
  return { partition, offset, timestamp: timestampMs };
}

function toOutput(outcome: RecordOutcome): RecordOutcomeOutput {
  return outcome.ok ? place(outcome) : { error: toProblem(outcome.error) };
}
