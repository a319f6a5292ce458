import { concatBytes } from '../../../../log/bytes.ts';
import type { ClassicGroup, StoredParts } from '../../../../log/group/classic/classic-group.ts';
import {
  type ClassicAssignment,
  packAssignment,
  packRoster,
  type Roster,
  unpackAssignment,
  unpackRoster,
} from '../../../../log/group/classic/generation.ts';
import { TARGET, targetItemKey, targetName } from '../../../../storage/group-keys.ts';
import type { ItemStore } from '../../../../storage/ports.ts';
import type { BrokerContext } from '../../../context.ts';
import { eachOf } from '../../../topics/each-head.ts';

/** Stores rosters and assignments in immutable parts, and reads them. The group then refers to them by name. */

/** An item can hold 400 KB. */
const PART_BYTES = 256 * 1024;

async function putParts(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  epoch: number,
  bytes: Uint8Array,
): Promise<StoredParts> {
  const name = targetName(epoch, context.clock.nowMs(), context.random.bytes(4));
  const starts = Array.from({ length: Math.ceil(bytes.length / PART_BYTES) }, (_, i) => i * PART_BYTES);
  await eachOf([...starts.entries()], ([i, start]) =>
    items.put(targetItemKey(group, name, i), { [TARGET.part]: bytes.subarray(start, start + PART_BYTES) }),
  );
  return { name, parts: starts.length };
}

async function readParts(
  items: ItemStore,
  group: string,
  { name, parts }: StoredParts,
): Promise<Uint8Array | undefined> {
  const found = await eachOf([...Array(parts).keys()], async (part) => {
    const { attributes } = await items.get(targetItemKey(group, name, part));
    return attributes?.[TARGET.part];
  });
  const bytes = found.filter((part) => part instanceof Uint8Array);
  return bytes.length < parts ? undefined : concatBytes(bytes);
}

/** 1 PutItem for each 256 KiB. */
export async function putRoster(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  epoch: number,
  roster: Roster,
): Promise<StoredParts> {
  const stored = await putParts(context, items, group, epoch, packRoster(roster));
  context.classicGroups.putRoster(group, stored.name, roster);
  return stored;
}

/**
 * The roster of the group's generation, from memory or by 1 GetItem for each part. `undefined` without a generation, and if it
 * is not there any more: a process that slept for an hour named one that had been swept.
 * @throws EventLogError `corrupt_data`
 */
export async function readRoster(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { roster }: ClassicGroup,
): Promise<Roster | undefined> {
  const { classicGroups } = context;
  return readKnown(items, group, roster, {
    get: (name) => classicGroups.getRoster(group, name),
    put: (name, read) => classicGroups.putRoster(group, name, read),
    unpack: unpackRoster,
  });
}

/** 1 PutItem for each 256 KiB. */
export async function putAssignment(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  epoch: number,
  assignment: ClassicAssignment,
): Promise<StoredParts> {
  const stored = await putParts(context, items, group, epoch, packAssignment(assignment));
  context.classicGroups.putAssignment(group, stored.name, assignment);
  return stored;
}

/** What the leader has assigned, like `readRoster`. */
export async function readAssignment(
  context: BrokerContext,
  items: ItemStore,
  group: string,
  { assignment }: ClassicGroup,
): Promise<ClassicAssignment | undefined> {
  const { classicGroups } = context;
  return readKnown(items, group, assignment, {
    get: (name) => classicGroups.getAssignment(group, name),
    put: (name, read) => classicGroups.putAssignment(group, name, read),
    unpack: unpackAssignment,
  });
}

interface Memory<Part> {
  get(name: string): Part | undefined;
  put(name: string, part: Part): void;
  unpack(bytes: Uint8Array): Part;
}

/** What is stored never changes under its name, so it is read once. `undefined` if it is not there any more. */
async function readKnown<Part>(
  items: ItemStore,
  group: string,
  stored: StoredParts | undefined,
  { get, put, unpack }: Memory<Part>,
): Promise<Part | undefined> {
  if (stored === undefined) return undefined;
  const known = get(stored.name);
  if (known !== undefined) return known;
  const bytes = await readParts(items, group, stored);
  if (bytes === undefined) return undefined;
  const read = unpack(bytes);
  put(stored.name, read);
  return read;
}
