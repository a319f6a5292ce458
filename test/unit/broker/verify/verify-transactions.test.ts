import { describe, expect, it } from 'vitest';
import { nodeKey, readHead } from '../../../../shared/broker/heads/items.ts';
import { readSegmentList, updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { listSegments } from '../../../../shared/broker/read/list-segments.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import type { Problem } from '../../../../shared/broker/verify/report.ts';
import { verifyTopic } from '../../../../shared/broker/verify/verify-topic.ts';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { packAborted, packOpen, unpackAborted } from '../../../../shared/log/head/open-transactions.ts';
import type { AbortedRange } from '../../../../shared/log/segment/aborted.ts';
import { packIndex, unpackIndex } from '../../../../shared/log/segment/segment-index.ts';
import { HEAD, headKey, NODE, segmentObjectKey } from '../../../../shared/storage/keys.ts';
import type { Attributes, ItemKey } from '../../../../shared/storage/ports.ts';
import { ABORTED, abortedKey } from '../../../../shared/storage/transaction-keys.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { TransactionalHistory } from '../../../support/transactional-history.ts';
import { logProcess } from '../../../support/transactional-log.ts';

/** A log with segments, nodes and a tail. Transactions cross the borders between all of them, and some are open. */
async function logOf(seed: number) {
  const stores = memoryStores();
  const process = logProcess(stores);
  await putTopic(process.context, { name: 't', partitions: 2 });
  const topic = await process.context.topics.get('t');
  const history = new TransactionalHistory(topic);
  const random = new SeededRandom(seed);
  for (let part = 0; part < 3; part++) {
    for (let i = 0; i < 60; i++) await history.step(process, random, 6);
    for (const producerId of history.openProducers)
      await history.end(process, producerId, random.below(3) > 0 ? 'aborted' : 'committed');
    await process.groupCommit.idle();
    await mergeHead(process.context, topic, 0, { force: true });
  }
  for (let i = 0; i < 60; i++) await history.step(process, random, 6);
  await process.groupCommit.idle();
  return { stores, process, topic, history, name: { topicId: topic.topicId, headNumber: 0 } };
}
type Log = Awaited<ReturnType<typeof logOf>>;
const SEED = 5;

/** Verifies by calls of `maxBytes` each. */
async function verifyAll({ stores }: Pick<Log, 'stores'>, maxBytes?: number) {
  const { context } = logProcess(stores);
  const problems: Problem[] = [];
  const partitions: Awaited<ReturnType<typeof verifyTopic>>['partitions'][number][] = [];
  for (let pageToken: string | undefined; ; ) {
    const page = await verifyTopic(context, 't', { pageToken, maxBytes, deep: true });
    problems.push(...page.problems);
    partitions.push(...page.partitions);
    pageToken = page.nextPageToken;
    if (pageToken === undefined) return { problems, partitions };
  }
}

async function changeItem({ stores }: Log, key: ItemKey, change: (attributes: Attributes) => Attributes | undefined) {
  const changed = change((await stores.items.get(key)).attributes ?? {});
  if (changed === undefined) await stores.items.delete(key);
  else await stores.items.put(key, changed);
}

const without = (attributes: Attributes, name: string): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([key]) => key !== name));

class NothingToDamage extends Error {}

/** The first of some random logs that has what the damage needs, damaged. */
async function damagedLog(plant: (log: Log) => Promise<void>): Promise<Log> {
  for (let seed = SEED; ; seed++) {
    const log = await logOf(seed);
    try {
      await plant(log);
      return log;
    } catch (error) {
      if (!(error instanceof NothingToDamage) || seed > SEED + 20) throw error;
    }
  }
}

interface ListedSegment {
  readonly partition: number;
  readonly at: number;
  readonly startOffset: number;
  readonly endOffset: number;
  readonly aborted: readonly AbortedRange[];
}

async function segmentsOf({ stores, name, topic }: Log): Promise<ListedSegment[]> {
  const list = await readSegmentList(stores.items, name);
  const all: ListedSegment[] = [];
  for (const [partition, { segments }] of list.slots.entries())
    for (const [at, { startOffset, endOffset, version, bytes, indexBytes }] of segments.entries()) {
      const key = segmentObjectKey(topic.topicId, partition, startOffset, version);
      const packed = await stores.objects.get(key, { start: bytes, end: bytes + indexBytes });
      all.push({ partition, at, startOffset, endOffset, aborted: unpackIndex(packed as Uint8Array).aborted });
    }
  return all;
}

