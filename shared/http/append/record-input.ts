import type * as z from 'zod';
import type { RecordToAppend } from '../../broker/append/outcomes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { RECORDS_PER_REQUEST_MAX } from '../../log/limits.ts';
import type { RecordInput } from '../records/contract.ts';
import { recordInput } from '../records/contract.ts';
import { eachElement, eachMember, type JsonSpan, valueAt } from '../records/json-text.ts';
import { bytesOfHeader, bytesOfJson, bytesOfText } from '../records/json-values.ts';
import { decodeBody, parseJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { appendInput, type EntriesInput, entriesInput, valuesInput } from './contract.ts';

/**
 * Reads records from JSON. First the whole text is parsed and checked. Then keys and values that are objects, arrays or
 * numbers are copied from the text itself, so that they are stored as they were sent. An error anywhere rejects the whole
 * request before anything is appended.
 */

/** `{"records": […]}`. @throws EventLogError `invalid_request` naming the field, `request_too_large` */
export function recordsFromJson(body: Uint8Array): RecordToAppend[] {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  if (Array.isArray(parsed)) throw bareValue('body', 'a JSON array');
  checkCount(countOf(parsed, 'records'));
  const { records } = check(appendInput, parsed);
  const { texts } = membersOf(json, 0, '');
  return records.map((record, i) => toRecord(record, `records[${i}]`, texts[i] as RecordTexts));
}

/** One record a line; see `lines`. @throws as `recordsFromJson` */
export function recordsFromNdjson(body: Uint8Array): RecordToAppend[] {
  return eachLine(body, (line, parsed, place) => {
    const field = `records[${place}]`;
    const record = check(recordInput, parsed, ['records', place]);
    return toRecord(record, field, recordTexts(line, 0, () => field).texts);
  });
}

/** Values without an envelope: each element of an array, or a single object. @throws as `recordsFromJson` */
export function valuesFromJson(body: Uint8Array): RecordToAppend[] {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  if (!Array.isArray(parsed)) return [valueRecord(parsed, 'body', valueAt(json, 0))];
  checkCount(parsed.length);
  check(valuesInput, parsed);
  const records: RecordToAppend[] = [];
  eachElement(json, 0, (start) => {
    const span = valueAt(json, start);
    records.push(valueRecord(parsed[records.length], `[${records.length}]`, span));
    return span.end;
  });
  return records;
}

/** As `valuesFromJson`, one value a line; see `lines`. @throws as `recordsFromJson` */
export function valuesFromNdjson(body: Uint8Array): RecordToAppend[] {
  return eachLine(body, (line, parsed, place) => valueRecord(parsed, `records[${place}]`, valueAt(line, 0)));
}

function valueRecord(value: unknown, field: string, span: JsonSpan): RecordToAppend {
  return { key: null, value: bytesOfJson(value, field, () => span), headers: [] };
}

export interface EntryRecords {
  readonly id: string;
  readonly topic: string;
  readonly records: RecordToAppend[];
}

/** `{"entries": [{"id", "topic", "records"}]}`. @throws as `recordsFromJson` */
export function entriesFromJson(body: Uint8Array): EntryRecords[] {
  const { input, records } = bodyWithEntries(entriesInput, body);
  checkIds(input.entries);
  return input.entries.map(({ id, topic }, i) => ({ id, topic, records: records[i] as RecordToAppend[] }));
}

/** A body of this schema, whose member `entries` has records, and these records by entry. @throws as `recordsFromJson` */
export function bodyWithEntries<S extends WithEntries>(
  schema: S,
  body: Uint8Array,
): { readonly input: z.infer<S>; readonly records: RecordToAppend[][] } {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  const given = typeof parsed === 'object' && parsed !== null && 'entries' in parsed ? parsed.entries : undefined;
  if (Array.isArray(given)) {
    checkCount(given.reduce((sum: number, entry: unknown) => sum + countOf(entry, 'records'), 0));
  }
  const input = check(schema, parsed);
  const texts = entryTexts(json);
  const records = (input.entries ?? []).map((entry, i) =>
    entry.records.map((record, k) => toRecord(record, `entries[${i}].records[${k}]`, texts[i]?.[k] as RecordTexts)),
  );
  return { input, records };
}

type WithEntries = z.ZodType<{
  readonly entries?: readonly { readonly records: readonly RecordInput[] }[] | null | undefined;
}>;

/** Reads the records of a body that has one JSON value a line. */
function eachLine(
  body: Uint8Array,
  read: (line: string, parsed: unknown, place: number) => RecordToAppend,
): RecordToAppend[] {
  const records: RecordToAppend[] = [];
  let lineNumber = 0;
  for (const line of lines(decodeBody(body))) {
    lineNumber++;
    if (line === '' || line.trim() === '') continue;
    checkCount(records.length + 1);
    records.push(read(line, parseJson(line, `line ${lineNumber}`), records.length));
  }
  if (records.length === 0) throw invalidField('records', 'There is no record; send at least one.');
  return records;
}

function countOf(parsed: unknown, name: string): number {
  if (typeof parsed !== 'object' || parsed === null || !Object.hasOwn(parsed, name)) return 0;
  const list = (parsed as Readonly<Record<string, unknown>>)[name];
  return Array.isArray(list) ? list.length : 0;
}

export function checkCount(records: number): void {
  if (records <= RECORDS_PER_REQUEST_MAX) return;
  throw new EventLogError(
    'request_too_large',
    `A request can have at most ${RECORDS_PER_REQUEST_MAX} records. Send them as several requests.`,
    { details: { recordsMax: RECORDS_PER_REQUEST_MAX } },
  );
}

/** The error for a body that appears to have no envelope. */
function bareValue(field: string, what: string): EventLogError {
  return invalidField(
    field,
    `The body is ${what}; expected {"records": […]}. To append each element as the value of a record, add ?envelope=false.`,
  );
}

function checkIds(entries: EntriesInput['entries']): void {
  const seen = new Set<string>();
  entries.forEach(({ id }, i) => {
    if (seen.has(id)) throw invalidField(`entries[${i}].id`, 'Another entry of the request has this id.');
    seen.add(id);
  });
}

function toRecord(record: RecordInput, field: string, texts: RecordTexts): RecordToAppend {
  return {
    key: bytesOfJson(record.key, `${field}.key`, () => texts.key as JsonSpan),
    value: bytesOfJson(record.value, `${field}.value`, () => texts.value as JsonSpan),
    headers:
      record.headers?.map(({ name, value }, i) => {
        if (!name.isWellFormed()) bytesOfText(name, `${field}.headers[${i}].name`);
        return { key: name, value: bytesOfHeader(value, `${field}.headers[${i}].value`) };
      }) ?? [],
    timestampMs: record.timestamp ?? undefined,
    partition: record.partition ?? undefined,
  };
}

/** The texts of a record's key and value, as in the request. */
interface RecordTexts {
  readonly key?: JsonSpan;
  readonly value?: JsonSpan;
}

/** The texts of the record at `start`. No member may be given twice. */
function recordTexts(
  json: string,
  start: number,
  field: () => string,
): { readonly texts: RecordTexts; readonly end: number } {
  const texts: { key?: JsonSpan; value?: JsonSpan } = {};
  const end = eachMember(json, start, field, (name, valueStart) => {
    if (name === 'headers') return headersEnd(json, valueStart, field);
    const span = valueAt(json, valueStart);
    if (name === 'key') texts.key = span;
    else if (name === 'value') texts.value = span;
    return span.end;
  });
  return { texts, end };
}

function headersEnd(json: string, start: number, field: () => string): number {
  if (json[start] !== '[') return valueAt(json, start).end;
  let i = 0;
  return eachElement(json, start, (elementStart) => {
    const header = i++;
    return eachMember(
      json,
      elementStart,
      () => `${field()}.headers[${header}]`,
      (_, valueStart) => valueAt(json, valueStart).end,
    );
  });
}

/** The texts of the list `records` in the object at `start`, which `path` names. */
function membersOf(json: string, start: number, path: string): { readonly texts: RecordTexts[]; readonly end: number } {
  const texts: RecordTexts[] = [];
  const end = eachMember(
    json,
    start,
    () => path,
    (name, valueStart) => {
      if (name !== 'records') return valueAt(json, valueStart).end;
      return eachElement(json, valueStart, (elementStart) => {
        const field = (): string => `${path === '' ? '' : `${path}.`}records[${texts.length}]`;
        const record = recordTexts(json, elementStart, field);
        texts.push(record.texts);
        return record.end;
      });
    },
  );
  return { texts, end };
}

function entryTexts(json: string): RecordTexts[][] {
  const texts: RecordTexts[][] = [];
  eachMember(
    json,
    0,
    () => '',
    (name, valueStart) => {
      if (name !== 'entries' || json[valueStart] !== '[') return valueAt(json, valueStart).end;
      return eachElement(json, valueStart, (elementStart) => {
        const entry = membersOf(json, elementStart, `entries[${texts.length}]`);
        texts.push(entry.texts);
        return entry.end;
      });
    },
  );
  return texts;
}

const BYTE_ORDER_MARK = 0xfeff;

/** Splits lines. A line ends with LF or CR LF, and can begin with a byte order mark, as in concatenated files. */
function* lines(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    yield text.slice(text.charCodeAt(start) === BYTE_ORDER_MARK ? start + 1 : start, end);
    start = end + 1;
  }
}
