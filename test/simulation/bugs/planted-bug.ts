import type { SeedKind } from '../run/run-seeds.ts';

/**
 * A bug that is planted on purpose, to see that the simulator finds it: what finds none of these proves nothing. It is a
 * change of the product's source text, made by `plant-bug.ts` while the source is loaded and nowhere else, so the product
 * itself holds no switch.
 */
export interface PlantedBug {
  readonly name: string;
  /** What goes wrong, for readers of the list. */
  readonly why: string;
  readonly edits: readonly SourceEdit[];
  /** Met by one seed of many thousands: its own in `regressions.ts` has to do. */
  readonly isRare?: true;
  /** Met by none of the first 2,000 seeds, or 100 to 400 of groups and of Kafka, though it breaks a promise: only unit tests find it so far. */
  readonly isUnmet?: true;
  /** In what only seeds with jobs do. */
  readonly isOfJobs?: true;
  /** Of consumer groups or Kafka's protocol, which have seeds of their own. */
  readonly of?: SeedKind;
}

/** Each edit is within one line, so that a refactoring costs little. */
export interface SourceEdit {
  /** From the repository's root. */
  readonly file: string;
  /** Occurs in the file once. */
  readonly from: string;
  readonly to: string;
}
