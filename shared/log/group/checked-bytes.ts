import { crc32c } from '../batch/crc32c.ts';
import { ByteFormatError, ByteReader, ByteWriter, concatBytes } from '../bytes.ts';

/**
 * Packed bytes with their CRC-32C at the end. Without it, one wrong bit could name another topic or another member, and the
 * value would still make sense.
 */

const CRC_BYTES = 4;

export function withCrc(content: Uint8Array): Uint8Array {
  const crc = new ByteWriter(CRC_BYTES);
  crc.uint32(crc32c(content));
  return concatBytes([content, crc.finish()]);
}

/** A reader of the bytes before the CRC. @throws ByteFormatError if it does not match */
export function readerOfChecked(packed: Uint8Array): ByteReader {
  if (packed.length < CRC_BYTES) throw new ByteFormatError(`${packed.length} bytes are too few`);
  const end = packed.length - CRC_BYTES;
  if (crc32c(packed.subarray(0, end)) !== new ByteReader(packed, end).uint32())
    throw new ByteFormatError('the bytes do not match their CRC-32C');
  return new ByteReader(packed, 0, end);
}
