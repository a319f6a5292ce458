import { invalidField } from '../log/errors.ts';
import { PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX } from '../log/limits.ts';
import type { Attributes, ItemStore } from '../storage/ports.ts';

/** Listings in pages. An opaque token contains the start of the next page. */

export interface PageRequest {
  readonly limit?: number | undefined;
  readonly pageToken?: string | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextPageToken?: string;
}

/**
 * Returns a page of the items under a partition key, in the order of their sort keys. `describe` can omit an item. 1 Query.
 * @throws EventLogError `invalid_request` for the limit or the token
 */
export async function queryPage<T>(
  items: ItemStore,
  pk: string,
  request: PageRequest,
  describe: (sk: string, attributes: Attributes) => T | undefined,
): Promise<Page<T>> {
  const limit = pageLimit(request.limit);
  const after = request.pageToken === undefined ? undefined : decodePageToken(request.pageToken);
  const page = await items.query({ pk, ...(after === undefined ? {} : { from: `${after}\0` }), limit });
  const described = page.items.flatMap(({ sk, attributes }) => describe(sk, attributes) ?? []);
  const last = page.items.at(-1)?.sk;
  if (!page.more || last === undefined) return { items: described };
  return { items: described, nextPageToken: encodePageToken(last) };
}

/** @throws EventLogError `invalid_request` */
export function pageLimit(limit: number | undefined): number {
  if (limit === undefined) return PAGE_LIMIT_DEFAULT;
  if (Number.isSafeInteger(limit) && limit >= 1 && limit <= PAGE_LIMIT_MAX) return limit;
  throw invalidField('limit', `The limit of a page must be from 1 to ${PAGE_LIMIT_MAX}.`);
}

export function encodePageToken(position: string): string {
  return Buffer.from(position).toString('base64url');
}

const TOKEN_LENGTH_MAX = 1_024;

/** @throws EventLogError `invalid_request` */
export function decodePageToken(token: string): string {
  // Bytes that are not UTF-8 are replaced here, so that they encode to another token.
  const position = Buffer.from(token, 'base64url').toString();
  if (token.length > TOKEN_LENGTH_MAX || position === '' || encodePageToken(position) !== token) {
    throw invalidField('pageToken', 'This is not a page token. Use `nextPageToken` of the previous page.');
  }
  return position;
}
