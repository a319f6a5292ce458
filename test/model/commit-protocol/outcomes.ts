import type { Answer } from './planner.ts';
import type { NumberedClient } from './scenarios.ts';

/** What a batch's client was told. From `ACKNOWLEDGED` on: its offset. */
export const OUTCOME = {
  none: 0,
  /** It has given up. */
  unknown: 1,
  closed: 2,
  fenced: 3,
  outOfOrder: 4,
  offsetMismatch: 5,
  /** There was no time to try again, and nothing was applied. */
  notApplied: 6,
  /** An earlier attempt under the key was rejected, and shut out the others. */
  shutOut: 7,
} as const;
export const ACKNOWLEDGED = 16;

export function outcomeOf(answer: Answer): number {
  switch (answer.type) {
    case 'offset':
      return ACKNOWLEDGED + answer.offset;
    case 'producer_fenced':
      return OUTCOME.fenced;
    case 'out_of_order_sequence':
      return OUTCOME.outOfOrder;
    case 'offset_mismatch':
    case 'offset_not_reached':
      return OUTCOME.offsetMismatch;
  }
}

/** Whether a client that was told this sends its next batch. */
export function goesOn({ corrects }: NumberedClient, outcome: number): boolean {
  return corrects ? outcome === OUTCOME.offsetMismatch || outcome === OUTCOME.shutOut : outcome >= ACKNOWLEDGED;
}

export function outcomeInWords(outcome: number): string {
  if (outcome >= ACKNOWLEDGED) return `is acknowledged at offset ${outcome - ACKNOWLEDGED}`;
  switch (outcome) {
    case OUTCOME.unknown:
      return 'is given up';
    case OUTCOME.closed:
      return 'is told that the topic is deleted';
    case OUTCOME.fenced:
      return 'is fenced';
    case OUTCOME.outOfOrder:
      return 'is refused as out of order';
    case OUTCOME.offsetMismatch:
      return 'is refused for its expected offset';
    case OUTCOME.notApplied:
      return 'is told that it was not applied';
    case OUTCOME.shutOut:
      return 'is told that it was shut out';
    default:
      return 'waits';
  }
}
