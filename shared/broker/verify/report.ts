/** What a verification finds. */

export const PROBLEM_KINDS = [
  /** The head or its segment list cannot be read, or its parts contradict each other. Its partitions cannot be verified. */
  'damaged_head',
  'damaged_list',
  'missing_node',
  'damaged_node',
  /** Head, tail nodes and segment list disagree about how many records came before. */
  'wrong_totals',
  'missing_page',
  'damaged_page',
  'missing_segment',
  'damaged_segment',
  /** The batches of a segment are whole, but they are not those that its list names. */
  'wrong_set_hash',
  'wrong_timestamp',
  /** The data of an entry that was not merged yet. */
  'missing_data',
  'damaged_data',
  /** Offsets that can be read are stored nowhere. */
  'gap',
  /** What head, tail nodes, items beside them and segments say about transactions is not what the entries say. */
  'wrong_transactions',
  /** The states of producers are older than the nodes that may be deleted. */
  'stale_checkpoint',
  /** A job does not look at the head any more. */
  'missing_due_item',
  /** Nothing refers to the object or page. It costs storage, and nothing is lost. */
  'orphan',
] as const;
export type ProblemKind = (typeof PROBLEM_KINDS)[number];

export interface Problem {
  readonly kind: ProblemKind;
  readonly headNumber: number;
  /** Absent if the problem concerns all partitions of the head. */
  readonly partition?: number;
  /** The object's key, or the item's `pk` and `sk`, joined by a slash. */
  readonly storedAs?: string;
  /** The position in the object from which on it is damaged. */
  readonly position?: number;
  /** The first offset that is concerned. */
  readonly offset?: number;
  readonly message: string;
}

/** What was found in the offsets `[logStartOffset, highWatermark)` of a partition, both as of when its verification began. */
export interface PartitionReport {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** Without the markers of transactions, which count as batches. */
  readonly records: number;
  readonly markers: number;
  readonly batches: number;
  readonly bytes: number;
  readonly segments: number;
  /** Runs of batches in tail nodes, and in the head's tail. */
  readonly unmergedParts: number;
  readonly tailParts: number;
  /**
   * The set hash (`log/segment/set-hash.ts`) of all batches that were found, 16 hex digits. Merging and joining do not change
   * it; compaction and retention do.
   */
  readonly setHash: string;
  /** The number of its problems, without those of the whole head, and without orphans. */
  readonly problems: number;
  readonly orphans: number;
}

export interface VerificationPage {
  /** The partitions that were finished by this call. */
  readonly partitions: readonly PartitionReport[];
  readonly problems: readonly Problem[];
  /** Absent if the verification is complete. */
  readonly nextPageToken?: string;
}
