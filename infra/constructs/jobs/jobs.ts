import { Duration } from 'aws-cdk-lib';
import {
  type Access,
  COMPACT,
  EXPIRE,
  LAG,
  MAINTAIN,
  MERGE,
  SWEEP,
  SWEEP_GROUPS,
  SWEEP_HOT,
  SWEEP_TOPICS,
  SWEEP_TRANSACTIONS,
  union,
  VISIT,
} from '../access.ts';
import type { FunctionName } from '../bundle.ts';

export interface JobSpec {
  readonly description: string;
  readonly access: Access;
  /** How often the schedule runs it: at least every half hour, so that an alarm can tell within an hour that it does not run. */
  readonly every: Duration;
  /** In MiB. Lambda assigns processor time in proportion. */
  readonly memorySize: number;
  readonly timeout: Duration;
}

/** The jobs, each with a function and a role of its own. The intervals are such that an idle log costs cents a month. */
export const JOBS = {
  /** The stream of the table runs it too; the schedule finds what no event told of, and heads with little traffic. */
  merge: {
    description: 'merges what was appended into segments',
    access: MERGE,
    every: Duration.minutes(15),
    // The data of merges, up to 64 MiB at once, is held up to three times: as read, as built, and as sent.
    memorySize: 1_024,
    // A merge of 8,192 inline batches takes a minute. An announcement counts as dead after 15 minutes.
    timeout: Duration.minutes(5),
  },
  expire: {
    description: 'drops what retention no longer keeps',
    access: union(VISIT, EXPIRE),
    every: Duration.minutes(30),
    // It reads lists and nodes, and no records.
    memorySize: 512,
    timeout: Duration.minutes(5),
  },
  sweep: {
    description: 'deletes what nothing refers to or uses any more, and finishes deletions',
    access: union(VISIT, SWEEP, SWEEP_HOT, SWEEP_TOPICS, SWEEP_GROUPS, SWEEP_TRANSACTIONS, MAINTAIN),
    every: Duration.minutes(15),
    // It holds keys and the beginnings of objects.
    memorySize: 512,
    timeout: Duration.minutes(10),
  },
  compact: {
    description: 'keeps the newest record of each key of compacted topics',
    access: union(VISIT, COMPACT),
    every: Duration.minutes(30),
    // 64 MiB of keys, 64 MiB of output that is held twice, and chunks. With 1,769 MiB it has a whole processor.
    memorySize: 1_769,
    // The most that Lambda gives: a pass that is stopped begins again.
    timeout: Duration.minutes(15),
  },
} as const satisfies Partial<Record<FunctionName, JobSpec>>;

/** The job that measures the lag of consumer groups, made only if there are groups to measure. */
export const LAG_JOB = {
  description: 'measures how far consumer groups are behind',
  access: LAG,
  every: Duration.minutes(1),
  // Of each partition that is behind it reads one record.
  memorySize: 512,
  // By then the next run begins.
  timeout: Duration.minutes(1),
} as const satisfies JobSpec;

export type JobName = keyof typeof JOBS;
export const JOB_NAMES = Object.keys(JOBS) as JobName[];
