import type { Broker } from '../../../../shared/broker/broker.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { Attributes, AttributeValue, ItemKey } from '../../../../shared/storage/ports.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readToEnd } from '../../clients/read-records.ts';
import { Chance } from '../../world/chance.ts';
import { STREAM } from '../../world/simulated-process.ts';
import type { World } from '../../world/world.ts';

/** Bits that are flipped in a run, one after the other. */
const FLIPS = 4;
/** Kinds of items that hold more than numbers and texts. */
const PACKED_ITEMS = /^(batch|node|segments|head|aborted)#/;

/**
 * R20: with one bit wrong anywhere in what is stored of some topics, a read of all of it gives exactly the records that it
 * gave before, or is refused with the damage named. Returns what was given instead.
 */
export async function flipBits(world: World, topics: readonly string[]): Promise<string[]> {
  const facts = world.watch.jobs?.facts;
  if (facts === undefined) return [];
  const before = await readTopics(world.plainBroker(), topics);
  const chance = new Chance(world.seed, STREAM.flips);
  const objects = [...facts.data]
    .filter(([key, { isThere }]) => isThere && !key.startsWith('batch#'))
    .map(([key]) => key);
  const items = [...facts.items.values()].map(({ key }) => key).filter(({ pk }) => PACKED_ITEMS.test(pk));
  const wrong: string[] = [];
  for (let i = 0; i < FLIPS; i++) {
    const restore =
      objects.length > 0 && chance.chance(0.4)
        ? await flipObject(world, chance.pick(objects), chance)
        : items.length > 0
          ? await flipItem(world, chance.pick(items), chance)
          : undefined;
    if (restore === undefined) continue;
    const difference = await readDifference(world.plainBroker(), before);
    if (difference !== undefined) wrong.push(`With a bit of ${restore.about} flipped, ${difference}.`);
    await restore.undo();
  }
  return wrong;
}

interface Flipped {
  readonly about: string;
  readonly undo: () => Promise<unknown>;
}

async function flipObject({ storage: { objects } }: World, key: string, chance: Chance): Promise<Flipped | undefined> {
  const content = await objects.get(key, { start: 0, end: Number.MAX_SAFE_INTEGER });
  if (content === undefined || content.length === 0) return undefined;
  const damaged = content.slice();
  const at = flipIn(damaged, chance);
  const replace = async (bytes: Uint8Array): Promise<void> => {
    await objects.delete(key);
    await objects.put(key, [bytes]);
  };
  await replace(damaged);
  return { about: `${key} at byte ${at} of ${content.length}`, undo: () => replace(content) };
}

async function flipItem({ storage: { items } }: World, key: ItemKey, chance: Chance): Promise<Flipped | undefined> {
  const { attributes } = await items.get(key);
  if (attributes === undefined) return undefined;
  const names = Object.keys(attributes).filter((name) => typeof attributes[name] === 'object');
  if (names.length === 0) return undefined;
  const name = chance.pick(names);
  let at = -1;
  const damaged: Attributes = {
    ...attributes,
    [name]: damage(attributes[name] as AttributeValue, (bytes) => {
      at = flipIn(bytes, chance);
    }),
  };
  if (at < 0) return undefined;
  await items.put(key, damaged);
  return { about: `${key.pk}/${key.sk}, ${name} at byte ${at}`, undo: () => items.put(key, attributes) };
}

/** A copy with `flip` done to its bytes, or to one of the members of a list. */
function damage(value: AttributeValue, flip: (bytes: Uint8Array) => void): AttributeValue {
  if (value instanceof Uint8Array) {
    const copy = value.slice();
    if (copy.length > 0) flip(copy);
    return copy;
  }
  const list = (value as readonly Uint8Array[]).map((bytes) => bytes.slice());
  const [first] = list;
  if (first !== undefined && first.length > 0) flip(first);
  return list;
}

function flipIn(bytes: Uint8Array, chance: Chance): number {
  const at = chance.below(bytes.length);
  bytes[at] = (bytes[at] as number) ^ (1 << chance.below(8));
  return at;
}

interface ReadLog {
  readonly topic: string;
  readonly partition: number;
  readonly start: number;
  readonly records: readonly ReadRecord[];
}

async function readTopics(broker: Broker, topics: readonly string[]): Promise<ReadLog[]> {
  const logs: ReadLog[] = [];
  for (const topic of topics) {
    for (const { partition, logStartOffset: start, highWatermark } of await broker.describePartitions(topic))
      if (highWatermark > 0)
        logs.push({ topic, partition, start, records: await readToEnd(broker, topic, partition, start) });
  }
  return logs;
}

/** Reads every partition by itself, since one that is damaged does not excuse the others. */
async function readDifference(broker: Broker, before: readonly ReadLog[]): Promise<string | undefined> {
  for (const { topic, partition, start, records } of before) {
    try {
      const now = await readToEnd(broker, topic, partition, start);
      if (JSON.stringify(now) !== JSON.stringify(records)) return `${topic}/${partition} has other records`;
    } catch (error) {
      const isReported = error instanceof EventLogError && (error.code === 'corrupt_data' || error.code === 'internal');
      if (!isReported)
        return `${topic}/${partition} failed with ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return undefined;
}
