import { sealed, unsealed } from '../batch/sealed.ts';
import { ByteReader, ByteWriter } from '../bytes.ts';
import { EventLogError, invariant } from '../errors.ts';
import { packTotals, type SlotTotals, TAIL_NODE_ENTRIES, unpackTotals } from '../head/head.ts';
import { OFFSET_MAX, PARTITIONS_PER_HEAD_MAX } from '../limits.ts';
import type { Segment, SegmentName } from './segment.ts';

/** The segment list of one head: see docs/design/0007-segments-and-jobs.md. */
export interface SegmentList {
  readonly version: number;
  /** Random bytes of the last update, so that its writer recognizes it; absent only in the empty list. */
  readonly writer?: Uint8Array | undefined;
  readonly mergedEntry: number;
  readonly totals: readonly SlotTotals[];
  readonly slots: readonly SlotSegments[];
  readonly announcements: readonly Announcement[];
  readonly garbage: readonly Garbage[];
  readonly cleanedEntry: number;
  readonly cleanBelow: number;
  readonly cleanAtMs: number;
  /** All unmerged entries below this number are below the log start: their data may be deleted from `dropAtMs` on. */
  readonly dropBelow: number;
  readonly dropAtMs: number;
  /** The data of all entries below this number was deleted for that reason. */
  readonly droppedEntry: number;
  /** When data without an entry was last searched for. */
  readonly orphansCheckedAtMs: number;
  readonly due: Readonly<Partial<Record<JobName, Due>>>;
}

/** Names the due item of a job that counts: every other one is a leftover. */
export interface Due {
  readonly atMs: number;
  /** The version of the list's update that named it, which is part of the item's key. */
  readonly version: number;
}

export interface SlotSegments {
  /** Pages of older segments, in order of offsets. They come before `segments`. */
  readonly pages: readonly SegmentPage[];
  readonly segments: readonly Segment[];
  /** Segments that end at or below this offset are gone, although a page may still name them. */
  readonly droppedOffset: number;
  /** Records below this offset are compacted. */
  readonly compactedOffset: number;
  /** When the next tombstone of the compacted part may go; absent if there is none. */
  readonly tombstonesDueAtMs?: number | undefined;
}

/** A page has the segments of `[startOffset, endOffset)`. */
export interface SegmentPage {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly version: number;
  readonly segments: number;
  readonly bytes: number;
  readonly maxTimestampMs: number;
}

/** The jobs that have due items. Names and their places in the list are persisted: they never change. */
export const JOB_NAMES = ['merge', 'expire', 'sweep', 'compact'] as const;
export type JobName = (typeof JOB_NAMES)[number];

/** What a job is about to write. The id is the version of the update that announced it. */
export interface Announcement {
  readonly id: number;
  readonly job: 'merge' | 'coalesce' | 'compact';
  readonly untilMs: number;
  readonly names: readonly AnnouncedName[];
}

export interface AnnouncedName extends SegmentName {
  readonly what: 'segment' | 'page';
}

export interface Garbage extends AnnouncedName {
  readonly dueAtMs: number;
}

export const EMPTY_SEGMENT_LIST: SegmentList = {
  version: 0,
  mergedEntry: 0,
  totals: [],
  slots: [],
  announcements: [],
  garbage: [],
  cleanedEntry: 0,
  cleanBelow: 0,
  cleanAtMs: 0,
  dropBelow: 0,
  dropAtMs: 0,
  droppedEntry: 0,
  orphansCheckedAtMs: 0,
  due: {},
};

/** The names of announcements and garbage count objects and pages apart. */
export function nameText({ what, slot, startOffset, version }: AnnouncedName): string {
  return `${what} ${slot}/${startOffset}-${version}`;
}

/** Throws an invariant's error if the parts of a list contradict each other. */
export function checkSegmentList(list: SegmentList): void {
  invariant(list.slots.length <= PARTITIONS_PER_HEAD_MAX, () => `no head has ${list.slots.length} slots`);
  invariant(list.mergedEntry % TAIL_NODE_ENTRIES === 0, () => `nodes do not end at entry ${list.mergedEntry}`);
  invariant(
    list.cleanedEntry <= list.cleanBelow && list.cleanBelow <= list.mergedEntry,
    'entries are merged, then cleaned',
  );
  invariant(list.droppedEntry <= list.dropBelow, 'what is dropped is below where it may be');
  const listed = new Set<string>();
  for (const [slot, { pages, segments, droppedOffset }] of list.slots.entries()) {
    let end = 0;
    for (const [what, part] of [
      ...pages.map((page) => ['page', page] as const),
      ...segments.map((segment) => ['segment', segment] as const),
    ]) {
      const name = nameText({ what, slot, startOffset: part.startOffset, version: part.version });
      invariant(part.startOffset >= end, () => `${name} begins before the offset ${end}, where the one before ends`);
      invariant(part.startOffset < part.endOffset, () => `${name} covers no offset`);
      invariant(part.endOffset > droppedOffset, () => `${name} is below the offset ${droppedOffset}, so it is gone`);
      end = part.endOffset;
      listed.add(name);
    }
    const merged = list.totals[slot]?.nextOffset ?? 0;
    invariant(end <= merged, () => `slot ${slot} has segments up to ${end}, but is merged up to ${merged}`);
  }
  const unlisted = new Set<string>();
  for (const name of [...list.announcements.flatMap(({ names }) => names), ...list.garbage].map(nameText)) {
    invariant(!listed.has(name), () => `${name} is in use, and is announced or garbage too`);
    invariant(!unlisted.has(name), () => `${name} is announced or garbage twice`);
    unlisted.add(name);
  }
  const ids = list.announcements.map(({ id }) => id);
  invariant(new Set(ids).size === ids.length, 'each announcement has its own id');
}

