import { ADMIN } from './admin.ts';
import type { Case } from './case.ts';
import { CONSOLE_TOOLS } from './console-tools.ts';
import { GROUPS } from './groups.ts';
import { PIPELINES } from './pipelines.ts';
import { PRODUCE_CONSUME } from './produce-consume.ts';

export const CASES: readonly Case[] = [...PRODUCE_CONSUME, ...PIPELINES, ...GROUPS, ...ADMIN, ...CONSOLE_TOOLS];
