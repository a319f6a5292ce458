/** What an object store rejects before it sends or stores anything, alike in every adapter. */
import { EventLogError, invalidField } from '../../log/errors.ts';
import type { ByteRange, ListOptions, ObjectSource } from '../ports.ts';

const KEY_BYTES_MAX = 1024;
const SEGMENT_BYTES_MAX = 255;
const SEGMENT = /^[A-Za-z0-9._-]+$/;
const LIST_LIMIT_MAX = 1_000;

/**
 * Accepts a path of plain segments, which is a valid S3 key and stays inside its folder.
 * @throws EventLogError `invalid_request` for any other key.
 */
export function checkObjectKey(key: string): void {
  const plain = key.split('/').every((segment) => {
    return SEGMENT.test(segment) && segment !== '.' && segment !== '..' && segment.length <= SEGMENT_BYTES_MAX;
  });
  if (!plain || key.length > KEY_BYTES_MAX) {
    throw invalidField(
      'key',
      `${JSON.stringify(key.slice(0, 200))} is not an object key. A key is a path of at most ${KEY_BYTES_MAX} characters; ` +
        `each segment has 1 to ${SEGMENT_BYTES_MAX} of the characters A-Z, a-z, 0-9, '.', '_' and '-', and is not '.' or '..'.`,
    );
  }
}

/** @throws EventLogError `invalid_request` unless `0 <= start <= end` in whole bytes. */
export function checkByteRange({ start, end }: ByteRange): void {
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end);
  if (!whole || start < 0 || end < start) {
    throw invalidField('range', `[${start}, ${end}) is not a range of bytes: 0 <= start <= end, in whole bytes.`);
  }
}

/**
 * A URL can't serve an empty range: HTTP has no range of no bytes, and a server ignores one that is no range.
 * @throws EventLogError `invalid_request` unless `0 <= start < end` in whole bytes.
 */
export function checkPresignedRange(range: ByteRange): void {
  checkByteRange(range);
  if (range.start === range.end) {
    throw invalidField('range', `[${range.start}, ${range.end}) is empty. A URL needs a range of at least one byte.`);
  }
}

/** @throws EventLogError `invalid_request` unless a key can begin with `prefix`, and `after` and `limit` are valid. */
export function checkList(prefix: string, { after, limit }: ListOptions): void {
  // Any beginning of a key becomes a key itself by one more character.
  if (prefix !== '') checkObjectKey(prefix.length === KEY_BYTES_MAX ? prefix : `${prefix}_`);
  if (after !== undefined) checkObjectKey(after);
  if (!Number.isInteger(limit) || limit < 1 || limit > LIST_LIMIT_MAX) {
    throw invalidField('limit', `${limit} is not a limit: it is a whole number from 1 to ${LIST_LIMIT_MAX}.`);
  }
}

/** @throws EventLogError `invalid_request` unless each source is a key and a range of at least one byte. */
export function checkSources(sources: readonly ObjectSource[]): void {
  for (const { key, range } of sources) {
    checkObjectKey(key);
    checkByteRange(range);
    if (range.start === range.end) throw invalidField('sources', `The range of ${key} is empty.`);
  }
}

/** What `concat` throws for a source that does not exist or ends too early. */
export function missingSource({ key, range }: ObjectSource): EventLogError {
  return new EventLogError('corrupt_data', `The object ${key} lacks bytes of [${range.start}, ${range.end}).`);
}
