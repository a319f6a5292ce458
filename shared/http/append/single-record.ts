import type { RecordToAppend } from '../../broker/append/outcomes.ts';
import type { RecordHeader } from '../../log/batch/record.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { MEDIA } from '../contract.ts';
import { bytesOfText } from '../records/json-values.ts';
import { readBody } from '../request/body.ts';
import { mediaTypeOf } from '../request/media-type.ts';
import { binaryEvent } from './cloud-events.ts';
import { KEPT_HEADERS_MAX } from './contract.ts';

export interface SingleRecordOptions {
  readonly key?: string | undefined;
  readonly partition?: number | undefined;
  readonly keepHeaders?: string | undefined;
}

/**
 * Converts a request to one record: the body becomes the value, and some of the request's headers become record headers.
 * @throws EventLogError as `readBody`, `invalid_request` naming the parameter or header, `unsupported_media_type`
 */
export async function singleRecord(
  request: Request,
  { key, partition, keepHeaders }: SingleRecordOptions,
): Promise<RecordToAppend> {
  const contentType = request.headers.get('content-type');
  if (mediaTypeOf(contentType) === MEDIA.cloudEvents) {
    throw new EventLogError(
      'unsupported_media_type',
      'This address appends one record. Send a batch of CloudEvents to /v1/topics/{topic}/records.',
    );
  }
  const event = binaryEvent(request.headers);
  return {
    key: key === undefined ? (event?.key ?? null) : bytesOfText(key, 'key'),
    value: await readBody(request),
    headers: [
      ...(contentType === null ? [] : [{ key: 'content-type', value: headerBytes(contentType) }]),
      ...(event?.headers ?? []),
      ...(keepHeaders === undefined ? [] : keptHeaders(request.headers, keepHeaders)),
    ],
    partition,
  };
}

/** Header values are bytes, one a character (the Fetch standard, "byte sequence to isomorphic string"). */
function headerBytes(value: string): Uint8Array {
  return Uint8Array.from({ length: value.length }, (_, i) => value.charCodeAt(i));
}

/** Headers with credentials: a reader of the record could use them. */
const CREDENTIALS = ['authorization', 'cookie', 'proxy-authorization', 'x-amz-security-token'];
/** Headers that are not kept by their names: credentials, and headers that the record already has. */
const KEPT_APART = [...CREDENTIALS, 'content-type'];
/** A name of RFC 9110, section 5.6.2, without the asterisk, which means any ending here. */
const NAME = /^(?:[!#$%&'+.^_`|~0-9a-z-]+\*?|\*)$/;

function keptHeaders(headers: Headers, names: string): RecordHeader[] {
  const patterns = names.split(',').map((name) => name.trim().toLowerCase());
  if (patterns.length > KEPT_HEADERS_MAX)
    throw invalidField('keepHeaders', `keepHeaders can have at most ${KEPT_HEADERS_MAX} names.`);
  for (const pattern of patterns) {
    if (!NAME.test(pattern)) {
      throw invalidField(
        'keepHeaders',
        `keepHeaders must be names of headers separated by commas, such as x-github-event,x-hub-*; not '${pattern.slice(0, 100)}'.`,
      );
    }
    if (CREDENTIALS.includes(pattern))
      throw invalidField('keepHeaders', `The header ${pattern} is a credential, which must not be stored.`);
  }
  const kept: RecordHeader[] = [];
  headers.forEach((value, name) => {
    const isAsked = patterns.some((pattern) =>
      pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern,
    );
    if (isAsked && !KEPT_APART.includes(name)) kept.push({ key: name, value: headerBytes(value) });
  });
  return kept;
}
