import { ADMIN } from './admin.ts';
import type { Case } from './case.ts';
import { CONSOLE_TOOLS } from './console-tools.ts';
import { GROUPS } from './groups.ts';
import { PRODUCE_CONSUME } from './produce-consume.ts';
import { UPGRADE } from './upgrade.ts';

export const CASES: readonly Case[] = [...PRODUCE_CONSUME, ...GROUPS, ...UPGRADE, ...ADMIN, ...CONSOLE_TOOLS];
