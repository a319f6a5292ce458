import { crc32c } from '../batch/crc32c.ts';
import { ByteReader, ByteWriter, concatBytes } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';

/** The name of a head among all heads. */
export interface SharerName {
  readonly topicId: string;
  readonly headNumber: number;
}

const VERSION = 1;
/** Length and CRC-32C of what follows. */
const PREFIX_BYTES = 8;

/**
 * A shared object begins with the names of the heads whose batches follow. So who finds an object that no head refers to
 * knows which heads could still do so, without an item that would have to be written for each object. The packed form is
 * persisted; see `docs/format.md`.
 */
export function packSharers(sharers: readonly SharerName[]): Uint8Array {
  const writer = new ByteWriter(16 + sharers.length * 26);
  writer.uint8(VERSION);
  writer.varuint(sharers.length);
  for (const { topicId, headNumber } of sharers) {
    const id = new TextEncoder().encode(topicId);
    writer.varuint(id.length);
    writer.write(id);
    writer.varuint(headNumber);
  }
  const names = writer.finish();
  const prefix = new ByteWriter(PREFIX_BYTES);
  prefix.uint32(names.length);
  prefix.uint32(crc32c(names));
  return concatBytes([prefix.finish(), names]);
}

/** A first read of this many bytes gets all names of nearly every object. */
export const SHARERS_BYTES_GUESS = 4_096;

/**
 * Reads the names from the beginning of an object, or says how many bytes of it are needed.
 * @throws EventLogError `corrupt_data`
 */
export function unpackSharers(
  beginning: Uint8Array,
): { readonly sharers: readonly SharerName[] } | { readonly bytesNeeded: number } {
  try {
    const prefix = new ByteReader(beginning);
    const end = PREFIX_BYTES + prefix.uint32();
    const crc = prefix.uint32();
    if (beginning.length < end) return { bytesNeeded: end };
    const names = beginning.subarray(PREFIX_BYTES, end);
    invariant(crc32c(names) === crc, 'the names do not match their CRC-32C');
    const reader = new ByteReader(names);
    const version = reader.uint8();
    invariant(version === VERSION, () => `version ${version} is not ${VERSION}`);
    const sharers: SharerName[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const topicId = new TextDecoder().decode(reader.view(reader.varuint()));
      sharers.push({ topicId, headNumber: reader.varuint() });
    }
    invariant(reader.remaining === 0, 'the names end with the last head');
    return { sharers };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The names of the heads in a shared object cannot be read: ${why}.`, {
      cause,
    });
  }
}
