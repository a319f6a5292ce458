import { readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import type { SegmentList, SlotSegments } from '../../../../shared/log/segment/segment-list.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { choiceSetting, numberSetting } from '../../../../shared/log/topic/topic-config.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { readRecords } from '../../../history/history-records.ts';
import { EPOCH_MS } from '../simulated-process.ts';
import { segmentsOf, storedName } from './list-watch.ts';
import { SKEW_MS_MAX } from './retention-watch.ts';
import type { HeadFacts, StoredFacts } from './stored-facts.ts';
import { type OffsetFate, slotNameOf, type TransactionName, type TransactionWatch } from './transaction-watch.ts';
import type { TrueLogs } from './true-log.ts';

/** What a record without a value is read as. */
export const TOMBSTONE = 'null';

/** A record in a segment. */
interface HeldRecord extends ReadRecord {
  /** When its batch's tombstones may go; absent if that is not decided. */
  readonly horizonMs: number | undefined;
}

/** What has become of the records of one slot. */
interface SlotRecords {
  /** Offsets that compaction has taken away. */
  readonly dropped: Set<number>;
  /** When records below an offset had been merged, in order. */
  readonly merged: { readonly endOffset: number; readonly atMs: number }[];
}

export interface CompactionWatchOptions {
  readonly facts: StoredFacts;
  readonly logs: TrueLogs;
  readonly broken: (promise: string, message: string) => void;
  readonly mark: (name: string) => void;
  /** In runs of transactions. */
  readonly transactions: TransactionWatch | undefined;
  /** The settings of a topic that a process may go by. */
  readonly settingsOf: (topicId: string) => readonly Topic[];
}

/**
 * Looks at every replacement of segments by others, record by record (R15): offsets and contents stay; what is left out is
 * superseded by a later record of its key, or is a tombstone whose time has come and that nothing older needs; neither it
 * nor what supersedes it is younger than `min.compaction.lag.ms`; and the time of a tombstone is set once, late enough.
 */
export class CompactionWatch {
  private readonly options: CompactionWatchOptions;
  private readonly slots = new Map<string, SlotRecords>();
  private readonly segments = new Map<string, readonly HeldRecord[]>();

  constructor(options: CompactionWatchOptions) {
    this.options = options;
  }

  /** Whether compaction has taken the record at this offset away. */
  isGone(head: HeadFacts, slot: number, offset: number): boolean {
    return this.slots.get(slotNameOf(head, slot))?.dropped.has(offset) ?? false;
  }

  /** The largest timestamp of the records `[from, to)` that are left; `undefined` if none is. */
  newestLeftMs(head: HeadFacts, slot: number, from: number, to: number): number | undefined {
    let newestMs: number | undefined;
    for (const { offset, timestampMs = 0 } of this.options.logs.of(head, slot).slice(from, to))
      if (!this.isGone(head, slot, offset)) newestMs = Math.max(newestMs ?? timestampMs, timestampMs);
    return newestMs;
  }

  hasDropped(head: HeadFacts, slot: number): boolean {
    return (this.slots.get(slotNameOf(head, slot))?.dropped.size ?? 0) > 0;
  }

  /** A list was written. */
  wroteList(head: HeadFacts, before: SegmentList, after: SegmentList, nowMs: number): void {
    after.slots.forEach((now, slot) => {
      const endOffset = after.totals[slot]?.nextOffset ?? 0;
      const { merged } = this.slotOf(head, slot);
      if (endOffset > (merged.at(-1)?.endOffset ?? 0)) merged.push({ endOffset, atMs: nowMs });
      const was = before.slots[slot];
      if (was !== undefined && !hasSame(was, now)) this.replaced(head, slot, was, now, endOffset, nowMs);
    });
  }

  private replaced(
    head: HeadFacts,
    slot: number,
    was: SlotSegments,
    now: SlotSegments,
    mergedOffset: number,
    nowMs: number,
  ): void {
    const segments = this.namedOf(head, now, slot);
    const segmentsBefore = this.namedOf(head, was, slot);
    const start = Math.max(head.start[slot] ?? 0, now.droppedOffset);
    const gone = [...segmentsBefore].filter(([name, { endOffset }]) => !segments.has(name) && endOffset > start);
    if (gone.length === 0) return;
    const recordsOf = (of: readonly (readonly [string, Segment])[]): Map<number, HeldRecord> =>
      new Map(of.flatMap(([name, segment]) => this.read(name, segment)).map((record) => [record.offset, record]));
    const from = Math.min(...gone.map(([, { startOffset }]) => startOffset));
    const to = Math.max(...gone.map(([, { endOffset }]) => endOffset));
    const added = [...segments].filter(
      ([name, { startOffset, endOffset }]) => !segmentsBefore.has(name) && startOffset < to && endOffset > from,
    );
    const left = recordsOf(added);
    const replaced = recordsOf(gone);
    const dropped: HeldRecord[] = [];
    for (const record of replaced.values()) {
      const kept = left.get(record.offset);
      if (kept === undefined && record.offset >= start) dropped.push(record);
      if (kept === undefined) continue;
      left.delete(record.offset);
      this.checkKept(head, slot, record, kept, nowMs);
    }
    for (const { offset } of left.values())
      if (offset >= start) this.broken(head, slot, offset, 'comes back with other segments.');
    if (dropped.length > 0) this.checkDropped(head, slot, dropped, [...segments], mergedOffset, nowMs);
  }

  private checkKept(head: HeadFacts, slot: number, was: HeldRecord, is: HeldRecord, nowMs: number): void {
    const { horizonMs: before, ...content } = was;
    const { horizonMs: after, ...contentNow } = is;
    if (JSON.stringify(content) !== JSON.stringify(contentNow))
      this.broken(head, slot, was.offset, 'has other content with other segments.');
    if (before === after) return;
    if (before !== undefined) this.broken(head, slot, was.offset, 'is to be kept for another time than before.');
    const isMarker = this.fateOf(head, slot, was.offset) === 'marker';
    if (after === undefined || (was.value !== TOMBSTONE && !isMarker)) return;
    this.options.mark(isMarker ? 'marker gets its time' : 'tombstone gets its time');
    const mergedAtMs = this.slotOf(head, slot).merged.find(({ endOffset }) => endOffset > was.offset)?.atMs ?? nowMs;
    const delaysMs = this.configsOf(head).map((config) => numberSetting(config, 'delete.retention.ms'));
    if (after < EPOCH_MS + mergedAtMs + Math.min(...delaysMs) - SKEW_MS_MAX)
      this.broken(head, slot, was.offset, `is a ${isMarker ? 'marker' : 'tombstone'} that is not kept for its time.`);
  }

  private checkDropped(
    head: HeadFacts,
    slot: number,
    dropped: readonly HeldRecord[],
    segments: readonly (readonly [string, Segment])[],
    mergedOffset: number,
    nowMs: number,
  ): void {
    const { options } = this;
    const log = options.logs.of(head, slot).slice(0, mergedOffset);
    const configs = this.configsOf(head).filter((config) =>
      choiceSetting(config, 'cleanup.policy').split(',').includes('compact'),
    );
    const lagsMs = configs.map((config) => numberSetting(config, 'min.compaction.lag.ms'));
    const isOld = ({ timestampMs = 0 }: ReadRecord): boolean =>
      lagsMs.some((lagMs) => lagMs === 0 || timestampMs <= EPOCH_MS + nowMs + SKEW_MS_MAX - lagMs);
    /** Key -> the last offset that is old enough to supersede others. */
    const newest = new Map<string | undefined, number>();
    for (const record of log)
      if (isOld(record) && isOfKey(this.fateOf(head, slot, record.offset))) newest.set(record.key, record.offset);
    const readLeft = (): readonly HeldRecord[] => segments.flatMap(([name, segment]) => this.read(name, segment));
    for (const record of dropped) {
      const { offset, key, value, horizonMs } = record;
      const fate = this.fateOf(head, slot, offset);
      this.slotOf(head, slot).dropped.add(offset);
      if (configs.length === 0) this.broken(head, slot, offset, 'is gone, and its topic is not compacted.');
      else if (!isOld(record)) this.broken(head, slot, offset, 'is gone before the lag of the topic is over.');
      else if (fate === 'aborted') options.mark('aborted records compacted away');
      else if (fate === 'open') this.broken(head, slot, offset, 'is gone, and its transaction is open.');
      else if (fate === 'marker') this.checkMarkerDropped(head, slot, record, readLeft(), nowMs);
      else if (key !== undefined && (newest.get(key) ?? -1) <= offset) {
        if (value !== TOMBSTONE) this.broken(head, slot, offset, `is gone, the newest of the key ${key}.`);
        else if (horizonMs === undefined || horizonMs > EPOCH_MS + nowMs + SKEW_MS_MAX)
          this.broken(head, slot, offset, 'is gone, a tombstone whose time has not come.');
        else {
          options.mark('tombstone dropped');
          if (readLeft().some((one) => one.key === key && one.offset < offset))
            this.broken(head, slot, offset, `is gone, a tombstone, and older values of the key ${key} are left.`);
        }
      }
    }
    options.mark('records compacted away');
  }

  /** A marker goes after all batches of its transaction, and after its time. */
  private checkMarkerDropped(
    head: HeadFacts,
    slot: number,
    { offset, horizonMs }: HeldRecord,
    left: readonly HeldRecord[],
    nowMs: number,
  ): void {
    this.options.mark('marker compacted away');
    if (horizonMs === undefined || horizonMs > EPOCH_MS + nowMs + SKEW_MS_MAX)
      this.broken(head, slot, offset, 'is gone, a marker whose time has not come.');
    const transaction = this.transactionAt(head, slot, offset);
    if (left.some((one) => one.offset < offset && this.transactionAt(head, slot, one.offset) === transaction))
      this.broken(head, slot, offset, `is gone, the marker of ${transaction}, of which batches are left.`);
  }

  private fateOf(head: HeadFacts, slot: number, offset: number): OffsetFate {
    return this.options.transactions?.fateOf(slotNameOf(head, slot), offset) ?? 'plain';
  }

  private transactionAt(head: HeadFacts, slot: number, offset: number): TransactionName | undefined {
    return this.options.transactions?.spanAt(slotNameOf(head, slot), offset)?.transaction;
  }

  private namedOf(head: HeadFacts, of: SlotSegments, slot: number): Map<string, Segment> {
    const { facts } = this.options;
    return new Map(
      segmentsOf(facts, head, of, slot).map((segment) => [
        storedName(head, { what: 'segment', slot, ...segment }),
        segment,
      ]),
    );
  }

  /** The records of a segment, of which none is missing in memory. */
  private read(name: string, { bytes: end }: Segment): readonly HeldRecord[] {
    const known = this.segments.get(name);
    if (known !== undefined) return known;
    const content = this.options.facts.data.get(name)?.content;
    const records: HeldRecord[] = [];
    for (let at = 0; content !== undefined && at < end; ) {
      const header = readBatchHeader(content, at);
      const bytes = content.subarray(at, at + header.bytes);
      const { baseOffset, lastOffsetDelta, deleteHorizonMs: horizonMs } = header;
      const batch = { bytes, header, baseOffset, endOffset: baseOffset + lastOffsetDelta + 1 };
      records.push(...readRecords(batch, baseOffset).map((record) => ({ ...record, horizonMs })));
      at += header.bytes;
    }
    this.segments.set(name, records);
    return records;
  }

  private configsOf({ topicId }: HeadFacts): Topic['config'][] {
    return this.options.settingsOf(topicId).map(({ config }) => config);
  }

  private slotOf(head: HeadFacts, slot: number): SlotRecords {
    const name = slotNameOf(head, slot);
    let records = this.slots.get(name);
    if (records === undefined) {
      records = { dropped: new Set(), merged: [] };
      this.slots.set(name, records);
    }
    return records;
  }

  private broken({ topicId, headNumber }: HeadFacts, slot: number, offset: number, message: string): void {
    this.options.broken('R15', `The offset ${offset} of slot ${slot} of head ${topicId}#${headNumber} ${message}`);
  }
}

/** Whether such a record is a value of its key. */
export function isOfKey(fate: OffsetFate): boolean {
  return fate === 'plain' || fate === 'committed';
}

/** Whether the slot names the same segments and pages, or only more of them. */
function hasSame(was: SlotSegments, now: SlotSegments): boolean {
  const versions = new Set(
    [...now.pages, ...now.segments].map(({ version, startOffset }) => `${version}/${startOffset}`),
  );
  return [...was.pages, ...was.segments].every(({ version, startOffset }) => versions.has(`${version}/${startOffset}`));
}
