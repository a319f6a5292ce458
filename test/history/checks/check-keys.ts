import type { HistoryEvent } from '../history.ts';
import { type Report, type SentAppend, type SentRecord, shown } from './check-model.ts';

/** A key stands for its append for 24 hours by the clocks of the log, which may be an hour off together. */
const KEY_KEPT_MS = 23 * 3_600_000;

/**
 * Of all appends under one idempotency key at most one is in the final log (R5): a key is used for something else only
 * after its append was rejected for certain, or a day later.
 */
export function checkKeys(report: Report, appends: readonly SentAppend[], events: readonly HistoryEvent[]): void {
  const last = new Map<string, { readonly append: SentAppend; readonly timeMs: number }>();
  for (const append of appends) {
    const { request, found, topic } = append;
    if (report.isFull) return;
    if (request.idempotencyKey === undefined || found === 0) continue;
    const name = `${topic.name} ${request.idempotencyKey}`;
    const timeMs = events[firstTriedAt(append)]?.time ?? 0;
    const other = last.get(name);
    last.set(name, { append, timeMs });
    if (other === undefined || Math.abs(timeMs - other.timeMs) >= KEY_KEPT_MS) continue;
    const both = `operations ${other.append.request.op} and ${request.op}`;
    report.add('R5', `The idempotency key ${shown(request.idempotencyKey)} stands for two appends, ${both}.`);
  }
}

function firstTriedAt({ records }: SentAppend): number {
  return (records[0] as SentRecord).triedAt;
}
