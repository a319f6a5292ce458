import { ADMIN } from './admin.ts';
import type { Case } from './case.ts';
import { CONNECT } from './connect.ts';
import { CONSOLE_TOOLS } from './console-tools.ts';
import { GROUPS } from './groups.ts';
import { MIRROR_MAKER } from './mirror-maker.ts';
import { PIPELINES } from './pipelines.ts';
import { PRODUCE_CONSUME } from './produce-consume.ts';
import { STREAMS } from './streams.ts';
import { TRANSACTIONS } from './transactions.ts';

export const CASES: readonly Case[] = [
  ...PRODUCE_CONSUME,
  ...PIPELINES,
  ...GROUPS,
  ...TRANSACTIONS,
  ...ADMIN,
  ...CONSOLE_TOOLS,
  ...CONNECT,
  ...MIRROR_MAKER,
  ...STREAMS,
];
