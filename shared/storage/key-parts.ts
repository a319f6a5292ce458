/** What the keys and attributes of several kinds of items have in common. */

import { invariant } from '../log/errors.ts';

/**
 * The attribute (seconds since 1970) after which the store may remove an item. DynamoDB's TTL is set to it.
 */
export const EXPIRES_AT = 'e';

/** The sort key of items that are alone under their partition key. */
export const ALONE = '-';

/**
 * A number from 0 to 2^53 − 1, so that the order of texts is the order of numbers.
 * @throws EventLogError `internal` for any other: it would be out of order
 */
export function paddedNumber(value: number): string {
  invariant(Number.isSafeInteger(value) && value >= 0, () => `a key cannot have the number ${value}`);
  return value.toString().padStart(16, '0');
}
