import type { CommittingMember, OffsetToCommit } from '../../groups/offsets/commit-offsets.ts';
import type { RecordsOfTopic } from '../append/append-records.ts';

export interface TransactionRequest {
  readonly entries: readonly RecordsOfTopic[];
  readonly offsets?: readonly OffsetsOfGroup[] | undefined;
  /**
   * Any text of up to 255 characters. For 24 hours, the same transaction under the same key is committed once and gets the same
   * answer. A transaction that was not committed releases the key.
   */
  readonly idempotencyKey?: string | undefined;
  /** Which topics the caller may read, where the token of a poll names them. Default: all. */
  readonly mayRead?: ((topic: string) => boolean) | undefined;
}

export type OffsetsOfGroup =
  | {
      readonly group: string;
      /** Who read what the transaction has processed. Absent: nobody is a member, and the group must have no live member. */
      readonly member?: CommittingMember | undefined;
      readonly offsets: readonly OffsetToCommit[];
    }
  | {
      readonly group: string;
      /** The token of the poll whose records the transaction has processed. */
      readonly after: string;
    };
