/** Data that a job has replaced or dropped is kept for this long, for reads and fetch plans that began before. */
export const GRACE_MS = 30 * 60_000;

/** An announcement counts as dead after this long. This only saves work: a commit after it is refused, and harms nothing. */
export const ANNOUNCED_MS = 15 * 60_000;

/** A head in which an open transaction holds a job up is looked at again after this long. */
export const HELD_UP_MS = 60_000;
