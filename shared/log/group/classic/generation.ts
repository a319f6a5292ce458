import { ByteFormatError, type ByteReader, ByteWriter } from '../../bytes.ts';
import { EventLogError } from '../../errors.ts';
import { readerOfChecked, withCrc } from '../checked-bytes.ts';

/**
 * Who belongs to a generation of a classic group. It is stored before the generation begins and never changes, so every
 * process gives the same answer, whoever joins, leaves or comes late meanwhile.
 */
export interface Roster {
  readonly members: readonly RosterMember[];
  /** Members that joined the round and were not let in. They have to be told, and must not begin another round. */
  readonly rejected: readonly RejectedMember[];
}

export interface RosterMember {
  readonly key: string;
  readonly memberId: string;
  /** Of the protocol that was chosen. */
  readonly metadata: Uint8Array;
}

export interface RejectedMember {
  readonly key: string;
  /** `inconsistent`: it supports no protocol that the others do. `full`: the group has no room. */
  readonly reason: 'inconsistent' | 'full';
}

/** Member key -> what the leader gives to the member. */
export type ClassicAssignment = ReadonlyMap<string, Uint8Array>;

const VERSION = 1;
const ROSTER = 1;
const ASSIGNMENT = 2;
const INCONSISTENT = 1;
const FULL = 2;

/** The packed form is persisted in parts of 256 KiB (`docs/format.md`). */
export function packRoster({ members, rejected }: Roster): Uint8Array {
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.uint8(ROSTER);
  writer.varuint(members.length);
  for (const { key, memberId, metadata } of members) {
    writer.text(key);
    writer.text(memberId);
    writeBytes(writer, metadata);
  }
  writer.varuint(rejected.length);
  for (const { key, reason } of rejected) {
    writer.text(key);
    writer.uint8(reason === 'full' ? FULL : INCONSISTENT);
  }
  return withCrc(writer.finish());
}

/** @throws EventLogError `corrupt_data` */
export function unpackRoster(packed: Uint8Array): Roster {
  return unpack(packed, ROSTER, (reader) => {
    const members: RosterMember[] = [];
    for (let left = reader.varuint(); left > 0; left--)
      members.push({ key: reader.text(), memberId: reader.text(), metadata: readBytes(reader) });
    const rejected: RejectedMember[] = [];
    for (let left = reader.varuint(); left > 0; left--) {
      const key = reader.text();
      rejected.push({ key, reason: reader.uint8() === FULL ? 'full' : 'inconsistent' });
    }
    return { members, rejected };
  });
}

/** The packed form is persisted in parts of 256 KiB (`docs/format.md`). */
export function packAssignment(assignment: ClassicAssignment): Uint8Array {
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.uint8(ASSIGNMENT);
  writer.varuint(assignment.size);
  for (const [key, bytes] of assignment) {
    writer.text(key);
    writeBytes(writer, bytes);
  }
  return withCrc(writer.finish());
}

/** @throws EventLogError `corrupt_data` */
export function unpackAssignment(packed: Uint8Array): ClassicAssignment {
  return unpack(packed, ASSIGNMENT, (reader) => {
    const assignment = new Map<string, Uint8Array>();
    for (let left = reader.varuint(); left > 0; left--) assignment.set(reader.text(), readBytes(reader));
    return assignment;
  });
}

function unpack<T>(packed: Uint8Array, expected: number, read: (reader: ByteReader) => T): T {
  try {
    const reader = readerOfChecked(packed);
    const [version, kind] = [reader.uint8(), reader.uint8()];
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not ${VERSION}`);
    if (kind !== expected) throw new ByteFormatError(`kind ${kind} is not ${expected}`);
    const value = read(reader);
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes are left`);
    return value;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `A generation of a consumer group cannot be read: ${why}.`, { cause });
  }
}

function writeBytes(writer: ByteWriter, bytes: Uint8Array): void {
  writer.varuint(bytes.length);
  writer.write(bytes);
}

/** A copy, so that one member does not keep the bytes of all in memory. */
function readBytes(reader: ByteReader): Uint8Array {
  return reader.view(reader.varuint()).slice();
}
