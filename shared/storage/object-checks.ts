/** What an object store rejects before it sends or stores anything, alike in every adapter. */
import { invalidField } from '../log/errors.ts';
import type { ByteRange } from './ports.ts';

const KEY_BYTES_MAX = 1024;
const SEGMENT_BYTES_MAX = 255;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

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
