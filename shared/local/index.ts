export { Broker } from '../broker/broker.ts';
export { recordsOf, type StoredBatch } from '../log/batch/stored-batch.ts';
export { EventLogError } from '../log/errors.ts';
export type { JobIntervals } from './jobs/timed-jobs.ts';
export type { KafkaOptions } from './kafka.ts';
export { startTailrace, type Tailrace, type TailraceOptions } from './start.ts';
