import type { EventLogError } from '../../log/errors.ts';
import type { SegmentList } from '../../log/segment/segment-list.ts';

/** A job that looks after one head. It may run twice at once, late, and be stopped or killed anywhere. */
export interface HeadJobOptions {
  /** Once this signal is aborted, the job begins nothing more and returns soon. What it has done stays done. */
  readonly signal?: AbortSignal | undefined;
}

export interface HeadJobResult {
  /** The head's segment list as the job left it. */
  readonly list: SegmentList;
  /** When the job must look at the head again; `undefined`: not until something else schedules it. */
  readonly nextAtMs: number | undefined;
  /** The number of partitions that the job could not process, if it processes them one by one, and the first error. */
  readonly blocked?: number;
  readonly error?: EventLogError | undefined;
}
