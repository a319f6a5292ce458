/** What an object store asks of its callers, alike in every adapter that keeps objects itself (memory, file). */
import { invalidField } from '../log/errors.ts';
import type { ByteRange } from './ports.ts';

const KEY_BYTES_MAX = 1024;
const SEGMENT_BYTES_MAX = 255;
const SEGMENT = /^[A-Za-z0-9._-]+$/;

/** Throws `invalid_request` unless `key` is a path of plain segments that is a valid S3 key and stays in its folder. */
export function checkObjectKey(key: string): void {
  const plain = key.split('/').every((segment) => {
    return SEGMENT.test(segment) && segment !== '.' && segment !== '..' && segment.length <= SEGMENT_BYTES_MAX;
  });
  if (!plain || key.length > KEY_BYTES_MAX) {
    throw invalidField('key', `${JSON.stringify(key.slice(0, 200))} is not an object key.`);
  }
}

/** Throws `invalid_request` unless `0 <= start <= end` in whole bytes. */
export function checkByteRange(range: ByteRange): void {
  const whole = Number.isSafeInteger(range.start) && Number.isSafeInteger(range.end);
  if (!whole || range.start < 0 || range.end < range.start) {
    throw invalidField('range', `[${range.start}, ${range.end}) is not a range of bytes.`);
  }
}
