import { USE_BRIEF_TOPIC } from './among-jobs/use-brief-topic.ts';
import { USE_LATEST_TOPIC } from './among-jobs/use-latest-topic.ts';
import { PRODUCE } from './produce.ts';
import { WAIT_FOR_OWN_APPENDS } from './read-along.ts';
import { CORRECT_UNDER_KEYS, WRITE_UNDER_KEYS } from './use-keys.ts';
import { ADMINISTER, COME_AND_GO } from './use-topics.ts';
import type { Workload } from './workload.ts';
import { WRITE, WRITE_AT_ONCE, WRITE_CONDITIONALLY, WRITE_IN_A_ROW } from './write.ts';

/** What clients do. Another part of the log gets its workload by a line here. */
export const WORKLOADS: readonly Workload[] = [
  WRITE,
  WRITE_AT_ONCE,
  WRITE_IN_A_ROW,
  WRITE_CONDITIONALLY,
  PRODUCE,
  WRITE_UNDER_KEYS,
  CORRECT_UNDER_KEYS,
  COME_AND_GO,
  ADMINISTER,
  WAIT_FOR_OWN_APPENDS,
];

/** What clients do in runs with jobs: what the jobs can get in the way of. */
export const WORKLOADS_AMONG_JOBS: readonly Workload[] = [
  WRITE,
  WRITE_AT_ONCE,
  PRODUCE,
  WRITE_UNDER_KEYS,
  CORRECT_UNDER_KEYS,
  { ...COME_AND_GO, weight: 2 },
  USE_BRIEF_TOPIC,
  USE_LATEST_TOPIC,
];
