import { invalidField } from '../../log/errors.ts';
import { decodePageToken, encodePageToken } from '../page.ts';
import type { PartitionReport } from './report.ts';

export const STAGES = ['nodes', 'records', 'objects'] as const;
export type Stage = (typeof STAGES)[number];

export interface SegmentPosition {
  readonly startOffset: number;
  readonly version: number;
  /** The next block. */
  block: number;
  /** Of the blocks before. */
  hash: bigint;
  maxTimestampMs: number;
  /** Whether all blocks before were whole. */
  isWhole: boolean;
}

export interface Counts {
  records: number;
  markers: number;
  batches: number;
  bytes: number;
  segments: number;
  unmergedParts: number;
  tailParts: number;
  problems: number;
  orphans: number;
}

/** How far a verification has come. It fits a page token, so that the next call can run in another process. */
export interface Position {
  readonly topicId: string;
  partition: number;
  stage: Stage;
  /** In the stage `nodes` the next node to check; in the stage `records` the parts of entries below were checked. */
  entry: number;
  /** Pages of segments that end at or below this offset were checked. */
  pagesBelow: number;
  /** Records below this offset were checked, from `start` on. */
  offset: number;
  start: number;
  /** `undefined` until the records are begun. */
  end: number | undefined;
  segment: SegmentPosition | undefined;
  /**
   * The aborted transactions that cross `offset`, by the segment that ends there (`check-transactions.ts`); `undefined` if that is
   * not known.
   */
  crossing: number | undefined;
  /** In the stage `objects` the last key that was checked. */
  after: string;
  setHash: bigint;
  counts: Counts;
}

export function startOf(topicId: string, partition: number, stage: Stage): Position {
  return {
    topicId,
    partition,
    stage,
    entry: 0,
    pagesBelow: 0,
    offset: 0,
    start: 0,
    end: undefined,
    segment: undefined,
    crossing: undefined,
    after: '',
    setHash: 0n,
    counts: {
      records: 0,
      markers: 0,
      batches: 0,
      bytes: 0,
      segments: 0,
      unmergedParts: 0,
      tailParts: 0,
      problems: 0,
      orphans: 0,
    },
  };
}

export function reportOf({ partition, start, end = start, setHash, counts }: Position): PartitionReport {
  return { partition, logStartOffset: start, highWatermark: end, ...counts, setHash: hashText(setHash) };
}

/** A set hash as people and JSON see it: 16 hex digits. */
function hashText(hash: bigint): string {
  return hash.toString(16).padStart(16, '0');
}

const NONE = -1;

export function positionToken(position: Position): string {
  const { topicId, partition, stage, entry, pagesBelow, offset, start, end, segment, after, setHash, counts } =
    position;
  const { records, markers, batches, bytes, segments, unmergedParts, tailParts, problems, orphans } = counts;
  const numbers = [
    partition,
    STAGES.indexOf(stage),
    entry,
    pagesBelow,
    offset,
    start,
    end ?? NONE,
    position.crossing ?? NONE,
  ];
  const counted = [records, markers, batches, bytes, segments, unmergedParts, tailParts, problems, orphans];
  const inSegment =
    segment === undefined
      ? []
      : [segment.startOffset, segment.version, segment.block, segment.maxTimestampMs, segment.isWhole ? 1 : 0];
  const hashes = [setHash, ...(segment === undefined ? [] : [segment.hash])].map(hashText);
  return encodePageToken(
    [topicId, after, hashes.join('.'), [...numbers, ...counted, ...inSegment].join('.')].join('#'),
  );
}

const TOKEN =
  /^([\w-]+)#([\w/-]*)#([0-9a-f]{16})(?:\.([0-9a-f]{16}))?#((?:-?\d{1,16}\.){16}-?\d{1,16})(?:\.((?:-?\d{1,16}\.){4}[01]))?$/;

/** @throws EventLogError `invalid_request` */
export function parsePosition(token: string): Position {
  const match = TOKEN.exec(decodePageToken(token));
  const [, topicId, after, setHash, segmentHash, common, inSegment] = match ?? [];
  const numbers = (common ?? '').split('.').map(Number);
  const [partition, stage, entry, pagesBelow, offset, start, end, crossing, ...counted] = numbers as Eight;
  const name = STAGES[stage];
  const isWhole = numbers.every((number, i) => Number.isSafeInteger(number) && (number >= 0 || i === 6 || i === 7));
  if (!topicId || !isWhole || name === undefined || (inSegment === undefined) !== (segmentHash === undefined))
    throw invalidField(
      'pageToken',
      'This is not a page token of a verification; take it from `nextPageToken` of the page before.',
    );
  const [records, markers, batches, bytes, segments, unmergedParts, tailParts, problems, orphans] = counted as Nine;
  return {
    ...startOf(topicId, partition, name),
    entry,
    pagesBelow,
    offset,
    start,
    end: end === NONE ? undefined : end,
    crossing: crossing === NONE ? undefined : crossing,
    after: after ?? '',
    setHash: BigInt(`0x${setHash}`),
    counts: { records, markers, batches, bytes, segments, unmergedParts, tailParts, problems, orphans },
    ...(inSegment === undefined ? {} : { segment: segmentPosition(inSegment, segmentHash as string) }),
  };
}

type Five = [number, number, number, number, number];
type Eight = [number, number, number, number, number, number, number, number, ...number[]];
type Nine = [number, number, number, number, number, number, number, number, number];

function segmentPosition(text: string, hash: string): SegmentPosition {
  const [startOffset, version, block, maxTimestampMs, isWhole] = text.split('.').map(Number) as Five;
  return { startOffset, version, block, maxTimestampMs, isWhole: isWhole === 1, hash: BigInt(`0x${hash}`) };
}
