import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { compactHead } from '../../../../shared/broker/jobs/compact/compact-head.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { recordsOf, type StoredBatch } from '../../../../shared/log/batch/stored-batch.ts';
import { markerOutcome, writeMarkerBatch } from '../../../../shared/log/batch/transaction-marker.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { type AbortedRange, joinAborted } from '../../../../shared/log/segment/aborted.ts';
import { OFFSET_MAP_SLOT_BYTES } from '../../../../shared/log/segment/compact/offset-map.ts';
import {
  announce,
  dropBelow,
  dropDeadAnnouncements,
  dueGarbage,
  giveUp,
  removeGarbage,
  replaceSegments,
} from '../../../../shared/log/segment/list-changes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { SegmentBuilder } from '../../../../shared/log/segment/segment-builder.ts';
import type { Announcement, SegmentList } from '../../../../shared/log/segment/segment-list.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import { segmentPageKey } from '../../../../shared/storage/keys.ts';
import type { Clock, Stores } from '../../../../shared/storage/ports.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { contextOf, MergedPartition, storeTopic, topicOf } from './merged-partition.ts';

/**
 * A random run of compaction over one partition, beside a model that knows every record that was merged. Runs are killed
 * between any two requests, stopped by their signal, disturbed by faults, and meet each other, joins and retention.
 */

interface ModelRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly transaction: ModelTransaction | undefined;
  /** When the first run began that could compact it. */
  metAtMs?: number;
}

interface ModelTransaction {
  readonly producerId: number;
  readonly firstOffset: number;
  outcome: 'committed' | 'aborted';
  /** The offset of its marker. */
  lastOffset: number;
  /** When the first run began that could compact its marker. */
  metAtMs?: number;
}

/** A batch that is going to be merged. */
interface ModelBatch {
  readonly records: readonly Omit<ModelRecord, 'metAtMs'>[];
  readonly transaction: ModelTransaction | undefined;
  readonly isMarker: boolean;
}

/**
 * All batches of a partition, in order. Merges take only what lies below the last stable offset, so a segment lists how its
 * transactions ended even if their markers come later.
 */
function planBatches(random: SeededRandom, count: number): ModelBatch[] {
  const batches: ModelBatch[] = [];
  const open = new Map<number, ModelTransaction>();
  let offset = 0;
  const mark = (transaction: ModelTransaction): void => {
    transaction.lastOffset = offset++;
    open.delete(transaction.producerId);
    batches.push({ records: [], transaction, isMarker: true });
  };
  while (batches.length < count) {
    const [oldest] = open.values();
    if (oldest !== undefined && (random.next() < 0.25 || offset - oldest.firstOffset > 30)) {
      mark(oldest);
      continue;
    }
    let transaction: ModelTransaction | undefined;
    if (random.next() < 0.5) {
      const producerId = 1 + random.below(3);
      const outcome = random.next() < 0.5 ? 'committed' : 'aborted';
      transaction = open.get(producerId) ?? { producerId, firstOffset: offset, lastOffset: 0, outcome };
      open.set(producerId, transaction);
    }
    const isLarge = random.next() < 0.15;
    const records: ModelBatch['records'] = Array.from({ length: 1 + random.below(4) }, () => {
      const key = random.next() < 0.06 ? null : `k${random.below(6)}`;
      const value = random.next() < 0.25 ? null : isLarge ? `${offset}${'x'.repeat(40_000)}` : `v${offset}`;
      return { offset: offset++, key, value, transaction };
    });
    batches.push({ records, transaction, isMarker: false });
  }
  for (const transaction of [...open.values()]) mark(transaction);
  return batches;
}

export interface ModelOutcome {
  readonly problems: readonly string[];
  readonly marks: ReadonlySet<string>;
}

const NAME = { topicId: 'topic-id', headNumber: 0 };
const HOUR_MS = 60 * 60_000;

class Killed extends Error {}

/** The stores of a process that dies at one of its requests: before it, or after it and before its reply. */
function dyingStores(stores: Stores, requests: number, isBefore: boolean): Stores {
  let sent = 0;
  return aroundStores(stores, (request, send) => async (...args) => {
    if (request !== 'presign') sent++;
    if (sent > requests || (sent === requests && isBefore)) throw new Killed();
    const answer = await send(...args);
    if (sent >= requests) throw new Killed();
    return answer;
  });
}

/** The stores, where each request calls `onRequest` before it is sent. */
function watchedStores(stores: Stores, onRequest: () => void): Stores {
  return aroundStores(stores, (_, send) => async (...args) => {
    onRequest();
    return send(...args);
  });
}

