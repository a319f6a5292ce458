import { EventLogError } from '../../../log/errors.ts';
import {
  compactionDue,
  dirtyBytes,
  LOOK_AGAIN_MS_MAX,
  LOOK_AGAIN_MS_MIN,
  nextLookMs,
} from '../../../log/segment/compact/cleanable.ts';
import { OffsetMap } from '../../../log/segment/compact/offset-map.ts';
import type { SegmentList } from '../../../log/segment/segment-list.ts';
import type { Topic } from '../../../log/topic/topic.ts';
import { isCompacted, numberSetting, type TopicConfig } from '../../../log/topic/topic-config.ts';
import { segmentObjectKey } from '../../../storage/keys.ts';
import type { BrokerContext } from '../../context.ts';
import { readSegmentList } from '../../heads/segment-list-store.ts';
import { retrying } from '../../retry.ts';
import { SlotParts } from '../../segments/slot-parts.ts';
import type { HeadJobOptions, HeadJobResult } from '../head-job.ts';
import { SettingsWatch } from '../settings-watch.ts';
import { currentList, earlier, SettingsChangedError, type SlotJob, type Tally } from './compact-group.ts';
import { runPass, segmentsOf } from './compaction-pass.ts';

export interface CompactionReport extends HeadJobResult, Readonly<Tally> {
  /** The passes that were completed. */
  readonly passes: number;
  /** The number of partitions whose data is damaged. Nothing of them was replaced after the damage was met. */
  readonly blocked: number;
  /** The first error of a blocked partition; `storedAs` in its details names what is damaged. */
  readonly error: EventLogError | undefined;
  /** Whether all that is due was compacted. */
  readonly complete: boolean;
}

/** A damaged partition is tried again after this time. */
const BLOCKED_MS = 60 * 60_000;
/** After as many passes that other jobs were faster to end, a partition is left to the next run. */
const LOST_MAX = 3;

/**
 * Compacts the partitions of one head whose topic has the cleanup policy `compact`, by Kafka's rules: see `compactionDue`,
 * `compactBatch` and `runPass`. A partition is compacted in as many passes as its keys need. The keys take up to
 * `compactionMapBytes` of memory, and the data up to `compactionOutputBytes` and a chunk of 8 MiB. A damaged partition blocks
 * no other.
 *
 * Safe to stop or to be killed anywhere, to run late, and to run twice at once, but then both read everything. A run that is
 * stopped by the signal stops between two reads; the next run starts its pass again, and meets what is compacted already. A
 * run ends likewise when the topic's settings have changed such that it could drop what is to be kept.
 *
 * Costs 1 GetItem, for each partition 1 GetItem and 1 for each page of segments, and the cost of `runPass` for each pass.
 * @throws EventLogError `storage_unavailable` and other errors of the stores, except `corrupt_data`
 */
export async function compactHead(
  context: BrokerContext,
  topic: Topic,
  headNumber: number,
  { signal }: HeadJobOptions = {},
): Promise<CompactionReport> {
  const tally: Tally = {
    segmentsRead: 0,
    bytesRead: 0,
    segmentsWritten: 0,
    bytesWritten: 0,
    recordsKept: 0,
    recordsDropped: 0,
  };
  const ended = { passes: 0, blocked: 0, error: undefined as EventLogError | undefined, complete: true };
  const stores = context.usage.of(topic.name, 'maintain');
  const name = { topicId: topic.topicId, headNumber };
  let list = await retrying(context, 'not_applied', () => readSegmentList(stores.items, name));
  if (!isCompacted(topic.config)) return { ...tally, ...ended, list, nextAtMs: undefined };
  let nextAtMs: number | undefined;
  const settings = new SettingsWatch(context, topic, dropsTheSame);
  const mapFor = mapMaker(context.settings.compactionMapBytes);
  for (let slot = 0; slot < list.slots.length; slot++) {
    const partition = headNumber * topic.partitionsPerHead + slot;
    const parts = new SlotParts(context, stores.items, name, slot);
    const job = { context, stores, topic, name, slot, partition, parts, tally, signal, settings };
    try {
      const looked = await compactSlot(job, mapFor);
      list = looked.list;
      ended.passes += looked.passes;
      ended.complete &&= looked.complete;
      nextAtMs = earlier(nextAtMs, looked.nextAtMs);
    } catch (error) {
      ended.complete = false;
      if (signal?.aborted && error === signal.reason)
        return { ...tally, ...ended, list, nextAtMs: context.clock.nowMs() };
      if (error instanceof SettingsChangedError)
        return { ...tally, ...ended, list, nextAtMs: context.clock.nowMs() + LOOK_AGAIN_MS_MIN };
      if (!(error instanceof EventLogError) || error.code !== 'corrupt_data') throw error;
      ended.blocked++;
      ended.error ??= error;
      nextAtMs = earlier(nextAtMs, context.clock.nowMs() + BLOCKED_MS);
    }
  }
  return { ...tally, ...ended, list, nextAtMs: nextAtMs ?? context.clock.nowMs() + LOOK_AGAIN_MS_MAX };
}