const LIST_VERSION = 1;
const PAGE_VERSION = 1;
/** Codes of persisted names: their places never change. */
const ANNOUNCING_JOBS: readonly Announcement['job'][] = ['merge', 'coalesce', 'compact'];
const KINDS: readonly AnnouncedName['what'][] = ['segment', 'page'];

/** The packed form is persisted; see `docs/format.md`. */
export function packSegmentList(list: SegmentList): Uint8Array {
  const writer = new ByteWriter(1024);
  writer.uint8(LIST_VERSION);
  writer.varuint(list.version);
  writeBytes(writer, list.writer ?? NO_BYTES);
  writer.varuint(list.mergedEntry);
  writeBytes(writer, packTotals(list.totals));
  writer.varuint(list.slots.length);
  for (const slot of list.slots) writeSlot(writer, slot);
  writer.varuint(list.announcements.length);
  for (const { id, job, untilMs, names } of list.announcements) {
    writer.varuint(id);
    writer.uint8(ANNOUNCING_JOBS.indexOf(job));
    writer.varuint(untilMs);
    writer.varuint(names.length);
    for (const name of names) writeName(writer, name);
  }
  writer.varuint(list.garbage.length);
  for (const garbage of list.garbage) {
    writeName(writer, garbage);
    writer.varuint(garbage.dueAtMs);
  }
  writer.varuint(list.cleanedEntry);
  writer.varuint(list.cleanBelow);
  writer.varuint(list.cleanAtMs);
  writer.varuint(list.dropBelow);
  writer.varuint(list.dropAtMs);
  writer.varuint(list.droppedEntry);
  writer.varuint(list.orphansCheckedAtMs);
  const due = [...JOB_NAMES.entries()].filter(([, job]) => list.due[job] !== undefined);
  writer.varuint(due.length);
  for (const [code, job] of due) {
    writer.uint8(code);
    const { atMs, version } = list.due[job] as Due;
    writer.varuint(atMs);
    writer.varuint(version);
  }
  return sealed(writer);
}

/** @throws EventLogError `corrupt_data` */
export function unpackSegmentList(packed: Uint8Array): SegmentList {
  return reading('A segment list', packed, (reader) => {
    readVersion(reader, LIST_VERSION);
    const version = reader.varuint();
    const writer = reader.view(reader.varuint());
    const list: SegmentList = {
      version,
      ...(writer.length === 0 ? {} : { writer: writer.slice() }),
      mergedEntry: reader.varuint(),
      totals: unpackTotals(reader.view(reader.varuint())),
      slots: readMany(reader, readSlot),
      announcements: readMany(reader, () => ({
        id: reader.varuint(),
        job: readCode(reader, ANNOUNCING_JOBS),
        untilMs: reader.varuint(),
        names: readMany(reader, readName),
      })),
      garbage: readMany(reader, () => ({ ...readName(reader), dueAtMs: reader.varuint() })),
      cleanedEntry: reader.varuint(),
      cleanBelow: reader.varuint(),
      cleanAtMs: reader.varuint(),
      dropBelow: reader.varuint(),
      dropAtMs: reader.varuint(),
      droppedEntry: reader.varuint(),
      orphansCheckedAtMs: reader.varuint(),
      due: readDue(reader),
    };
    checkSegmentList(list);
    return list;
  });
}

/** Packs the segments of a page, in order of offsets. The packed form is persisted; see `docs/format.md`. */
export function packSegmentPage(segments: readonly Segment[]): Uint8Array {
  const writer = new ByteWriter(16 + segments.length * 40);
  writer.uint8(PAGE_VERSION);
  writeSegments(writer, segments, 0);
  return sealed(writer);
}

/** @throws EventLogError `corrupt_data` */
export function unpackSegmentPage(packed: Uint8Array): Segment[] {
  return reading('A page of segments', packed, (reader) => {
    readVersion(reader, PAGE_VERSION);
    return readSegments(reader, 0);
  });
}

function reading<Value>(what: string, packed: Uint8Array, read: (reader: ByteReader) => Value): Value {
  try {
    const reader = new ByteReader(unsealed(packed));
    const value = read(reader);
    invariant(reader.remaining === 0, () => `${reader.remaining} bytes follow the last field`);
    return value;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `${what} cannot be read: ${why}.`, { cause });
  }
}

