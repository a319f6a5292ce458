import { ADMIN } from './admin.ts';
import type { Case } from './case.ts';
import { GROUPS } from './groups.ts';
import { PRODUCE_CONSUME } from './produce-consume.ts';

export const CASES: readonly Case[] = [...PRODUCE_CONSUME, ...GROUPS, ...ADMIN];