/** Whether compaction drops the same records by two settings of a topic, as far as they can keep it from dropping any. */
function dropsTheSame(was: TopicConfig, now: TopicConfig): boolean {
  return (
    isCompacted(was) === isCompacted(now) &&
    numberSetting(was, 'min.compaction.lag.ms') === numberSetting(now, 'min.compaction.lag.ms') &&
    numberSetting(was, 'delete.retention.ms') === numberSetting(now, 'delete.retention.ms')
  );
}

/** A map for little data is small. That only saves memory: a map that is too small makes more passes. */
const MAP_BYTES_PER_DIRTY_BYTE = 8;
const MAP_BYTES_MIN = 64 * 1024;

/** Makes maps of at most `bytesMax`; one map serves all passes that need no larger one. */
function mapMaker(bytesMax: number): (dirtyBytes: number) => OffsetMap {
  let map: OffsetMap | undefined;
  let mapBytes = 0;
  return (dirtyBytes) => {
    const wanted = Math.min(bytesMax, Math.max(MAP_BYTES_MIN, dirtyBytes * MAP_BYTES_PER_DIRTY_BYTE));
    if (map === undefined || mapBytes < wanted) {
      map = new OffsetMap(wanted);
      mapBytes = wanted;
    }
    return map;
  };
}

interface SlotLook {
  readonly passes: number;
  readonly complete: boolean;
  readonly list: SegmentList;
  readonly nextAtMs: number;
}

/** Runs passes until none is due. */
async function compactSlot(job: SlotJob, mapFor: (dirtyBytes: number) => OffsetMap): Promise<SlotLook> {
  const { config } = job.topic;
  let passes = 0;
  for (let lost = 0; lost < LOST_MAX; ) {
    job.signal?.throwIfAborted();
    try {
      const list = await currentList(job);
      const view = { list, parts: await job.parts.of(list) };
      const { compactedOffset = 0, tombstonesDueAtMs } = list.slots[job.slot] ?? {};
      const facts = { segments: segmentsOf(view, job.slot), compactedOffset, tombstonesDueAtMs };
      const nowMs = job.context.clock.nowMs();
      const due = compactionDue(facts, config, nowMs);
      if (due === undefined) return { passes, complete: true, list, nextAtMs: nextLookMs(facts, config, nowMs) };
      if (await runPass(job, view, due, mapFor(dirtyBytes(facts)))) passes++;
      else lost++;
    } catch (error) {
      if (!(await isOutdated(job, error))) throw error;
      lost++;
    }
  }
  const nextAtMs = job.context.clock.nowMs() + LOOK_AGAIN_MS_MIN;
  return { passes, complete: false, list: await currentList(job), nextAtMs };
}

/**
 * Whether the error is about an object or a page that the list no longer names: it was replaced and deleted while this run
 * stood still.
 */
async function isOutdated(job: SlotJob, error: unknown): Promise<boolean> {
  if (!(error instanceof EventLogError) || error.code !== 'corrupt_data') return false;
  const list = await currentList(job);
  const pages = list.slots[job.slot]?.pages ?? [];
  const { storedAs } = error.details;
  if (pages.some((page) => job.parts.storedAs(page) === storedAs)) return false;
  const segments = segmentsOf({ list, parts: await job.parts.of(list) }, job.slot);
  const { topicId } = job.topic;
  return !segments.some(
    ({ startOffset, version }) => segmentObjectKey(topicId, job.partition, startOffset, version) === storedAs,
  );
}
