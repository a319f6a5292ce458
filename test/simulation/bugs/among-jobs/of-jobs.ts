import type { PlantedBug } from '../planted-bug.ts';

/** Bugs in what only seeds with jobs do. */
export function ofJobs(...bugs: readonly Omit<PlantedBug, 'isOfJobs'>[]): PlantedBug[] {
  return bugs.map((bug) => ({ ...bug, isOfJobs: true }));
}

/** A bug in what jobs do with transactions, or in what is read after them. */
export function besideTransactions(name: string, why: string, file: string, from: string, to: string): PlantedBug {
  return { name, why, edits: [{ file, from, to }], of: 'transactions_among_jobs' };
}
