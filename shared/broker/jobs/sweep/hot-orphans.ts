import { EventLogError } from '../../../log/errors.ts';
import { SHARERS_BYTES_GUESS, type SharerName, unpackSharers } from '../../../log/head/sharers.ts';
import { ORPHAN_AGE_MS } from '../../../log/segment/list-cleanup.ts';
import {
  HOT_OBJECTS,
  hotHourPrefix,
  JOB,
  jobKey,
  parseHotKey,
  referenceKey,
  TOPIC,
  TOPICS,
} from '../../../storage/keys.ts';
import type { ItemStore, ObjectStore } from '../../../storage/ports.ts';
import type { BrokerContext } from '../../context.ts';
import { type RetryContext, retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import type { HeadJobOptions } from '../head-job.ts';
import { type Candidate, findOrphans } from './find-orphans.ts';

export interface SweptHotOrphans {
  /** The objects that were old enough. */
  readonly objectsSeen: number;
  readonly orphansDeleted: number;
  /** Objects whose key or whose list of heads cannot be read. They stay. */
  readonly unreadable: number;
  /** Whether the last old object was reached; otherwise the next run continues where this run stopped. */
  readonly complete: boolean;
}

const OBJECTS_PER_LIST = 256;
const OBJECTS_PER_RUN = 16_384;
/** A pass looks at all old objects again, since one that was needed then may have become an orphan. */
const PASS_EVERY_MS = 24 * 3_600_000;

interface HotObject extends Candidate {
  readonly key: string;
  readonly isShared: boolean;
}

/**
 * Deletes hot and shared objects that no head refers to, once they are a day old: their commit never came, or a head that
 * shared them did not live to say that it needs them no longer. Keys are in order of hours, so a pass begins at the oldest
 * object there is, skips empty hours, and ends before those that are too young. A log without old objects costs 1 list a day.
 *
 * Costs 1 GetItem and, while a pass is due, for each 256 objects 1 ListObjectsV2 + 1 PutItem + the cost of `findOrphans`, and
 * 1 GetObject for each shared one; 1 DeleteObject for each orphan and 1 DeleteItem more if it was shared.
 */
export async function sweepHotOrphans(
  context: BrokerContext,
  { signal }: HeadJobOptions = {},
): Promise<SweptHotOrphans> {
  const { items, objects } = context.usage.of(NO_TOPIC, 'maintain');
  const key = jobKey('hot-orphans');
  const nowMs = context.clock.nowMs();
  const noted = (await retrying(context, 'not_applied', () => items.get(key))).attributes ?? {};
  const counts = { objectsSeen: 0, orphansDeleted: 0, unreadable: 0 };
  const position = noted[JOB.position];
  if (position === undefined && nowMs < Number(noted[JOB.passedAtMs] ?? 0) + PASS_EVERY_MS)
    return { ...counts, complete: true };
  const isTopic = topicIds(context, items);
  const end = hotHourPrefix(Math.max(0, nowMs - ORPHAN_AGE_MS));
  let after = typeof position === 'string' ? { after: position } : {};
  while (!signal?.aborted && counts.objectsSeen < OBJECTS_PER_RUN) {
    const page = await retrying(context, 'not_applied', () =>
      objects.list(HOT_OBJECTS, { ...after, limit: OBJECTS_PER_LIST }),
    );
    const old = page.keys.filter((one) => one < end);
    const known = await eachOf(old, (one) => readHotObject(context, objects, one));
    const candidates = known.filter((one) => typeof one !== 'string');
    const orphans = await findOrphans(context, items, candidates, isTopic);
    await eachOf(orphans, (orphan) => retrying(context, 'from_error', () => deleteHotObject(items, objects, orphan)));
    counts.objectsSeen += old.length;
    counts.orphansDeleted += orphans.length;
    counts.unreadable += known.filter((one) => one === 'unreadable').length;
    if (!page.more || old.length < page.keys.length) {
      await retrying(context, 'from_error', () => items.put(key, { [JOB.passedAtMs]: nowMs }));
      return { ...counts, complete: true };
    }
    const last = old.at(-1) as string;
    after = { after: last };
    await retrying(context, 'from_error', () => items.put(key, { [JOB.position]: last }));
  }
  return { ...counts, complete: false };
}

async function readHotObject(
  context: RetryContext,
  objects: ObjectStore,
  key: string,
): Promise<HotObject | 'gone' | 'unreadable'> {
  const parsed = parseHotKey(key);
  if (parsed === undefined) return 'unreadable';
  const { batchId, owner } = parsed;
  if (owner !== undefined) return { key, batchId, heads: [owner], isShared: false };
  const heads = await readSharers(context, objects, key);
  return typeof heads === 'string' ? heads : { key, batchId, heads, isShared: true };
}

async function readSharers(
  context: RetryContext,
  objects: ObjectStore,
  key: string,
): Promise<readonly SharerName[] | 'gone' | 'unreadable'> {
  for (let end = SHARERS_BYTES_GUESS; ; ) {
    const beginning = await retrying(context, 'not_applied', () => objects.get(key, { start: 0, end }));
    if (beginning === undefined) return 'gone';
    try {
      const read = unpackSharers(beginning);
      if ('sharers' in read) return read.sharers;
      // An object that ends before its names do.
      if (beginning.length < end) return 'unreadable';
      end = read.bytesNeeded;
    } catch (error) {
      if (error instanceof EventLogError && error.code === 'corrupt_data') return 'unreadable';
      throw error;
    }
  }
}

async function deleteHotObject(
  items: ItemStore,
  objects: ObjectStore,
  { key, batchId, isShared }: HotObject,
): Promise<void> {
  await objects.delete(key);
  if (isShared) await items.delete(referenceKey(batchId));
}

const TOPICS_PER_QUERY = 500;

/** Asks whether a topic with this id exists, of all topics as of the first question. 1 Query for 500 topics, once. */
function topicIds(context: RetryContext, items: ItemStore): (topicId: string) => Promise<boolean> {
  let reading: Promise<Set<string>> | undefined;
  const read = async (): Promise<Set<string>> => {
    const ids = new Set<string>();
    for (let from = ''; ; ) {
      const page = await retrying(context, 'not_applied', () =>
        items.query({ pk: TOPICS, from, limit: TOPICS_PER_QUERY }),
      );
      for (const { attributes } of page.items) ids.add(String(attributes[TOPIC.topicId]));
      if (!page.more) return ids;
      from = `${page.items.at(-1)?.sk}\0`;
    }
  };
  return async (topicId) => {
    reading ??= read();
    return (await reading).has(topicId);
  };
}
