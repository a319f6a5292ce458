import crc from 'crc-32/crc32c.js';

/** CRC-32C (Castagnoli), unsigned, as Kafka's batches and our formats carry it. */
export function crc32c(bytes: Uint8Array): number {
  return crc.buf(bytes, 0) >>> 0;
}
