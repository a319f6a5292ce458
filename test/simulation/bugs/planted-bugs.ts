import { COMPACT_BUGS } from './among-jobs/compact-bugs.ts';
import { MERGE_BUGS } from './among-jobs/merge-bugs.ts';
import { PAGE_BUGS } from './among-jobs/page-bugs.ts';
import { SWEEP_BUGS } from './among-jobs/sweep-bugs.ts';
import { TRANSACTION_COMPACT_BUGS } from './among-jobs/transaction-compact-bugs.ts';
import { TRANSACTION_JOB_BUGS } from './among-jobs/transaction-job-bugs.ts';
import { CLASSIC_BUGS } from './classic-bugs.ts';
import { COMMIT_BUGS } from './commit-bugs.ts';
import { GROUP_BUGS } from './group-bugs.ts';
import { KAFKA_BUGS } from './kafka-bugs.ts';
import { KEY_BUGS } from './key-bugs.ts';
import type { PlantedBug } from './planted-bug.ts';
import { PRODUCER_BUGS } from './producer-bugs.ts';
import { READ_BUGS } from './read-bugs.ts';
import { TOPIC_BUGS } from './topic-bugs.ts';
import { TRANSACTION_BUGS } from './transaction-bugs.ts';

export const PLANTED_BUGS: readonly PlantedBug[] = [
  ...COMMIT_BUGS,
  ...PRODUCER_BUGS,
  ...KEY_BUGS,
  ...TOPIC_BUGS,
  ...READ_BUGS,
  ...MERGE_BUGS,
  ...SWEEP_BUGS,
  ...COMPACT_BUGS,
  ...PAGE_BUGS,
  ...GROUP_BUGS,
  ...CLASSIC_BUGS,
  ...KAFKA_BUGS,
  ...TRANSACTION_BUGS,
  ...TRANSACTION_JOB_BUGS,
  ...TRANSACTION_COMPACT_BUGS,
];