/** Changes what the first segment lists that `change` changes; returns it. */
async function changeLists(
  log: Log,
  change: (segment: ListedSegment) => readonly AbortedRange[] | undefined,
): Promise<ListedSegment> {
  const { stores, name, topic, process } = log;
  for (const one of await segmentsOf(log)) {
    const aborted = change(one);
    if (aborted === undefined) continue;
    const { partition, at } = one;
    const list = await readSegmentList(stores.items, name);
    const segment = list.slots[partition]?.segments[at];
    if (segment === undefined) throw new Error('the segment is listed');
    const key = segmentObjectKey(topic.topicId, partition, segment.startOffset, segment.version);
    const whole = (await stores.objects.get(key, { start: 0, end: segment.bytes + segment.indexBytes })) as Uint8Array;
    const packed = packIndex({ ...unpackIndex(whole.subarray(segment.bytes)), aborted });
    await stores.objects.delete(key);
    await stores.objects.put(key, [concatBytes([whole.slice(0, segment.bytes), packed])]);
    const changed = { ...segment, indexBytes: packed.length, aborted: aborted.length };
    await updateSegmentList(process.context, stores.items, name, (now) => ({
      list: {
        ...now,
        slots: now.slots.map((slot, i) =>
          i === partition ? { ...slot, segments: slot.segments.map((same, j) => (j === at ? changed : same)) } : slot,
        ),
      },
      result: undefined,
    }));
    return one;
  }
  throw new NothingToDamage('no segment lists what this damage needs');
}

const sorted = (aborted: AbortedRange[]): AbortedRange[] => aborted.sort((a, b) => a.lastOffset - b.lastOffset);

function leavingOut(isIt: (range: AbortedRange, segment: ListedSegment) => boolean) {
  return (segment: ListedSegment) => {
    const found = segment.aborted.find((range) => isIt(range, segment));
    return found && segment.aborted.filter((range) => range !== found);
  };
}

const isLastOf = (all: readonly ListedSegment[], { partition, at }: ListedSegment): boolean =>
  !all.some((other) => other.partition === partition && other.at > at);

async function abortingNodes({ process, name, topic }: Log): Promise<number[]> {
  const { items } = process.context.usage.of('t', 'read');
  const { firstEntry } = await readHead(items, name);
  const { mergedEntry } = await readSegmentList(items, name);
  const found: number[] = [];
  for (let entry = mergedEntry; entry < firstEntry; entry += 8)
    if ((await items.get(abortedKey(topic.topicId, 0, entry))).attributes !== undefined) found.push(entry);
  return found;
}

const damages: { readonly [name: string]: (log: Log) => Promise<void> } = {
  'a segment that does not list what its own marker aborts': async (log) => {
    await changeLists(
      log,
      leavingOut(
        ({ firstOffset, lastOffset }, { startOffset, endOffset }) =>
          firstOffset >= startOffset && lastOffset < endOffset,
      ),
    );
  },
  'a segment that does not list what the next one aborts': async (log) => {
    const all = await segmentsOf(log);
    await changeLists(log, (segment) =>
      isLastOf(all, segment)
        ? undefined
        : leavingOut(({ lastOffset }, { endOffset }) => lastOffset >= endOffset)(segment),
    );
  },
  'a last segment that does not list what the entries abort': async (log) => {
    const all = await segmentsOf(log);
    await changeLists(log, (segment) =>
      isLastOf(all, segment)
        ? leavingOut(({ lastOffset }, { endOffset }) => lastOffset >= endOffset)(segment)
        : undefined,
    );
  },
  'a segment that lists what was committed': async (log) => {
    await changeLists(log, ({ partition, startOffset, endOffset, aborted }) => {
      const wrong = log.history.committed[partition]?.find(
        ({ firstOffset, lastOffset }) => firstOffset >= startOffset && lastOffset < endOffset,
      );
      return wrong && sorted([...aborted, wrong]);
    });
  },
  'a segment that lists another producer': async (log) => {
    await changeLists(log, ({ aborted: [first, ...others] }) => first && [{ ...first, producerId: 99 }, ...others]);
  },
  'a segment that lists another first offset': async (log) => {
    await changeLists(log, ({ startOffset, aborted: [first, ...others] }) =>
      first && first.firstOffset >= startOffset && first.lastOffset - first.firstOffset > 1
        ? [{ ...first, firstOffset: first.firstOffset + 1 }, ...others]
        : undefined,
    );
  },
  'a node without its open transactions': async (log) => {
    const { firstEntry } = await readHead(log.stores.items, log.name);
    for (let entry = firstEntry - 8; ; entry -= 8) {
      const key = nodeKey(log.name, entry);
      if ((await log.stores.items.get(key)).attributes?.[NODE.openBefore] === undefined) continue;
      return changeItem(log, key, (node) => without(node, NODE.openBefore));
    }
  },
  'a head without its open transactions': async (log) =>
    changeItem(log, headKey(log.topic.topicId, 0), (head) => without(head, HEAD.openBeforeTail)),
  'a head with other open transactions': async (log) =>
    changeItem(log, headKey(log.topic.topicId, 0), (head) => ({
      ...head,
      [HEAD.openBeforeTail]: packOpen([
        { producerId: 77, transaction: 1, sinceMs: 5, firstOffsets: new Map([[0, 1_000_000]]) },
      ]),
    })),
  'a head that knows no abort marker': async (log) =>
    changeItem(log, headKey(log.topic.topicId, 0), (head) => without(head, HEAD.lastAbortingNode)),
  'a head that names a node without abort markers': async (log) => {
    const { firstEntry } = await readHead(log.stores.items, log.name);
    // It must be behind the last that has some, or the others are hidden.
    await changeItem(log, abortedKey(log.topic.topicId, 0, firstEntry - 8), () => undefined);
    await changeItem(log, headKey(log.topic.topicId, 0), (head) => ({ ...head, [HEAD.lastAbortingNode]: 8 }));
  },
  'a missing list of aborted transactions': async (log) => {
    const [entry = 0] = await abortingNodes(log);
    await changeItem(log, abortedKey(log.topic.topicId, 0, entry), () => undefined);
  },
  'a list of aborted transactions that lacks one': async (log) => {
    const [entry = 0] = await abortingNodes(log);
    await changeItem(log, abortedKey(log.topic.topicId, 0, entry), (item) => ({
      [ABORTED.transactions]: packAborted(unpackAborted(item[ABORTED.transactions] as Uint8Array).slice(1)),
    }));
  },
  'a list of aborted transactions beside another node': async (log) => {
    const nodes = await abortingNodes(log);
    const { mergedEntry } = await readSegmentList(log.stores.items, log.name);
    let entry = mergedEntry;
    while (nodes.includes(entry)) entry += 8;
    const { attributes = {} } = await log.stores.items.get(abortedKey(log.topic.topicId, 0, nodes[0] ?? 0));
    await log.stores.items.put(abortedKey(log.topic.topicId, 0, entry), attributes);
  },
};

