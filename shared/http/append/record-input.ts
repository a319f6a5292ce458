import type { RecordToAppend } from '../../broker/append/outcomes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { RECORDS_PER_REQUEST_MAX } from '../../log/limits.ts';
import { appendInput, type EntriesInput, entriesInput, type RecordInput, recordInput } from '../contract.ts';
import { eachElement, eachMember, type JsonSpan, valueAt } from '../records/json-text.ts';
import { bytesOfHeader, bytesOfJson, bytesOfText } from '../records/json-values.ts';
import { decodeBody, parseJson } from '../request/body.ts';
import { check } from '../request/input.ts';

/**
 * Records from JSON. The text is parsed and checked as a whole first; then keys and values that are objects, arrays or
 * numbers are taken from the text itself, so that they are stored as they were sent. An error anywhere refuses the whole
 * request before anything is appended.
 */

/** `{"records": […]}`. @throws EventLogError `invalid_request` naming the field, `request_too_large` */
export function recordsFromJson(body: Uint8Array): RecordToAppend[] {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  checkCount(countOf(parsed, 'records'));
  const { records } = check(appendInput, parsed);
  const texts = records.some(needsText) ? textsOf(json, 0) : NO_TEXTS;
  return records.map((record, i) => toRecord(record, `records[${i}]`, texts[i]));
}

/** One record a line; lines without anything are passed over. @throws as `recordsFromJson` */
export function recordsFromNdjson(body: Uint8Array): RecordToAppend[] {
  const records: RecordToAppend[] = [];
  let lineNumber = 0;
  for (const line of lines(decodeBody(body))) {
    lineNumber++;
    if (line.trim() === '') continue;
    checkCount(records.length + 1);
    const parsed = parseJson(line, `line ${lineNumber}`);
    const record = check(recordInput, parsed, ['records', records.length]);
    const texts = needsText(record) ? recordTexts(line, 0).texts : undefined;
    records.push(toRecord(record, `records[${records.length}]`, texts));
  }
  if (records.length === 0) throw invalidField('records', 'There is no record; send at least one.');
  return records;
}

export interface EntryRecords {
  readonly id: string;
  readonly topic: string;
  readonly records: RecordToAppend[];
}

/** `{"entries": [{"id", "topic", "records"}]}`. @throws as `recordsFromJson` */
export function entriesFromJson(body: Uint8Array): EntryRecords[] {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  const given = typeof parsed === 'object' && parsed !== null && 'entries' in parsed ? parsed.entries : undefined;
  if (Array.isArray(given)) {
    checkCount(given.reduce((sum: number, entry: unknown) => sum + countOf(entry, 'records'), 0));
  }
  const { entries } = check(entriesInput, parsed);
  checkIds(entries);
  const texts = entries.some((entry) => entry.records.some(needsText)) ? entryTexts(json) : [];
  return entries.map(({ id, topic, records }, i) => ({
    id,
    topic,
    records: records.map((record, k) => toRecord(record, `entries[${i}].records[${k}]`, texts[i]?.[k])),
  }));
}

function countOf(parsed: unknown, name: string): number {
  if (typeof parsed !== 'object' || parsed === null || !Object.hasOwn(parsed, name)) return 0;
  const list = (parsed as Readonly<Record<string, unknown>>)[name];
  return Array.isArray(list) ? list.length : 0;
}

function checkCount(records: number): void {
  if (records <= RECORDS_PER_REQUEST_MAX) return;
  throw new EventLogError(
    'request_too_large',
    `A request has at most ${RECORDS_PER_REQUEST_MAX} records. Send them as several requests.`,
    { details: { recordsMax: RECORDS_PER_REQUEST_MAX } },
  );
}

function checkIds(entries: EntriesInput['entries']): void {
  const seen = new Set<string>();
  entries.forEach(({ id }, i) => {
    if (seen.has(id)) throw invalidField(`entries[${i}].id`, 'Another entry of the request has this id.');
    seen.add(id);
  });
}

function toRecord(record: RecordInput, field: string, texts: RecordTexts | undefined): RecordToAppend {
  return {
    key: bytesOfJson(record.key, `${field}.key`, () => texts?.key as JsonSpan),
    value: bytesOfJson(record.value, `${field}.value`, () => texts?.value as JsonSpan),
    headers:
      record.headers?.map(({ name, value }, i) => {
        if (!name.isWellFormed()) bytesOfText(name, `${field}.headers[${i}].name`);
        return { key: name, value: bytesOfHeader(value, `${field}.headers[${i}].value`) };
      }) ?? [],
    timestampMs: record.timestamp,
    partition: record.partition,
  };
}

/** What the request has written as a record's key and value. */
interface RecordTexts {
  readonly key?: JsonSpan;
  readonly value?: JsonSpan;
}

const NO_TEXTS: readonly RecordTexts[] = [];

function needsText({ key, value }: RecordInput): boolean {
  return isWritten(key) || isWritten(value);
}

function isWritten(value: unknown): boolean {
  return typeof value === 'number' || (typeof value === 'object' && value !== null);
}

/** Of a member that comes twice the last one counts, as for `JSON.parse`. */
function recordTexts(json: string, start: number): { readonly texts: RecordTexts; readonly end: number } {
  let key: JsonSpan | undefined;
  let value: JsonSpan | undefined;
  const end = eachMember(json, start, (name, valueStart) => {
    const span = valueAt(json, valueStart);
    if (name === 'key') key = span;
    else if (name === 'value') value = span;
    return span.end;
  });
  return { texts: { ...(key && { key }), ...(value && { value }) }, end };
}

/** Of the list `records` of the object at `start`. */
function textsOf(json: string, start: number): RecordTexts[] {
  return membersOf(json, start).texts;
}

function membersOf(json: string, start: number): { readonly texts: RecordTexts[]; readonly end: number } {
  let texts: RecordTexts[] = [];
  const end = eachMember(json, start, (name, valueStart) => {
    if (name !== 'records') return valueAt(json, valueStart).end;
    texts = [];
    return eachElement(json, valueStart, (elementStart) => {
      const record = recordTexts(json, elementStart);
      texts.push(record.texts);
      return record.end;
    });
  });
  return { texts, end };
}

function entryTexts(json: string): RecordTexts[][] {
  let texts: RecordTexts[][] = [];
  eachMember(json, 0, (name, valueStart) => {
    if (name !== 'entries') return valueAt(json, valueStart).end;
    texts = [];
    return eachElement(json, valueStart, (elementStart) => {
      const entry = membersOf(json, elementStart);
      texts.push(entry.texts);
      return entry.end;
    });
  });
  return texts;
}

function* lines(text: string): Generator<string> {
  let start = 0;
  while (start < text.length) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    yield text.slice(start, end);
    start = end + 1;
  }
}
