import crc from 'crc-32/crc32c.js';

type Crc32c = (bytes: Uint8Array) => number;

/** For fewer bytes a call of native code takes longer than JavaScript does for all of it. */
const NATIVE_BYTES_MIN = 512;
const NATIVE = '@node-rs/crc32';
/** The check value of CRC-32C: that of the ASCII digits 1 to 9. */
const DIGITS = new TextEncoder().encode('123456789');
const CRC_OF_DIGITS = 0xe3069283;

/**
 * CRC-32C (Castagnoli), unsigned, as Kafka's batches and our formats carry it. Native code computes it where the optional
 * package `@node-rs/crc32` is installed: three to four times as fast. Elsewhere, as in bundles of one file and in browsers,
 * JavaScript does.
 */
export const crc32c = preferNative((bytes) => crc.buf(bytes, 0) >>> 0, loadNative);

/** `slow` for few bytes, and for all where the native function does not load or is wrong. */
export function preferNative(slow: Crc32c, load: () => Crc32c | undefined): Crc32c {
  const native = trusted(load);
  if (native === undefined) return slow;
  return (bytes) => (bytes.length < NATIVE_BYTES_MIN ? slow(bytes) : native(bytes));
}

/** A platform without a build of it, and one that was installed for another, throw errors of many kinds. */
function trusted(load: () => Crc32c | undefined): Crc32c | undefined {
  try {
    const native = load();
    return native?.(DIGITS) === CRC_OF_DIGITS ? native : undefined;
  } catch {
    return undefined;
  }
}

/** Not by an import: browsers have no `node:module`, and bundlers would look for a file that is no JavaScript. */
function loadNative(): Crc32c | undefined {
  const require = globalThis.process?.getBuiltinModule?.('module').createRequire(import.meta.url);
  return (require?.(NATIVE) as { readonly crc32c: Crc32c } | undefined)?.crc32c;
}