describe('a verification of transactions', () => {
  it.each([...Array(8).keys()])(
    'finds nothing wrong in a whole log, and counts markers apart (seed %i)',
    async (seed) => {
      const log = await logOf(seed);
      for (const maxBytes of [undefined, 1, 3_000]) {
        const { problems, partitions } = await verifyAll(log, maxBytes);
        expect(problems).toEqual([]);
        for (const { partition, records, markers, highWatermark } of partitions) {
          const all = log.history.offsets[partition] ?? [];
          expect(markers).toBe(all.filter((one) => typeof one === 'string').length);
          expect(records + markers).toBe(highWatermark);
        }
      }
    },
  );

  it.each(Object.entries(damages))('finds %s', async (_, plant) => {
    const log = await damagedLog(plant);
    const { problems } = await verifyAll(log);
    expect(problems.length).toBeGreaterThan(0);
    for (const { kind, message } of problems) {
      expect(kind).toBe('wrong_transactions');
      expect(message).toMatch(/^[A-Z].*\.$/);
    }
    expect((await verifyAll(log, 1)).problems).toEqual(problems);
  });

  it('finds nothing wrong beside merges, whenever they come', async () => {
    const log = await logOf(SEED);
    const { context } = logProcess(log.stores);
    const random = new SeededRandom(3);
    for (let pageToken: string | undefined; ; ) {
      const page = await verifyTopic(context, 't', { pageToken, maxBytes: 1 });
      expect(page.problems).toEqual([]);
      pageToken = page.nextPageToken;
      if (pageToken === undefined) break;
      if (random.below(4) > 0) continue;
      for (let i = 0; i < 10; i++) await log.history.step(log.process, random, 6);
      for (const producerId of log.history.openProducers) await log.history.end(log.process, producerId, 'aborted');
      await log.process.groupCommit.idle();
      await mergeHead(log.process.context, log.topic, 0, { force: true });
    }
  });
});

describe('the segment map', () => {
  it.each([SEED, SEED + 1, SEED + 2])('has markers, which the head or a tail node holds (seed %i)', async (seed) => {
    const log = await logOf(seed);
    const items = [];
    for (let pageToken: string | undefined; ; ) {
      const page = await listSegments(log.process.context, 't', { partition: 0, limit: 7, pageToken });
      items.push(...page.items);
      pageToken = page.nextPageToken;
      if (pageToken === undefined) break;
    }
    const merged = items.filter(({ storage }) => storage === 'segment').at(-1)?.endOffset ?? 0;
    const all = log.history.offsets[0] ?? [];
    const expected = [...all.entries()].filter(([offset, one]) => offset >= merged && typeof one === 'string');
    const markers = items.filter(({ storage }) => storage === 'marker');
    expect(markers.map(({ startOffset }) => startOffset)).toEqual(expected.map(([offset]) => offset));
    for (const { state, storedAs, endOffset, startOffset } of markers) {
      expect(endOffset).toBe(startOffset + 1);
      expect(storedAs).toMatch(state === 'tail' ? /^head#/ : /^node#/);
      const [pk = '', sk = ''] = storedAs.split('/');
      expect((await log.stores.items.get({ pk, sk })).attributes).toBeDefined();
    }
    expect(markers.length).toBeGreaterThan(0);
  });
});