const NO_BYTES = new Uint8Array(0);

function readVersion(reader: ByteReader, expected: number): void {
  const version = reader.uint8();
  invariant(version === expected, () => `version ${version} is not ${expected}`);
}

function writeBytes(writer: ByteWriter, bytes: Uint8Array): void {
  writer.varuint(bytes.length);
  writer.write(bytes);
}

/** Reads a count and then as many values. A count that is too large ends with the bytes, so it takes up no memory. */
function readMany<Value>(reader: ByteReader, read: (reader: ByteReader) => Value): Value[] {
  const values: Value[] = [];
  for (let left = reader.varuint(); left > 0; left--) values.push(read(reader));
  return values;
}

function readCode<Name>(reader: ByteReader, names: readonly Name[]): Name {
  const code = reader.uint8();
  const name = names[code];
  invariant(name !== undefined, () => `the code ${code} is unknown`);
  return name;
}

function writeSlot(writer: ByteWriter, slot: SlotSegments): void {
  let end = 0;
  writer.varuint(slot.pages.length);
  for (const page of slot.pages) {
    writer.varuint(page.startOffset - end);
    writer.varuint(page.endOffset - page.startOffset);
    writer.varuint(page.version);
    writer.varuint(page.segments);
    writer.varuint(page.bytes);
    writer.varint(page.maxTimestampMs);
    end = page.endOffset;
  }
  writeSegments(writer, slot.segments, end);
  writer.varuint(slot.droppedOffset);
  writer.varuint(slot.compactedOffset);
  // One more than the time, so that 0 means none.
  writer.varuint(slot.tombstonesDueAtMs === undefined ? 0 : slot.tombstonesDueAtMs + 1);
}

function readSlot(reader: ByteReader): SlotSegments {
  let end = 0;
  const pages = readMany(reader, () => {
    const startOffset = end + reader.varuint();
    end = readEnd(reader, startOffset);
    return {
      startOffset,
      endOffset: end,
      version: reader.varuint(),
      segments: reader.varuint(),
      bytes: reader.varuint(),
      maxTimestampMs: reader.varint(),
    };
  });
  const segments = readSegments(reader, end);
  const droppedOffset = reader.varuint();
  const compactedOffset = reader.varuint();
  const due = reader.varuint();
  return { pages, segments, droppedOffset, compactedOffset, ...(due === 0 ? {} : { tombstonesDueAtMs: due - 1 }) };
}

/** Each segment begins where the one before ends, or later: `end` is where the one before the first ends. */
function writeSegments(writer: ByteWriter, segments: readonly Segment[], from: number): void {
  let end = from;
  writer.varuint(segments.length);
  for (const segment of segments) {
    writer.varuint(segment.startOffset - end);
    writer.varuint(segment.endOffset - segment.startOffset);
    writer.varuint(segment.version);
    writer.varuint(segment.bytes);
    writer.varuint(segment.indexBytes);
    writer.varuint(segment.aborted);
    writer.varint(segment.maxTimestampMs);
    writer.varuint(segment.writtenAtMs);
    writer.uint32(Number(segment.setHash >> 32n));
    writer.uint32(Number(segment.setHash & 0xffff_ffffn));
    end = segment.endOffset;
  }
}

function readSegments(reader: ByteReader, from: number): Segment[] {
  let end = from;
  return readMany(reader, () => {
    const startOffset = end + reader.varuint();
    end = readEnd(reader, startOffset);
    return {
      startOffset,
      endOffset: end,
      version: reader.varuint(),
      bytes: reader.varuint(),
      indexBytes: reader.varuint(),
      aborted: reader.varuint(),
      maxTimestampMs: reader.varint(),
      writtenAtMs: reader.varuint(),
      setHash: (BigInt(reader.uint32()) << 32n) | BigInt(reader.uint32()),
    };
  });
}

function readEnd(reader: ByteReader, startOffset: number): number {
  const end = startOffset + reader.varuint();
  invariant(end > startOffset, 'a segment covers an offset');
  invariant(end <= OFFSET_MAX, 'a segment ends at or below the largest offset');
  return end;
}

function writeName(writer: ByteWriter, { what, slot, startOffset, version }: AnnouncedName): void {
  writer.uint8(KINDS.indexOf(what));
  writer.varuint(slot);
  writer.varuint(startOffset);
  writer.varuint(version);
}

function readName(reader: ByteReader): AnnouncedName {
  const what = readCode(reader, KINDS);
  const slot = reader.varuint();
  invariant(slot < PARTITIONS_PER_HEAD_MAX, () => `no head has a slot ${slot}`);
  return { what, slot, startOffset: reader.varuint(), version: reader.varuint() };
}

function readDue(reader: ByteReader): SegmentList['due'] {
  const due: Partial<Record<JobName, Due>> = {};
  for (let left = reader.varuint(); left > 0; left--)
    due[readCode(reader, JOB_NAMES)] = { atMs: reader.varuint(), version: reader.varuint() };
  return due;
}
