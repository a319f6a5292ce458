import { ByteFormatError, ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError } from '../errors.ts';

/**
 * The state of one partition in a group: who owns it, and what the group has committed. A partition has at most one owner,
 * because it has one such state, and each change requires the `tag` that was seen.
 */
export interface SlotState {
  /** Another random number with every change. 0: the slot never had a state. */
  readonly tag: number;
  readonly owner: SlotOwner | undefined;
  /** The target epoch of the newest claim. It never falls. */
  readonly fence: number;
  readonly committed: CommittedOffset | undefined;
  /** What is committed if a transaction is. */
  readonly pending?: PendingOffset | undefined;
}

export interface PendingOffset {
  readonly producerId: number;
  /** The number of the transaction. */
  readonly transaction: number;
  readonly committed: CommittedOffset;
}

export interface SlotOwner {
  readonly memberKey: string;
  /** Differs from the key for static members: several members use an instance id one after the other. */
  readonly memberId: string;
  /** The member's epoch at the claim. A commit under an older epoch comes from a former life of the member. */
  readonly memberEpoch: number;
}

export interface CommittedOffset {
  /** The next offset to read. */
  readonly offset: number;
  /** −1: none was given. */
  readonly leaderEpoch: number;
  readonly committedAtMs: number;
  readonly metadata: string;
}

export const EMPTY_SLOT: SlotState = { tag: 0, owner: undefined, fence: 0, committed: undefined };

/** The states of 16 partitions of a topic, as they were read. */
export interface OffsetPage {
  /** Rises with every change of the page. */
  readonly version: number;
  /** By slot; sparse. */
  readonly slots: readonly SlotState[];
}

/** A state without its tag, which is an attribute of its own so that conditions can name it. */
export type SlotContent = Omit<SlotState, 'tag'>;

const VERSION = 1;
const HAS_OWNER = 1;
const HAS_OFFSET = 2;
const HAS_PENDING = 4;

/**
 * version uint8 = 1 · flags uint8 (1: owner, 2: offset, 4: pending) · fence varuint · owner: key, id (empty: equals the key without its
 * first two characters), epoch varuint · offset varuint, leader epoch varint, time varuint, metadata · pending: producer id
 * varuint, number of the transaction varuint, then as an offset. A text is its length as varuint, and UTF-8. Persisted in pages of offsets.
 */
export function packSlot({ owner, fence, committed, pending }: SlotContent): Uint8Array {
  const writer = new ByteWriter(128);
  writer.uint8(VERSION);
  writer.uint8(
    (owner === undefined ? 0 : HAS_OWNER) |
      (committed === undefined ? 0 : HAS_OFFSET) |
      (pending === undefined ? 0 : HAS_PENDING),
  );
  writer.varuint(fence);
  if (owner !== undefined) {
    writer.text(owner.memberKey);
    writer.text(owner.memberKey.slice(2) === owner.memberId ? '' : owner.memberId);
    writer.varuint(owner.memberEpoch);
  }
  if (committed !== undefined) writeOffset(writer, committed);
  if (pending !== undefined) {
    writer.varuint(pending.producerId);
    writer.varuint(pending.transaction);
    writeOffset(writer, pending.committed);
  }
  return writer.finish();
}

function writeOffset(writer: ByteWriter, { offset, leaderEpoch, committedAtMs, metadata }: CommittedOffset): void {
  writer.varuint(offset);
  writer.varint(leaderEpoch);
  writer.varuint(committedAtMs);
  writer.text(metadata);
}

function readOffset(reader: ByteReader): CommittedOffset {
  const [offset, leaderEpoch, committedAtMs] = [reader.varuint(), reader.varint(), reader.varuint()];
  return { offset, leaderEpoch, committedAtMs, metadata: reader.text() };
}

/** @throws EventLogError `corrupt_data` */
export function unpackSlot(bytes: Uint8Array): SlotContent {
  try {
    const reader = new ByteReader(bytes);
    const version = reader.uint8();
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not known`);
    const flags = reader.uint8();
    const fence = reader.varuint();
    let owner: SlotOwner | undefined;
    if ((flags & HAS_OWNER) !== 0) {
      const memberKey = reader.text();
      const memberId = reader.text();
      owner = { memberKey, memberId: memberId === '' ? memberKey.slice(2) : memberId, memberEpoch: reader.varuint() };
    }
    const committed = (flags & HAS_OFFSET) === 0 ? undefined : readOffset(reader);
    const pending =
      (flags & HAS_PENDING) === 0
        ? undefined
        : { producerId: reader.varuint(), transaction: reader.varuint(), committed: readOffset(reader) };
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes are left`);
    return { owner, fence, committed, ...(pending && { pending }) };
  } catch (cause) {
    throw new EventLogError('corrupt_data', 'The state of a partition in a consumer group is damaged.', { cause });
  }
}
