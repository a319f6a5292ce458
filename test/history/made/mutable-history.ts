import type { Chance } from '../../simulation/world/chance.ts';
import type { AppendedRecord, AppendInvocation, FinalLog, HistoryEvent, Invocation, ReadRecord } from '../history.ts';
import type { RandomHistory } from './random-history.ts';

/** A copy of a history that can be changed, and what its changes go by. */

export type AppendTry = Invocation & { readonly f: 'append' };

/** A record by all that the history says of it. */
export interface Fate {
  readonly topic: string;
  readonly content: AppendedRecord;
  readonly request: AppendTry;
  /** Invocation and end of each try that did not fail; the end is infinite where it is uncertain. */
  readonly tries: { readonly invokedAt: number; readonly acknowledgedAt: number }[];
  /** Where the final log has it. */
  readonly place: { readonly partition: number; readonly offset: number } | undefined;
}

export class MutableHistory {
  readonly events: HistoryEvent[];
  readonly final: Map<string, Map<number, ReadRecord[]>>;
  private values = 0;

  constructor({ events, final }: RandomHistory) {
    this.events = events.slice();
    const copy = (log: FinalLog): Map<number, ReadRecord[]> =>
      new Map([...log].map(([partition, records]) => [partition, records.slice()]));
    this.final = new Map([...final].map(([topic, log]) => [topic, copy(log)]));
  }

  log(topic: string, partition: number): ReadRecord[] {
    const topicLog = this.final.get(topic) ?? new Map<number, ReadRecord[]>();
    this.final.set(topic, topicLog);
    const log = topicLog.get(partition) ?? [];
    topicLog.set(partition, log);
    return log;
  }

  /** Takes a record out, or puts one in, and moves up the offsets of those behind. */
  splice(topic: string, partition: number, offset: number, removed: number, ...added: readonly AppendedRecord[]): void {
    const log = this.log(topic, partition);
    log.splice(offset, removed, ...added.map(({ partition: _, ...content }) => ({ ...content, offset: 0 })));
    log.forEach((record, i) => {
      log[i] = { ...record, offset: i };
    });
  }

  keep(topic: string, partition: number, ...records: readonly AppendedRecord[]): void {
    this.splice(topic, partition, this.log(topic, partition).length, 0, ...records);
  }

  newRecord(partition: number): AppendedRecord {
    return { value: `new ${this.values++}`, partition };
  }

  /** An append at the very end that no one knows the fate of. */
  appendAtEnd(topic: string, records: readonly AppendedRecord[], asked: Partial<AppendInvocation> = {}): void {
    this.events.push({ ...this.facts(topic), type: 'invoke', ...asked, f: 'append', records });
  }

  facts(topic: string): { op: number; process: string; time: number; topic: string } {
    return { op: 1_000_000 + this.events.length, process: 'mutation', time: 0, topic };
  }

  fates(): Fate[] {
    const places = new Map<string, Fate['place']>();
    for (const log of this.final.values()) {
      for (const [partition, records] of log) {
        for (const { value, offset } of records) places.set(value, { partition, offset });
      }
    }
    const fates = new Map<string, Fate>();
    this.events.forEach((request, invokedAt) => {
      if (request.type !== 'invoke' || request.f !== 'append') return;
      const endedAt = this.events.findIndex(({ type, op }) => type !== 'invoke' && op === request.op);
      const end = this.events[endedAt];
      request.records.forEach((content, i) => {
        const { topic } = request;
        const fate = fates.get(content.value) ?? {
          topic,
          content,
          request,
          tries: [],
          place: places.get(content.value),
        };
        fates.set(content.value, fate);
        const outcomes = end?.f === 'append' && end.type !== 'invoke' ? end.outcomes : undefined;
        const type = outcomes?.[i]?.type ?? end?.type ?? 'info';
        const acknowledgedAt = type === 'ok' ? endedAt : Number.POSITIVE_INFINITY;
        if (type !== 'fail') fate.tries.push({ invokedAt, acknowledgedAt });
      });
    });
    return [...fates.values()];
  }

