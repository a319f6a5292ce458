/** What the keys and attributes of several kinds of items have in common. */

/**
 * The attribute (seconds since 1970) after which the store may remove an item. DynamoDB's TTL is set to it.
 */
export const EXPIRES_AT = 'e';

/** The sort key of items that are alone under their partition key. */
export const ALONE = '-';

/** A number from 0 on, so that the order of texts is the order of numbers. */
export function paddedNumber(value: number): string {
  return value.toString().padStart(16, '0');
}
