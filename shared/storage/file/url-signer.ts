/**
 * Signed URLs for objects that the local server serves in place of S3. The server signs and checks them itself.
 *
 * The signature is HMAC-SHA-256 over key, start, end and expiry, each on its own line. So none of them can be changed, and no
 * two requests share a text.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { ByteRange, SignedUrl } from '../ports.ts';

export interface UrlSigner {
  sign(key: string, range: ByteRange, expiresAtMs: number): SignedUrl;
}

export interface UrlVerifier {
  /**
   * Whether the query parameters `start`, `end`, `expires` and `signature` were signed for `key` and have not expired.
   * Takes the same time for every wrong signature.
   */
  verify(key: string, params: URLSearchParams, nowMs: number): boolean;
}

export interface UrlSignerOptions {
  readonly secret: Uint8Array;
  /** The server's address, without a slash at the end. Called for each URL: a server learns its address when it listens. */
  readonly baseUrl: () => string;
}

export function createUrlSigner(options: UrlSignerOptions): UrlSigner & UrlVerifier {
  const signature = (key: string, start: string, end: string, expires: string): Buffer => {
    const text = `tailrace-object-v1\n${key}\n${start}\n${end}\n${expires}`;
    return createHmac('sha256', options.secret).update(text).digest();
  };
  return {
    sign(key, range, expiresAtMs) {
      const start = String(range.start);
      const end = String(range.end);
      const expires = String(expiresAtMs);
      const query = new URLSearchParams({
        start,
        end,
        expires,
        signature: signature(key, start, end, expires).toString('base64url'),
      });
      const path = key.split('/').map(encodeURIComponent).join('/');
      return { url: `${options.baseUrl()}/v1/objects/${path}?${query}`, headers: {} };
    },
    verify(key, params, nowMs) {
      const start = params.get('start') ?? '';
      const end = params.get('end') ?? '';
      const expires = params.get('expires') ?? '';
      const given = Buffer.from(params.get('signature') ?? '', 'base64url');
      const expected = signature(key, start, end, expires);
      if (given.byteLength !== expected.byteLength || !timingSafeEqual(given, expected)) return false;
      return nowMs < Number(expires);
    },
  };
}
