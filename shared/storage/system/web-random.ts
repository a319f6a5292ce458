import type { Random } from '../ports.ts';

/** Web Crypto allows this many bytes in one call. */
const CALL_BYTES_MAX = 65_536;

/** Random bytes from Web Crypto, which browsers, Workers and Node have. */
export const webRandom: Random = {
  bytes(length) {
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length; at += CALL_BYTES_MAX)
      globalThis.crypto.getRandomValues(bytes.subarray(at, at + CALL_BYTES_MAX));
    return bytes;
  },
};
