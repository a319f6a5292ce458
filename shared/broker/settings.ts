import type { MigrationPolicy } from '../log/group/classic/migration-policy.ts';
import { TAIL_NODE_ENTRIES } from '../log/head/head.ts';
import { SLOT_SEGMENTS_MAX } from '../log/segment/list-changes.ts';

/** A read over AWS should need no more than one request for each 8 MiB, also where the last chunk of a segment is small. */
export const CHUNK_BYTES = 12 * 1024 * 1024;

/** The settings of a broker, as plain data. The defaults suit one request at a time on AWS. */
export interface BrokerSettings {
  /** Data of one head up to this size, in bytes, is written to the table; larger data is written to an object. */
  readonly inlineBytesMax: number;
  /** Appends wait this long for other appends to share a commit. */
  readonly lingerMs: number;
  /** The maximum number of group commits whose data is being written. Meanwhile further appends gather. */
  readonly groupsWritingMax: number;
  /** The same maximum if enough data waits to fill another group. */
  readonly fullGroupsWritingMax: number;
  /** The maximum size of a group commit. A larger single append is committed separately. */
  readonly groupBytesMax: number;
  /** The maximum size of all appends that are not yet acknowledged, in bytes. Beyond it appends are throttled. */
  readonly pendingBytesMax: number;
  /** How long a broker can commit against a head without reading the head again. */
  readonly headCacheMs: number;
  readonly topicCacheMs: number;
  /** How often a waiting read checks for appends of other processes; `undefined` if no other process can append. */
  readonly pollIntervalMs: number | undefined;
  /** The maximum size of cached records, tail nodes and segment maps, in bytes. */
  readonly cacheBytesMax: number;
  /**
   * How much of a segment a sequential read fetches with one request, in bytes. It stays in memory until its last block is
   * read.
   */
  readonly chunkBytesMax: number;
  /**
   * The data of an entry up to this size, in bytes, is fetched as a whole for one of its parts: the other parts are often read
   * next.
   */
  readonly wholeDataBytesMax: number;
  /** The number of entries between two checkpoints of a head's producers; a multiple of 8. */
  readonly checkpointEntries: number;
  /** If an append's outcome is not certain after this time, the append fails with the outcome `unknown`. */
  readonly commitTimeoutMs: number;
  /**
   * No other process works on the log while this one does, and whatever one before it sent has arrived. So an announcement
   * that was made before this process began is dead.
   */
  readonly isOnlyProcess: boolean;
  /** A job lets the other work of its process run each time that it has worked on about as many bytes. */
  readonly jobStepBytes: number;
  /** How long a job rests then, so that the appends of its process are not slowed down; 0 if it need not. */
  readonly jobRestMs: number;
  /** The memory in which a compaction keeps the last offset of each key, in bytes; 24 bytes hold one key. */
  readonly compactionMapBytes: number;
  /** A compaction builds segments in memory up to this size, in bytes. One block of 64 KiB or one batch may be larger. */
  readonly compactionOutputBytes: number;
  /** Committed offsets of a group without members are kept for so long after the last commit and the last member. */
  readonly offsetsRetentionMs: number;
  /** The first members of an empty classic group wait for more members for this long. Kafka's `group.initial.rebalance.delay.ms`. */
  readonly initialRebalanceDelayMs: number;
  /**
   * Which changes a group with members may make between Kafka's two protocols. The same in all processes of a log: each decides
   * for the members that it serves.
   */
  readonly groupMigrationPolicy: MigrationPolicy;
  /** The maximum number of segments of a partition in its segment list: beyond it the oldest half moves to a page. */
  readonly listedSegmentsMax: number;
}

export const DEFAULT_SETTINGS: BrokerSettings = {
  inlineBytesMax: 8 * 1024,
  lingerMs: 0,
  groupsWritingMax: 16,
  fullGroupsWritingMax: 32,
  groupBytesMax: 8 * 1024 * 1024,
  pendingBytesMax: 64 * 1024 * 1024,
  headCacheMs: 1_000,
  topicCacheMs: 1_000,
  pollIntervalMs: 250,
  cacheBytesMax: 64 * 1024 * 1024,
  chunkBytesMax: CHUNK_BYTES,
  // S3 takes longer to begin an answer than to send so much more.
  wholeDataBytesMax: 128 * 1024,
  checkpointEntries: 64 * TAIL_NODE_ENTRIES,
  commitTimeoutMs: 20_000,
  isOnlyProcess: false,
  jobStepBytes: 2 * 1024 * 1024,
  jobRestMs: 0,
  compactionMapBytes: 64 * 1024 * 1024,
  compactionOutputBytes: 64 * 1024 * 1024,
  offsetsRetentionMs: 7 * 86_400_000,
  initialRebalanceDelayMs: 3_000,
  groupMigrationPolicy: 'bidirectional',
  listedSegmentsMax: SLOT_SEGMENTS_MAX,
};
