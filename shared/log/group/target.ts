import { ByteFormatError, type ByteReader, ByteWriter, varuintLength } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { PARTITIONS_PER_TOPIC_MAX } from '../limits.ts';
import { readerOfChecked, withCrc } from './checked-bytes.ts';
import type { PartitionSet } from './partition-set.ts';

/** Who should read what, as one computation decided it. It never changes. */
export interface TargetAssignment {
  /** Their keys are different. */
  readonly members: readonly TargetMember[];
  /** Topic id -> for each partition the index of its member in `members`, or -1 if nobody subscribes. */
  readonly topics: ReadonlyMap<string, Int32Array>;
}

export interface TargetMember {
  readonly key: string;
  /** Of the subscription that the target was computed from. */
  readonly subscriptionHash: number;
  /** Of the topics of that subscription and their partitions, as they were then. */
  readonly topicsHash: number;
}

interface Shares {
  /** Member key -> its index. */
  readonly indexes: ReadonlyMap<string, number>;
  /** The partitions of member i are at [starts[i], starts[i + 1]) of the two lists below. */
  readonly starts: Int32Array;
  readonly topics: Int32Array;
  readonly partitions: Int32Array;
  /** Ascending. */
  readonly topicIds: readonly string[];
}

/** Made when the first member of a target asks for its share. All 1,000 members of a group may ask one process. */
const sharesOfTargets = new WeakMap<TargetAssignment, Shares>();

/**
 * What the target gives a member; `undefined` if it does not know the member. The first call for a target takes time and
 * memory for all partitions (8 bytes for each), later calls only for those of the member.
 */
export function shareOf(target: TargetAssignment, key: string): PartitionSet | undefined {
  let shares = sharesOfTargets.get(target);
  if (shares === undefined) {
    shares = sharesOf(target);
    sharesOfTargets.set(target, shares);
  }
  const index = shares.indexes.get(key);
  if (index === undefined) return undefined;
  const share = new Map<string, number[]>();
  for (let at = shares.starts[index] as number; at < (shares.starts[index + 1] as number); at++) {
    const topicId = shares.topicIds[shares.topics[at] as number] as string;
    const partition = shares.partitions[at] as number;
    const partitions = share.get(topicId);
    if (partitions === undefined) share.set(topicId, [partition]);
    else partitions.push(partition);
  }
  return share;
}

/** Sorts the partitions by member. */
function sharesOf({ members, topics }: TargetAssignment): Shares {
  const starts = new Int32Array(members.length + 1);
  for (const owners of topics.values()) for (const owner of owners) if (owner !== -1) (starts[owner + 1] as number)++;
  for (let i = 0; i < members.length; i++) (starts[i + 1] as number) += starts[i] as number;
  const total = starts[members.length] as number;
  const shares = { topics: new Int32Array(total), partitions: new Int32Array(total) };
  const next = starts.slice();
  const topicIds = [...topics.keys()].sort();
  for (const [topic, topicId] of topicIds.entries()) {
    for (const [partition, owner] of (topics.get(topicId) as Int32Array).entries()) {
      if (owner === -1) continue;
      const at = next[owner] as number;
      next[owner] = at + 1;
      shares.topics[at] = topic;
      shares.partitions[at] = partition;
    }
  }
  return { indexes: new Map(members.map(({ key }, index) => [key, index])), starts, ...shares, topicIds };
}

const VERSION = 1;
const ONE_BY_ONE = 0;
const RUNS = 1;

/**
 * The packed form is persisted (`docs/format.md`). For 10,000 partitions of a topic and 1,000 members with ids of 36
 * characters it takes 50 KB, and 66 KB if no two neighbours have the same member; 46 KB are the members. A topic takes 26 bytes.
 */
export function packTarget({ members, topics }: TargetAssignment): Uint8Array {
  const writer = new ByteWriter(64 * 1024);
  writer.uint8(VERSION);
  writer.varuint(members.length);
  for (const { key, subscriptionHash, topicsHash } of members) {
    writer.text(key);
    writer.uint32(subscriptionHash);
    writer.uint32(topicsHash);
  }
  writer.varuint(topics.size);
  for (const [topicId, owners] of topics) {
    invariant(owners.length <= PARTITIONS_PER_TOPIC_MAX, () => `a topic has ${owners.length} partitions`);
    writer.text(topicId);
    writer.varuint(owners.length);
    writeOwners(writer, owners, members.length);
  }
  return withCrc(writer.finish());
}

function writeOwners(writer: ByteWriter, owners: Int32Array, members: number): void {
  const runs: { readonly owner: number; length: number }[] = [];
  let bytes = 0;
  for (const owner of owners) {
    invariant(owner >= -1 && owner < members, () => `there is no member ${owner}`);
    bytes += varuintLength(owner + 1);
    const last = runs.at(-1);
    if (last?.owner === owner) last.length++;
    else runs.push({ owner, length: 1 });
  }
  const bytesOfRuns = runs.reduce((sum, run) => sum + varuintLength(run.length) + varuintLength(run.owner + 1), 0);
  if (bytesOfRuns < bytes) {
    writer.uint8(RUNS);
    for (const { owner, length } of runs) {
      writer.varuint(length);
      writer.varuint(owner + 1);
    }
  } else {
    writer.uint8(ONE_BY_ONE);
    for (const owner of owners) writer.varuint(owner + 1);
  }
}

/** Takes at most 40 KB of memory for each topic, whatever the bytes say. @throws EventLogError `corrupt_data` */
export function unpackTarget(packed: Uint8Array): TargetAssignment {
  try {
    const reader = readerOfChecked(packed);
    const version = reader.uint8();
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not ${VERSION}`);
    const members: TargetMember[] = [];
    for (let left = reader.varuint(); left > 0; left--)
      members.push({ key: reader.text(), subscriptionHash: reader.uint32(), topicsHash: reader.uint32() });
    if (new Set(members.map(({ key }) => key)).size < members.length)
      throw new ByteFormatError('a member is there twice');
    const topics = new Map<string, Int32Array>();
    for (let left = reader.varuint(); left > 0; left--) {
      const topicId = reader.text();
      if (topics.has(topicId)) throw new ByteFormatError('a topic is there twice');
      topics.set(topicId, readOwners(reader, members.length));
    }
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes follow the last topic`);
    return { members, topics };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The target assignment of a group cannot be read: ${why}.`, { cause });
  }
}

function readOwners(reader: ByteReader, members: number): Int32Array {
  const partitions = reader.varuint();
  if (partitions > PARTITIONS_PER_TOPIC_MAX) throw new ByteFormatError(`no topic has ${partitions} partitions`);
  const form = reader.uint8();
  if (form !== ONE_BY_ONE && form !== RUNS) throw new ByteFormatError(`owners have no form ${form}`);
  const owners = new Int32Array(partitions);
  for (let at = 0; at < partitions; ) {
    const length = form === RUNS ? reader.varuint() : 1;
    const owner = reader.varuint() - 1;
    if (length < 1 || length > partitions - at) throw new ByteFormatError(`a run of ${length} is at partition ${at}`);
    if (owner >= members) throw new ByteFormatError(`there is no member ${owner}`);
    owners.fill(owner, at, at + length);
    at += length;
  }
  return owners;
}
