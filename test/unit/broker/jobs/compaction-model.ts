import { updateSegmentList } from '../../../../shared/broker/heads/segment-list-store.ts';
import { compactHead } from '../../../../shared/broker/jobs/compact/compact-head.ts';
import { ANNOUNCED_MS, GRACE_MS } from '../../../../shared/broker/jobs/grace.ts';
import type { LogRecord } from '../../../../shared/log/batch/record.ts';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
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
import { edited } from '../../../support/batch-edit.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { contextOf, MergedPartition, topicOf } from './merged-partition.ts';

/**
 * A random run of compaction over one partition, beside a model that knows every record that was merged. Runs are killed
 * between any two requests, stopped by their signal, disturbed by faults, and meet each other, joins and retention.
 */

interface ModelRecord {
  readonly offset: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly isOfTransaction: boolean;
  /** When the first run began that could compact it. */
  metAtMs?: number;
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

  const add = async (metAtMs?: number): Promise<void> => {
    const isOfTransaction = random.next() < 0.1;
    const isLarge = random.next() < 0.15;
    const batches: LogRecord[][] = [];
    let offset = (await partition.list()).totals[0]?.nextOffset ?? 0;
    for (let batch = 0; batch <= random.below(4); batch++) {
      const records: LogRecord[] = [];
      for (let i = 0; i <= random.below(4); i++) {
        const key = random.next() < 0.06 ? null : `k${random.below(6)}`;
        const value = random.next() < 0.25 ? null : isLarge ? `${offset}${'x'.repeat(40_000)}` : `v${offset}`;
        model.push({ offset, key, value, isOfTransaction, ...(metAtMs === undefined ? {} : { metAtMs }) });
        offset++;
        const utf8 = (text: string | null): Uint8Array | null =>
          text === null ? null : new TextEncoder().encode(text);
        records.push({ timestampMs: clock.nowMs(), key: utf8(key), value: utf8(value), headers: [] });
      }
      batches.push(records);
    }
    await partition.add(
      batches,
      isOfTransaction ? (batch) => edited(batch, (view) => view.setInt16(21, view.getInt16(21) | 0x10)) : undefined,
      { compression: isLarge ? 'none' : pick(['none', 'gzip', 'lz4'] as const) },
    );
  };

  const meet = async (): Promise<void> => {
    const end = (await partition.list()).totals[0]?.nextOffset ?? 0;
    for (const record of model) if (record.offset < end) record.metAtMs ??= clock.nowMs();
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
    const { chunks, facts } = builder.finish({ startOffset: first.startOffset, endOffset: last.endOffset });
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
    const records = new Map((await partition.records()).map((record) => [record.offset, record]));
    const { compactedOffset, droppedOffset } = state;
    for (const page of state.pages) {
      const inPage = await partition.pageSegments(page);
      if (inPage[0]?.startOffset !== page.startOffset || inPage.at(-1)?.endOffset !== page.endOffset)
        problems.push('the list does not describe what is in a page');
    }
    const last = new Map<string, number>();
    const lastBelow = new Map<string, number>();
    for (const { offset, key, isOfTransaction, metAtMs } of model) {
      if (key === null || isOfTransaction) continue;
      if (metAtMs !== undefined) last.set(key, offset);
      if (offset < compactedOffset) lastBelow.set(key, offset);
    }
    for (const { offset, key, value, isOfTransaction, metAtMs } of model) {
      if (offset < droppedOffset) continue;
      const found = records.get(offset);
      records.delete(offset);
      if (found !== undefined && (textOf(found.key) !== key || textOf(found.value) !== value))
        problems.push(`the record at ${offset} has changed`);
      const isSuperseded = key === null || offset < (last.get(key) ?? -1);
      const isKept = value === null && clock.nowMs() < (metAtMs ?? 0) + deleteRetentionMs;
      const mustStay = isOfTransaction || metAtMs === undefined || (!isSuperseded && (value !== null || isKept));
      if (mustStay && found === undefined) problems.push(`the record at ${offset} (${key}) is lost`);
      const mustGo =
        !isOfTransaction && offset < compactedOffset && (key === null || offset < (lastBelow.get(key) ?? -1));
      if (mustGo && found !== undefined) problems.push(`the record at ${offset} (${key}) is still there`);
    }
    for (const offset of records.keys())
      if (offset >= droppedOffset) problems.push(`nobody wrote a record at ${offset}`);
    if (compactedOffset > 0 && state.tombstonesDueAtMs === undefined) {
      for (const batch of await partition.batches()) {
        const isDue = batch.header.deleteHorizonMs !== undefined && batch.endOffset <= compactedOffset;
        if (isDue && recordsOf(batch).some(({ value }) => value === null))
          problems.push(`nobody will come for the tombstones of the batch at ${batch.baseOffset}`);
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
  await meet();
  await clock.advance(1);
  for (let round = 0; round < 3; round++) {
    await clock.run(compact(bare, undefined, all));
    await check();
    await clock.advance(deleteRetentionMs + GRACE_MS + ANNOUNCED_MS);
    await sweep();
  }
  const state = await partition.slotState();
  const end = (await partition.list()).totals[0]?.nextOffset;
  if ((await partition.segments()).length > 0 && state.compactedOffset !== end)
    problems.push(`compacted up to ${state.compactedOffset} of ${end}`);
  const present = (await partition.records()).map(({ offset }) => offset);
  const latest = new Map<string, number>();
  for (const { key, offset, isOfTransaction } of model) if (key !== null && !isOfTransaction) latest.set(key, offset);
  const expected = model.filter(
    ({ offset, key, value, isOfTransaction }) =>
      isOfTransaction || (key !== null && value !== null && latest.get(key) === offset),
  );
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

function isKill(error: EventLogError): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
    if (cause instanceof Killed) return true;
  return false;
}
