import type { Broker } from '../../shared/broker/broker.ts';
import type { MergeResult } from '../../shared/broker/jobs/merge/merge-head.ts';
import { EventLogError } from '../../shared/log/errors.ts';
import { parseNodePartitionKey } from '../../shared/storage/keys.ts';
import type { JobRun } from '../lambda/job.ts';

/** A record of the table's stream, which publishes only keys. */
export interface StreamRecord {
  readonly dynamodb?: {
    readonly Keys?: { readonly pk?: { readonly S?: string } };
    readonly SequenceNumber?: string;
  };
}

export interface MovedRun extends JobRun {
  /** Without the heads' lists: those of all heads would not fit in memory. */
  readonly results: readonly Omit<MergeResult, 'list'>[];
  /** The sequence number of the first record of each head that must be looked at again. */
  readonly failed: readonly string[];
}

interface MovedHead {
  readonly topicId: string;
  readonly headNumber: number;
  /** Of the first of its records. */
  readonly sequenceNumber: string;
}

/** Heads that are merged at once. The broker bounds what their data takes of the memory. */
const HEADS_AT_ONCE = 4;

/**
 * Merges the heads whose tail nodes are among the records, each once, if they are due; those that are not are scheduled. A
 * head that fails, or that the time does not suffice for, is reported, and keeps the others from nothing.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function mergeMoved(
  broker: Pick<Broker, 'mergeHead'>,
  records: readonly StreamRecord[],
  signal: AbortSignal,
): Promise<MovedRun> {
  const heads = headsOf(records);
  const results: Omit<MergeResult, 'list'>[] = [];
  const failed: string[] = [];
  let blocked = 0;
  let first: EventLogError | undefined;
  let isCut = false;
  const merge = async ({ topicId, headNumber, sequenceNumber }: MovedHead): Promise<void> => {
    try {
      const result = signal.aborted ? undefined : await broker.mergeHead(topicId, headNumber, { signal });
      if (result !== undefined) {
        const { list: _, ...done } = result;
        results.push(done);
      }
      if (!signal.aborted) return;
      isCut = true;
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      first ??= error;
      blocked++;
    }
    failed.push(sequenceNumber);
  };
  for (let at = 0; at < heads.length; at += HEADS_AT_ONCE)
    await Promise.all(heads.slice(at, at + HEADS_AT_ONCE).map(merge));
  return { results, blocked, error: first, complete: !isCut, failed };
}

function headsOf(records: readonly StreamRecord[]): MovedHead[] {
  const heads = new Map<string, MovedHead>();
  for (const { dynamodb } of records) {
    const pk = dynamodb?.Keys?.pk?.S ?? '';
    const name = parseNodePartitionKey(pk);
    // The event source has no other records.
    if (name === undefined || dynamodb?.SequenceNumber === undefined) continue;
    if (!heads.has(pk)) heads.set(pk, { ...name, sequenceNumber: dynamodb.SequenceNumber });
  }
  return [...heads.values()];
}