export async function runSeed(seed: number): Promise<ModelOutcome> {
  const random = new SeededRandom(seed);
  const pick = <Value>(values: readonly Value[]): Value => values[random.below(values.length)] as Value;
  const bare = memoryStores();
  const { clock } = bare;
  const deleteRetentionMs = pick([0, 60_000, HOUR_MS, 6 * HOUR_MS]);
  const config = {
    'delete.retention.ms': deleteRetentionMs,
    'min.cleanable.dirty.ratio': pick([0, 0.3]),
    'min.compaction.lag.ms': pick([0, 0, 30_000]),
    'segment.bytes': 1_048_576,
  };
  const settings = {
    compactionMapBytes: pick([2, 3, 5, 40]) * OFFSET_MAP_SLOT_BYTES,
    compactionOutputBytes: pick([1, 2_000, 150_000, 64 * 1024 * 1024]),
    commitTimeoutMs: 2_000,
  };
  const partition = new MergedPartition(bare, topicOf(config));
  const problems: string[] = [];
  const marks = new Set<string>();
  const model: ModelRecord[] = [];
  let contexts = 0;

  const textOf = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));
  const update = async (change: (list: SegmentList) => SegmentList | undefined): Promise<boolean> => {
    const { result } = await updateSegmentList(contextOf(bare, {}, 7_000 + contexts++), bare.items, NAME, (list) => {
      const changed = change(list);
      return { list: changed, result: changed !== undefined };
    });
    return result;
  };

  const plan = planBatches(random, 300);
  let added = 0;
  /** Transactions that have a batch in the log, by then with their markers or without. */
  const transactions = new Set<ModelTransaction>();
  const add = async (metAtMs?: number): Promise<void> => {
    const some = plan.slice(added, added + 1 + random.below(6));
    added += some.length;
    const utf8 = (text: string | null): Uint8Array | null => (text === null ? null : new TextEncoder().encode(text));
    const compression = pick(['none', 'gzip', 'lz4'] as const);
    const batches = some.map(({ records, transaction, isMarker }) => {
      if (transaction !== undefined) transactions.add(transaction);
      if (transaction !== undefined && isMarker) {
        if (metAtMs !== undefined) transaction.metAtMs = metAtMs;
        return writeMarkerBatch({ ...transaction, producerEpoch: 0 }, clock.nowMs());
      }
      const { producerId } = transaction ?? {};
      for (const record of records) model.push({ ...record, ...(metAtMs === undefined ? {} : { metAtMs }) });
      return encodeBatch(
        records.map(({ key, value }) => ({
          timestampMs: clock.nowMs(),
          key: utf8(key),
          value: utf8(value),
          headers: [],
        })),
        {
          compression,
          transactional: transaction !== undefined,
          producer: producerId === undefined ? undefined : { producerId, producerEpoch: 0, baseSequence: 0 },
        },
      );
    });
    await partition.addBatches(batches, abortedOf(plan));
  };

  const meet = async (): Promise<void> => {
    const end = (await partition.list()).totals[0]?.nextOffset ?? 0;
    for (const record of model) if (record.offset < end) record.metAtMs ??= clock.nowMs();
    for (const one of transactions) if (one.lastOffset < end) one.metAtMs ??= clock.nowMs();
  };
  const compact = async (stores: Stores, signal?: AbortSignal, topic = topicOf(config)): Promise<void> => {
    const context = contextOf({ ...stores, clock }, settings, 1_000 * seed + contexts++);
    const pagesOf = async (): Promise<string> =>
      ((await partition.slotState())?.pages ?? []).map(({ version }) => version).join();
    const pages = await pagesOf();
    try {
      const report = await compactHead(context, topic, 0, { signal });
      if (pages !== (await pagesOf())) marks.add('pages rewritten');
      if (report.blocked > 0) problems.push(`a run was blocked: ${report.error?.message}`);
      if (report.passes > 1) marks.add('several passes');
      if (report.segmentsWritten > 0) marks.add('rewritten');
      if (!report.complete) marks.add(signal?.aborted ? 'stopped' : 'left to the next run');
      if (report.complete && report.nextAtMs !== undefined && report.nextAtMs < clock.nowMs())
        problems.push('a complete run is due again at once');
    } catch (error) {
      const isExpected = error instanceof EventLogError && (error.code === 'storage_unavailable' || isKill(error));
      if (!isExpected) problems.push(`a run threw ${error instanceof Error ? error.stack : String(error)}`);
      marks.add(error instanceof EventLogError && isKill(error) ? 'killed' : 'failed');
    }
  };

  /** Joins two segments of the list, as the other job that changes them does. */
  const join = async (stores: Stores & { clock: Clock }): Promise<void> => {
    const { segments } = await partition.slotState();
    const at = random.below(Math.max(1, segments.length - 1));
    const sources = segments.slice(at, at + 2);
    const [first, last] = sources as [Segment, Segment];
    if (last === undefined) return;
    let announcement: Announcement | undefined;
    await update((list) => {
      const names = [{ what: 'segment' as const, slot: 0, startOffset: first.startOffset }];
      const announced = announce(list, 'coalesce', names, clock.nowMs() + ANNOUNCED_MS);
      announcement = announced?.announcement;
      return announced?.list;
    });
    const made = announcement as unknown as Announcement;
    const builder = new SegmentBuilder();
    for (const batch of await partition.batches())
      if (batch.baseOffset >= first.startOffset && batch.endOffset <= last.endOffset)
        builder.add(batch.bytes, batch.header, batch.baseOffset);
    const { chunks, facts } = builder.finish(
      { startOffset: first.startOffset, endOffset: last.endOffset },
      joinAborted([await partition.abortedOf(first), await partition.abortedOf(last)]),
    );
    await stores.objects.put(partition.keyOf({ startOffset: first.startOffset, version: made.id }), chunks);
    await clock.sleep(random.below(200));
    const by = [{ ...facts, version: made.id, writtenAtMs: Math.min(first.writtenAtMs, last.writtenAtMs) }];
    const times = { nowMs: clock.nowMs(), graceMs: GRACE_MS };
    const isJoined = await update((list) => replaceSegments(list, { id: made.id, slot: 0, sources, by, ...times }));
    marks.add(isJoined ? 'joined' : 'a join came too late');
    if (!isJoined) await update((list) => giveUp(list, made, clock.nowMs(), GRACE_MS));
  };

  const drop = async (): Promise<void> => {
    const all = await partition.segments();
    const segment = all[random.below(Math.max(1, Math.floor(all.length / 3)))];
    if (segment === undefined) return;
    const startOffset = segment.endOffset - random.below(2);
    const { pages } = await partition.slotState();
    const contents = new Map<number, readonly Segment[]>();
    for (const page of pages) contents.set(page.version, await partition.pageSegments(page));
    const times = { nowMs: clock.nowMs(), graceMs: GRACE_MS };
    const isDropped = await update((list) =>
      dropBelow(list, { slot: 0, startOffset, pageSegments: ({ version }) => contents.get(version), ...times }),
    );
    if (isDropped) marks.add('dropped');
  };

  const sweep = async (): Promise<void> => {
    const due = dueGarbage(await partition.list(), clock.nowMs());
    for (const name of due) {
      if (name.what === 'page') await bare.items.delete(segmentPageKey(NAME.topicId, 0, name));
      else await bare.objects.delete(partition.keyOf(name));
    }
    await update((before) => {
      const alive = dropDeadAnnouncements(before, clock.nowMs(), GRACE_MS);
      const list = removeGarbage(alive ?? before, due) ?? alive;
      return list;
    });
  };

  /** What readers must find, whatever has happened so far. */
  const check = async (): Promise<void> => {
    const state = await partition.slotState();
    if (state === undefined) return;
    const batches = await partition.batches();
    const data = batches.filter(({ header }) => !header.control);
    const records = new Map(data.flatMap(recordsOf).map((record) => [record.offset, record]));
    const { compactedOffset, droppedOffset } = state;
    for (const page of state.pages) {
      const inPage = await partition.pageSegments(page);
      if (inPage[0]?.startOffset !== page.startOffset || inPage.at(-1)?.endOffset !== page.endOffset)
        problems.push('the list does not describe what is in a page');
    }
    const last = new Map<string, number>();
    const lastBelow = new Map<string, number>();
    for (const { offset, key, transaction, metAtMs } of model) {
      if (key === null || transaction?.outcome === 'aborted') continue;
      if (metAtMs !== undefined) last.set(key, offset);
      if (offset < compactedOffset) lastBelow.set(key, offset);
    }
    for (const { offset, key, value, transaction, metAtMs } of model) {
      if (offset < droppedOffset) continue;
      const found = records.get(offset);
      records.delete(offset);
      if (found !== undefined && (textOf(found.key) !== key || textOf(found.value) !== value))
        problems.push(`the record at ${offset} has changed`);
      const isAborted = transaction?.outcome === 'aborted';
      const isSuperseded = isAborted || key === null || offset < (last.get(key) ?? -1);
      const isKept = value === null && clock.nowMs() < (metAtMs ?? 0) + deleteRetentionMs;
      const mustStay = metAtMs === undefined || (!isSuperseded && (value !== null || isKept));
      if (mustStay && found === undefined) problems.push(`the record at ${offset} (${key}) is lost`);
      const mustGo = offset < compactedOffset && (isAborted || key === null || offset < (lastBelow.get(key) ?? -1));
      if (mustGo && found !== undefined) problems.push(`the record at ${offset} (${key}) is still there`);
    }
    for (const offset of records.keys())
      if (offset >= droppedOffset) problems.push(`nobody wrote a record at ${offset}`);
    if (compactedOffset > 0 && state.tombstonesDueAtMs === undefined) {
      for (const batch of batches) {
        const isDue = batch.header.deleteHorizonMs !== undefined && batch.endOffset <= compactedOffset;
        if (isDue && (batch.header.control || recordsOf(batch).some(({ value }) => value === null)))
          problems.push(`nobody will come for the tombstones of the batch at ${batch.baseOffset}`);
      }
    }
    const end = (await partition.list()).totals[0]?.nextOffset ?? 0;
    const markers = new Map(batches.filter(({ header }) => header.control).map((batch) => [batch.baseOffset, batch]));
    for (const one of transactions) {
      const { lastOffset, metAtMs, outcome } = one;
      const marker = markers.get(lastOffset);
      if (marker !== undefined && markerOutcome(marker.bytes, marker.header) !== outcome)
        problems.push(`the marker at ${lastOffset} has changed`);
      if (marker !== undefined || lastOffset < droppedOffset || lastOffset >= end) continue;
      if (data.some((batch) => isOf(one, batch)))
        problems.push(`the marker at ${lastOffset} is lost, and batches of its transaction are not`);
      if (metAtMs === undefined || clock.nowMs() < metAtMs + deleteRetentionMs)
        problems.push(`the marker at ${lastOffset} went too early`);
    }
    for (const segment of await partition.segments()) {
      const listed = await partition.abortedOf(segment);
      const isListed = ({ lastOffset }: ModelTransaction): boolean =>
        listed.some((range) => range.lastOffset === lastOffset);
      for (const one of transactions) {
        const inSegment = data.some(
          (batch) =>
            isOf(one, batch) && batch.baseOffset >= segment.startOffset && batch.endOffset <= segment.endOffset,
        );
        if (inSegment && one.outcome === 'aborted' && !isListed(one))
          problems.push(`the segment at ${segment.startOffset} does not list what was aborted at ${one.lastOffset}`);
      }
      for (const { lastOffset, producerId, firstOffset } of listed) {
        const isRight = [...transactions].some(
          (one) =>
            one.outcome === 'aborted' &&
            one.lastOffset === lastOffset &&
            one.firstOffset === firstOffset &&
            one.producerId === producerId,
        );
        if (!isRight) problems.push(`the segment at ${segment.startOffset} lists what was not aborted`);
        if (!markers.has(lastOffset) && lastOffset >= droppedOffset && lastOffset < end)
          problems.push(`the segment at ${segment.startOffset} lists a transaction without a marker`);
      }
    }
  };

  const faults: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];
  const disturbed = (rate: number): typeof bare =>
    faultyStores(bare, () => ({
      delayMs: 1 + random.below(50),
      ...(random.next() >= rate ? {} : { fault: pick(faults), lateMs: random.below(9 * 60_000) }),
    }));

  /** A process that stands still for long before or after some of its requests. */
  const frozen = (): typeof bare =>
    faultyStores(bare, ({ method }) => ({
      delayMs: random.next() < (method === 'put_object' ? 0.4 : 0.05) ? random.below(3 * HOUR_MS) : 1,
    }));
  const others = async (): Promise<void> => {
    for (let i = 0; i < 8; i++) {
      await clock.sleep(random.below(HOUR_MS));
      await pick([sweep, sweep, () => join(bare), () => compact(bare), drop])();
    }
  };

  const steps: readonly (() => Promise<unknown>)[] = [
    () => add(),
    () => add(),
    () => add(),
    () => clock.advance(random.below(60_000)),
    () => clock.advance(random.below(2 * HOUR_MS)),
    async () => {
      const { segments = [] } = (await partition.slotState()) ?? {};
      if (segments.length > 2) await partition.page(1 + random.below(segments.length - 1));
    },
    () => compact(bare),
    () => compact(dyingStores(bare, 1 + random.below(20), random.next() < 0.5)),
    () => compact(dyingStores(bare, 1 + random.below(60), random.next() < 0.5)),
    () => {
      const stop = new AbortController();
      let left = 1 + random.below(30);
      const watched = watchedStores(bare, () => {
        if (--left === 0) stop.abort();
      });
      return compact(watched, stop.signal);
    },
    () => compact(disturbed(0.15)),
    () =>
      clock.run(() =>
        Promise.all([compact(disturbed(0)), compact(disturbed(0.05)), join(disturbed(0)), add(clock.nowMs())]),
      ),
    () => clock.run(() => Promise.all([compact(disturbed(0.05)), drop(), join(disturbed(0)), join(disturbed(0))])),
    () => clock.run(() => Promise.all([compact(frozen()), others()])),
    () => join(bare),
    drop,
    sweep,
  ];
  await add();
  for (let step = 0; step < 25; step++) {
    const next = steps[random.below(steps.length)] as () => Promise<unknown>;
    await meet();
    await clock.run(async () => void (await next()));
    await check();
    if (problems.length > 0) return { problems, marks };
  }

  // Undisturbed runs compact everything, and the tombstones go when their time has come.
  const all = topicOf({ ...config, 'min.cleanable.dirty.ratio': 0, 'min.compaction.lag.ms': 0 });
  const endNow = async (): Promise<number> => (await partition.list()).totals[0]?.nextOffset ?? 0;
  for (let end = await endNow(); [...transactions].some(({ lastOffset }) => lastOffset >= end); end = await endNow())
    await add();
  await storeTopic(bare, all);
  await meet();
  await clock.advance(1);
  for (let round = 0; round < 4; round++) {
    await clock.run(compact(bare, undefined, all));
    await check();
    await clock.advance(deleteRetentionMs + GRACE_MS + ANNOUNCED_MS);
    await sweep();
  }
  const state = await partition.slotState();
  const end = (await partition.list()).totals[0]?.nextOffset;
  if ((await partition.segments()).length > 0 && state.compactedOffset !== end)
    problems.push(`compacted up to ${state.compactedOffset} of ${end}`);
  const left = await partition.batches();
  const leftData = left.filter(({ header }) => !header.control);
  const present = leftData.flatMap(recordsOf).map(({ offset }) => offset);
  const latest = new Map<string, number>();
  for (const { key, offset, transaction } of model)
    if (key !== null && transaction?.outcome !== 'aborted') latest.set(key, offset);
  const expected = model.filter(
    ({ offset, key, value }) => key !== null && value !== null && latest.get(key) === offset,
  );
  // What retention drops makes no pass due: markers of it stay until one is.
  for (const one of transactions)
    if (
      one.firstOffset >= state.droppedOffset &&
      left.some(({ baseOffset }) => baseOffset === one.lastOffset) &&
      !leftData.some((batch) => isOf(one, batch))
    )
      problems.push(`the marker at ${one.lastOffset} is left over`);
  if (left.some(({ header }) => header.control)) marks.add('a marker stays with its transaction');
  const visible = (offsets: readonly number[]): string => offsets.filter((one) => one >= state.droppedOffset).join();
  if (visible(present) !== visible(expected.map(({ offset }) => offset)))
    problems.push(`what is left is ${visible(present)}`);
  // What was announced or replaced last needs one more sweep.
  await clock.advance(GRACE_MS + ANNOUNCED_MS);
  await sweep();
  await clock.advance(GRACE_MS);
  await sweep();
  const list = await partition.list();
  if (list.announcements.length + list.garbage.length > 0) problems.push('garbage or an announcement is left over');
  const stored = await partition.stored();
  const segments = await partition.segments();
  const names = segments.map((segment) => partition.keyOf(segment)).sort();
  if (stored.objects.join() !== names.join()) problems.push(`stored are ${stored.objects}, and not ${names}`);
  if (stored.pages.length !== state.pages.length) problems.push(`${stored.pages.length} pages are stored`);
  return { problems, marks };
}

function isOf({ producerId, firstOffset, lastOffset }: ModelTransaction, batch: StoredBatch): boolean {
  return batch.header.producerId === producerId && batch.baseOffset >= firstOffset && batch.baseOffset < lastOffset;
}

function abortedOf(plan: readonly ModelBatch[]): AbortedRange[] {
  return plan.flatMap(({ transaction, isMarker }) =>
    isMarker && transaction?.outcome === 'aborted' ? [transaction] : [],
  );
}

function isKill(error: EventLogError): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof Killed) return true;
  return false;
}
