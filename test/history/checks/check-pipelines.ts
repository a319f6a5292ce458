import type { AppendInvocation, HistoryEvent } from '../history.ts';
import type { Report } from './check-model.ts';

/** Where in its partition an append stands, or where the partition ended when its expected offset was compared. */
interface Place {
  readonly start: number;
  readonly end: number;
}

/**
 * What one process was given in order for a partition is decided in this order (R4): each append stands behind those that
 * were given before it, and its expected offset is compared with an end that counts them and nothing given later.
 */
export function checkPipelines(report: Report, events: readonly HistoryEvent[]): void {
  const given = new Map<number, AppendInvocation>();
  const places = new Map<number, Place>();
  for (const event of events) {
    if (event.f !== 'append') continue;
    if (event.type === 'invoke') given.set(event.op, event);
    else {
      const place = placeOf(event);
      if (place !== undefined) places.set(event.op, place);
    }
  }
  /** Operation -> the end of all up to it in its pipeline. */
  const reached = new Map<number, number>();
  for (const [op, { after }] of given) {
    const place = places.get(op);
    const before = after === undefined ? 0 : (reached.get(after) ?? 0);
    if (place !== undefined && place.start < before && after !== undefined) {
      report.add('R4', `Operation ${op} was given after ${after}, and stands at ${place.start}, before ${before}.`);
    }
    reached.set(op, Math.max(before, place?.end ?? 0));
  }
}

function placeOf(event: Extract<HistoryEvent, { readonly f: 'append' }>): Place | undefined {
  if (event.type === 'invoke') return undefined;
  if (event.nextOffset !== undefined) return { start: event.nextOffset, end: event.nextOffset };
  const offsets = (event.outcomes ?? []).flatMap((fate) => (fate.type === 'ok' ? [fate.offset] : []));
  return offsets.length === 0 ? undefined : { start: Math.min(...offsets), end: Math.max(...offsets) + 1 };
}
