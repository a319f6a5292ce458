import type { PlantedBug } from '../planted-bug.ts';

/** Bugs in what only seeds with jobs do. */
export function ofJobs(...bugs: readonly Omit<PlantedBug, 'isOfJobs'>[]): PlantedBug[] {
  return bugs.map((bug) => ({ ...bug, isOfJobs: true }));
}
