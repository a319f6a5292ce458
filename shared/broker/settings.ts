import { TAIL_NODE_ENTRIES } from '../log/head/head.ts';

/** How the broker behaves; plain data. The defaults are for one request at a time on AWS. */
export interface BrokerSettings {
  /** Data of one head up to this size goes into the table, beyond it into an object. */
  readonly inlineBytesMax: number;
  /** Appends wait this long for others to share a commit with. */
  readonly lingerMs: number;
  /** Group commits whose data may be in writing at once; further appends gather meanwhile. */
  readonly groupsWritingMax: number;
  /** The same where enough waits to fill another group. */
  readonly fullGroupsWritingMax: number;
  /** What one group commit writes at most; a larger single append goes alone. */
  readonly groupBytesMax: number;
  /** Bytes of appends not yet acknowledged, beyond which appends are throttled. */
  readonly pendingBytesMax: number;
  /** For how long a head that was read may be committed against without reading it again. */
  readonly headCacheMs: number;
  readonly topicCacheMs: number;
  /** How often a waiting read looks for appends of other processes; `undefined` where no other process can append. */
  readonly pollIntervalMs: number | undefined;
  /** Bytes of records and tail nodes kept in memory. */
  readonly cacheBytesMax: number;
  /** How many entries of a head lie between two times that the states of its producers are written down; a multiple of 8. */
  readonly checkpointEntries: number;
  /** After this long without certainty an append fails with the outcome `unknown`. */
  readonly commitTimeoutMs: number;
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
  checkpointEntries: 64 * TAIL_NODE_ENTRIES,
  commitTimeoutMs: 20_000,
};