  /** The deletions of `u` that ended ok, unless one of them is uncertain. */
  deletions(): { readonly invokedAt: number; readonly endedAt: number }[] | undefined {
    const ends = this.events.flatMap((event, invokedAt) => {
      if (event.f !== 'delete_topic' || event.type !== 'invoke') return [];
      const endedAt = this.events.findIndex(({ type, op }) => type !== 'invoke' && op === event.op);
      return [{ invokedAt, endedAt, type: this.events[endedAt]?.type }];
    });
    return ends.some(({ type }) => type === 'info') ? undefined : ends.filter(({ type }) => type === 'ok');
  }
}

export function firstTry({ tries }: Fate): number {
  return Math.min(...tries.map(({ invokedAt }) => invokedAt));
}

export function acknowledgement({ tries }: Fate): number {
  return Math.min(...tries.map(({ acknowledgedAt }) => acknowledgedAt));
}

export function settled({ tries }: Fate): number {
  return Math.max(...tries.map(({ acknowledgedAt }) => acknowledgedAt));
}

export function isAcknowledged(fate: Fate): boolean {
  return acknowledgement(fate) < Number.POSITIVE_INFINITY;
}

/** Runs `change` on one after the other, in an order that is drawn, until one is taken. */
export function onOne<T>(chance: Chance, candidates: readonly T[], change: (candidate: T) => boolean): boolean {
  const left = candidates.slice();
  while (left.length > 0) {
    const [candidate] = left.splice(chance.below(left.length), 1);
    if (change(candidate as T)) return true;
  }
  return false;
}

/** The records of `t` in its final log. */
export function kept(history: MutableHistory): (Fate & { readonly place: NonNullable<Fate['place']> })[] {
  return history.fates().filter((fate): fate is ReturnType<typeof kept>[number] => {
    return fate.topic === 't' && fate.place !== undefined;
  });
}

export function remove(history: MutableHistory, { topic, place }: Fate): boolean {
  if (place === undefined) return false;
  history.splice(topic, place.partition, place.offset, 1);
  return true;
}

export interface Look {
  readonly at: number;
  readonly invokedAt: number;
  readonly partition: number;
  readonly start: number;
  readonly end: Extract<HistoryEvent, { readonly highWatermark?: number }> & { readonly highWatermark: number };
}

/** The reads and ends of `t` that were answered. */
export function looks(history: MutableHistory): Look[] {
  return history.events.flatMap((end, at): Look[] => {
    if (end.type !== 'ok' || (end.f !== 'read' && end.f !== 'end') || end.topic !== 't') return [];
    const invokedAt = history.events.findIndex(({ op }) => op === end.op);
    const asked = history.events[invokedAt];
    if (asked?.type !== 'invoke' || (asked.f !== 'read' && asked.f !== 'end') || end.highWatermark === undefined)
      return [];
    const start = asked.f === 'end' ? 0 : (asked.offset ?? (end.f === 'read' ? end.records?.[0]?.offset : 0) ?? 0);
    return [{ at, invokedAt, partition: asked.partition, start, end: end as Look['end'] }];
  });
}

/** Changes the records of a read of `t` that has at least so many. */
export function onRead(
  history: MutableHistory,
  chance: Chance,
  recordsMin: number,
  change: (records: ReadRecord[], nextOffset: number) => number | undefined,
): boolean {
  return onOne(chance, looks(history), ({ at, end }) => {
    if (end.f !== 'read' || (end.records?.length ?? 0) < recordsMin) return false;
    const records = end.records?.slice() ?? [];
    const nextOffset = change(records, end.nextOffset ?? 0);
    if (nextOffset === undefined) return false;
    history.events[at] = { ...end, records, nextOffset };
    return true;
  });
}
