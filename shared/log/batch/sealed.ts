import { ByteReader, ByteWriter, concatBytes } from '../bytes.ts';
import { invariant } from '../errors.ts';
import { crc32c } from './crc32c.ts';

/**
 * Packed forms that end with their CRC-32C: with one bit wrong, what they say could be something else and still make sense.
 */

const CRC_BYTES = 4;

/** What was written, and its CRC-32C. */
export function sealed(writer: ByteWriter): Uint8Array {
  const content = writer.finish();
  const crc = new ByteWriter(CRC_BYTES);
  crc.uint32(crc32c(content));
  return concatBytes([content, crc.finish()]);
}

/** The content of sealed bytes. Throws an invariant's error if it does not match its CRC-32C. */
export function unsealed(packed: Uint8Array): Uint8Array {
  invariant(packed.length > CRC_BYTES, () => `${packed.length} bytes are too few`);
  const end = packed.length - CRC_BYTES;
  const content = packed.subarray(0, end);
  invariant(crc32c(content) === new ByteReader(packed, end).uint32(), 'it does not match its CRC-32C');
  return content;
}
