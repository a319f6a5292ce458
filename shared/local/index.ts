export { Broker } from '../broker/broker.ts';
export { recordsOf, type StoredBatch } from '../log/batch/stored-batch.ts';
export { EventLogError } from '../log/errors.ts';
export { startTailrace, type Tailrace, type TailraceOptions } from './start.ts';
export type { JobIntervals } from './timed-jobs.ts';
