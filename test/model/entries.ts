import type { Entry } from '../../shared/log/head/entry.ts';
import { addTotals, EMPTY_TOTALS, type Head, placeParts, type SlotTotals } from '../../shared/log/head/head.ts';
import { applyBatch, applyMarker, type ProducerState, producedBatch } from '../../shared/log/head/producer.ts';

/** What follows from all entries that a head ever took, for the models that keep them as a list. */

export function totalsAfter(entries: readonly Entry[], slots: number): readonly SlotTotals[] {
  return addTotals(
    Array.from({ length: slots }, () => EMPTY_TOTALS),
    entries,
  );
}

/** A head that shows all of them: which entries are still in its tail makes no difference to a plan. */
export function headAfter(entries: readonly Entry[], slots: number): Head {
  const partitions = totalsAfter(entries, slots).map((moved) => ({
    logStartOffset: 0,
    nextOffset: moved.nextOffset,
    totalsBeforeTail: moved,
  }));
  return {
    closed: false,
    refusesBeforeMs: 0,
    firstEntry: entries.length,
    tail: [],
    once: [],
    partitions,
    openBeforeTail: [],
    lastAbortingNode: undefined,
  };
}

/** By producer id. */
export function producersAfter(entries: readonly Entry[]): ReadonlyMap<number, ProducerState> {
  const states = new Map<number, ProducerState>();
  const placed = placeParts(entries, 0, []);
  for (const [entryNumber, { markers = [] }] of entries.entries()) {
    for (const { part, baseOffset } of placed.filter((one) => one.entryNumber === entryNumber)) {
      const batch = producedBatch(part);
      if (part.producer === undefined || batch === undefined) continue;
      const { producerId } = part.producer;
      states.set(producerId, applyBatch(states.get(producerId), batch, baseOffset));
    }
    for (const marker of markers) states.set(marker.producerId, applyMarker(states.get(marker.producerId), marker));
  }
  return states;
}
