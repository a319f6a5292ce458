import type { RecordToAppend } from '../../broker/append/outcomes.ts';
import type { RecordHeader } from '../../log/batch/record.ts';
import { invalidField } from '../../log/errors.ts';
import { MEDIA } from '../contract.ts';
import { eachElement, type JsonSpan, valueAt } from '../records/json-text.ts';
import { bytesOfJson, bytesOfText } from '../records/json-values.ts';
import { decodeBody, parseJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { cloudEvent, cloudEventBatch } from './contract.ts';
import { checkCount } from './record-input.ts';

/**
 * CloudEvents 1.0 over HTTP, in the three modes of the HTTP protocol binding. Events are stored as the Kafka protocol
 * binding defines: binary mode as record headers `ce_<attribute>`, structured and batched events whole under their content
 * type. The extension `partitionkey` becomes the record's key.
 */

const HEADER_PREFIX = 'ce-';
const RECORD_PREFIX = 'ce_';
const REQUIRED = ['id', 'source', 'specversion', 'type'] as const;
const UTF8 = new TextEncoder();

/** Parses one event or a list. @throws EventLogError `invalid_request` naming the attribute, `request_too_large` */
export function recordsFromCloudEvents(body: Uint8Array, type: typeof MEDIA.cloudEvent | typeof MEDIA.cloudEvents) {
  const json = decodeBody(body);
  const parsed = parseJson(json);
  if (type === MEDIA.cloudEvent) {
    check(cloudEvent, parsed);
    return [structured(parsed, 'body', valueAt(json, 0))];
  }
  if (Array.isArray(parsed)) checkCount(parsed.length);
  const events: unknown[] = check(cloudEventBatch, parsed);
  const records: RecordToAppend[] = [];
  eachElement(json, 0, (start) => {
    const span = valueAt(json, start);
    records.push(structured(events[records.length], `[${records.length}]`, span));
    return span.end;
  });
  return records;
}

function structured(event: unknown, field: string, span: JsonSpan): RecordToAppend {
  const { partitionkey } = event as { readonly partitionkey?: unknown };
  return {
    key: typeof partitionkey === 'string' ? bytesOfText(partitionkey, `${field}.partitionkey`) : null,
    value: bytesOfJson(event, field, () => span),
    headers: [{ key: 'content-type', value: UTF8.encode(MEDIA.cloudEvent) }],
  };
}

export interface BinaryEvent {
  readonly headers: readonly RecordHeader[];
  readonly key: Uint8Array | null;
}

/**
 * The attributes of an event in binary mode, whose values are percent-encoded; `undefined` if the request is no such event.
 * @throws EventLogError `invalid_request` naming the header that is missing or malformed
 */
export function binaryEvent(headers: Headers): BinaryEvent | undefined {
  // The names are checked first: iterating over all headers costs a small append a twentieth of its time.
  if (!REQUIRED.some((name) => headers.has(HEADER_PREFIX + name))) return undefined;
  const attributes = new Map<string, string>();
  headers.forEach((value, name) => {
    if (name.startsWith(HEADER_PREFIX)) attributes.set(name.slice(HEADER_PREFIX.length), value);
  });
  const missing = REQUIRED.find((name) => !attributes.get(name));
  if (missing !== undefined) {
    throw invalidField(`ce-${missing}`, `A CloudEvent in binary mode needs the header ce-${missing}.`);
  }
  const partitionKey = attributes.get('partitionkey');
  return {
    headers: [...attributes].map(([name, value]) => ({
      key: `${RECORD_PREFIX}${name}`,
      value: UTF8.encode(decoded(name, value)),
    })),
    key: partitionKey === undefined ? null : UTF8.encode(decoded('partitionkey', partitionKey)),
  };
}

function decoded(name: string, value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw invalidField(`ce-${name}`, `The percent-encoding of ce-${name} is not UTF-8 text.`);
  }
}
