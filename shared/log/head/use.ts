import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../limits.ts';

/** What one batch appended under an idempotency key became. */
export interface UsePart {
  readonly slot: number;
  readonly baseOffset: number;
  readonly records: number;
}

const VERSION = 1;

/** The parts of one use of an idempotency key; none if the use was shut out. The packed form is persisted (`docs/format.md`). */
export function packUse(parts: readonly UsePart[]): Uint8Array {
  const writer = new ByteWriter(8 + parts.length * 12);
  writer.uint8(VERSION);
  writer.varuint(parts.length);
  for (const { slot, baseOffset, records } of parts) {
    writer.varuint(slot);
    writer.varuint(baseOffset);
    writer.varuint(records);
  }
  return writer.finish().slice();
}

/** @throws EventLogError `corrupt_data` */
export function unpackUse(packed: Uint8Array): UsePart[] {
  try {
    const reader = new ByteReader(packed);
    const version = reader.uint8();
    invariant(version === VERSION, () => `version ${version} is not ${VERSION}`);
    const parts: UsePart[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const slot = reader.varuint();
      invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
      parts.push({ slot, baseOffset: reader.varuint(), records: reader.varuint() });
    }
    invariant(reader.remaining === 0, 'a use ends with its last part');
    return parts;
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'The use of an idempotency key cannot be read.', { cause });
  }
}
