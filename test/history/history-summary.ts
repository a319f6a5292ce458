import type { Completion, HistoryEvent, Invocation } from './history.ts';

/** How much a history can prove. */
export interface HistorySummary {
  /** Operations by what was asked and how it ended; `open` without an end. */
  readonly operations: Readonly<Record<Invocation['f'], Readonly<Record<Completion['type'] | 'open', number>>>>;
  /** Records that were acknowledged, each once however often. */
  readonly acknowledgedRecords: number;
  /** Records that reads gave, each as often as it was given. */
  readonly readRecords: number;
}

export function summarizeHistory(events: readonly HistoryEvent[]): HistorySummary {
  const none = (): Record<Completion['type'] | 'open', number> => ({ ok: 0, fail: 0, info: 0, open: 0 });
  const operations = {
    append: none(),
    read: none(),
    end: none(),
    create_topic: none(),
    delete_topic: none(),
    describe_topic: none(),
  };
  const appends = new Map<number, Extract<Invocation, { readonly f: 'append' }>>();
  const acknowledged = new Set<string>();
  let readRecords = 0;
  for (const event of events) {
    const counts = operations[event.f];
    if (event.type === 'invoke') {
      counts.open++;
      if (event.f === 'append') appends.set(event.op, event);
      continue;
    }
    counts.open--;
    counts[event.type]++;
    if (event.f === 'read') readRecords += event.records?.length ?? 0;
    if (event.f !== 'append') continue;
    appends.get(event.op)?.records.forEach(({ value }, place) => {
      if ((event.outcomes?.[place]?.type ?? event.type) === 'ok') acknowledged.add(value);
    });
    appends.delete(event.op);
  }
  return { operations, acknowledgedRecords: acknowledged.size, readRecords };
}
