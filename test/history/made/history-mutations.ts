import type { Chance } from '../../simulation/world/chance.ts';
import type { AppendedRecord, AppendInvocation, FinalLog, HistoryEvent, Invocation, ReadRecord } from '../history.ts';
import type { RandomHistory } from './random-history.ts';

/**
 * Ways to make a correct history wrong. Each looks for a place where its change is certain to break a promise, and leaves
 * a history alone that has no such place.
 */
export interface Mutation {
  readonly name: string;
  /** One of these is broken. */
  readonly breaks: readonly string[];
  /** Changes the copy that it is given; answers whether it did. */
  readonly apply: (history: MutableHistory, chance: Chance) => boolean;
}

type AppendTry = Invocation & { readonly f: 'append' };

/** A record by all that the history says of it. */
interface Fate {
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

function firstTry({ tries }: Fate): number {
  return Math.min(...tries.map(({ invokedAt }) => invokedAt));
}

function acknowledgement({ tries }: Fate): number {
  return Math.min(...tries.map(({ acknowledgedAt }) => acknowledgedAt));
}

function settled({ tries }: Fate): number {
  return Math.max(...tries.map(({ acknowledgedAt }) => acknowledgedAt));
}

function isAcknowledged(fate: Fate): boolean {
  return acknowledgement(fate) < Number.POSITIVE_INFINITY;
}

/** Runs `change` on one after the other, in an order that is drawn, until one is taken. */
function onOne<T>(chance: Chance, candidates: readonly T[], change: (candidate: T) => boolean): boolean {
  const left = candidates.slice();
  while (left.length > 0) {
    const [candidate] = left.splice(chance.below(left.length), 1);
    if (change(candidate as T)) return true;
  }
  return false;
}

/** The records of `t` in its final log. */
function kept(history: MutableHistory): (Fate & { readonly place: NonNullable<Fate['place']> })[] {
  return history.fates().filter((fate): fate is ReturnType<typeof kept>[number] => {
    return fate.topic === 't' && fate.place !== undefined;
  });
}

function remove(history: MutableHistory, { topic, place }: Fate): boolean {
  if (place === undefined) return false;
  history.splice(topic, place.partition, place.offset, 1);
  return true;
}

interface Look {
  readonly at: number;
  readonly invokedAt: number;
  readonly partition: number;
  readonly start: number;
  readonly end: Extract<HistoryEvent, { readonly highWatermark?: number }> & { readonly highWatermark: number };
}

/** The reads and ends of `t` that were answered. */
function looks(history: MutableHistory): Look[] {
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
function onRead(
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

export const MUTATIONS: readonly Mutation[] = [
  {
    name: 'loses an acknowledged record',
    breaks: ['R1'],
    apply: (history, chance) => onOne(chance, kept(history).filter(isAcknowledged), (fate) => remove(history, fate)),
  },
  {
    name: 'repeats a record',
    breaks: ['R5'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ content, place }) => {
        history.keep('t', place.partition, content);
        return true;
      }),
  },
  {
    name: 'swaps two neighbours',
    breaks: ['R1'],
    apply: (history, chance) =>
      onOne(chance, kept(history).filter(isAcknowledged), ({ place: { partition, offset } }) => {
        const [first, second] = history.log('t', partition).slice(offset, offset + 2);
        if (first === undefined || second === undefined) return false;
        history.splice('t', partition, offset, 2, second, first);
        return true;
      }),
  },
  {
    name: 'changes a byte',
    breaks: ['R1'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ place: { partition, offset } }) => {
        const log = history.log('t', partition);
        const { key = '', headers, ...record } = log[offset] as ReadRecord;
        const changed = chance.chance(0.5) ? { key: `${key}.`, headers } : { key, headers: { ...headers, more: '' } };
        log[offset] = { ...record, ...changed } as ReadRecord;
        return true;
      }),
  },
  {
    name: 'changes a byte for one reader',
    breaks: ['R1', 'R10'],
    apply: (history, chance) =>
      onRead(history, chance, 1, (records, nextOffset) => {
        const i = chance.below(records.length);
        const record = records[i] as ReadRecord;
        const timestampMs = (record.timestampMs ?? 0) + 1;
        records[i] = chance.chance(0.5) ? { ...record, key: 'other' } : { ...record, timestampMs };
        return nextOffset;
      }),
  },
  {
    name: 'acknowledges before an earlier record was sent',
    // The last two where a look that began later still comes between.
    breaks: ['R4', 'R9', 'R10'],
    apply: (history, chance) => {
      const fates = kept(history);
      return onOne(chance, fates, (later) =>
        onOne(chance, fates, (earlier) => {
          const ack = acknowledgement(later);
          const sentAt = firstTry(earlier);
          const { place } = earlier;
          if (place.partition !== later.place.partition || place.offset > later.place.offset) return false;
          const own = later.tries.find(({ acknowledgedAt }) => acknowledgedAt === ack);
          if (own === undefined || ack === Number.POSITIVE_INFINITY || own.invokedAt >= sentAt || ack < sentAt)
            return false;
          const [event] = history.events.splice(ack, 1);
          history.events.splice(sentAt, 0, event as HistoryEvent);
          return true;
        }),
      );
    },
  },
  {
    name: 'lets one look miss what was acknowledged',
    breaks: ['R9', 'R10'],
    apply: (history, chance) =>
      onOne(chance, looks(history), ({ at, invokedAt, partition, start, end }) =>
        onOne(chance, kept(history), (fate) => {
          const { place } = fate;
          if (place.partition !== partition || acknowledgement(fate) > invokedAt || place.offset < start) return false;
          const highWatermark = place.offset;
          if (end.f === 'read') {
            const records = end.records?.filter(({ offset }) => offset < highWatermark) ?? [];
            history.events[at] = { ...end, highWatermark, records, nextOffset: start + records.length };
          } else history.events[at] = { ...end, highWatermark };
          return true;
        }),
      ),
  },
  {
    name: 'lets one look see what was not sent yet',
    breaks: ['R9'],
    apply: (history, chance) =>
      onOne(chance, looks(history), ({ at, partition, end }) =>
        onOne(chance, kept(history), (fate) => {
          if (fate.place.partition !== partition || firstTry(fate) < at) return false;
          history.events[at] = { ...end, highWatermark: fate.place.offset + 1 };
          return true;
        }),
      ),
  },
  {
    name: 'keeps a record that failed',
    breaks: ['R2'],
    apply: (history, chance) =>
      onOne(chance, history.fates(), ({ topic, content, tries }) => {
        if (tries.length > 0) return false;
        history.keep(topic, content.partition ?? 0, content);
        return true;
      }),
  },
  {
    name: 'invents a record',
    breaks: ['R2'],
    apply: (history, chance) => {
      history.keep('t', chance.below(2), history.newRecord(0));
      return true;
    },
  },
  {
    name: 'leaves out an offset',
    breaks: ['R3'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ place }) => {
        const log = history.log('t', place.partition);
        for (let i = place.offset; i < log.length; i++) log[i] = { ...(log[i] as ReadRecord), offset: i + 1 };
        return true;
      }),
  },
  {
    name: 'appends under an epoch that was fenced',
    breaks: ['R6'],
    apply: (history, chance) =>
      onOne(chance, kept(history).filter(isAcknowledged), ({ request, place }) => {
        if (request.producer === undefined || request.producer.epoch === 0) return false;
        const { partition } = place;
        const record = history.newRecord(partition);
        const producer = { ...request.producer, epoch: request.producer.epoch - 1, sequence: 0 };
        history.appendAtEnd('t', [record], { producer });
        history.keep('t', partition, record);
        return true;
      }),
  },
  {
    name: 'leaves out a sequence',
    breaks: ['R4'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ request, place: { partition, offset } }) => {
        const { producer } = request;
        const behind = kept(history).filter(({ place }) => place.partition === partition && place.offset > offset);
        if (producer === undefined || behind.some((other) => other.request.producer?.id === producer.id)) return false;
        const record = history.newRecord(partition);
        const sequence = producer.sequence + request.records.length + 1;
        history.appendAtEnd('t', [record], { producer: { ...producer, sequence } });
        history.keep('t', partition, record);
        return true;
      }),
  },
  {
    name: 'answers two tries differently',
    breaks: ['R5'],
    apply: (history, chance) =>
      onOne(chance, history.fates(), ({ topic, tries }) => {
        const acks = tries.map(({ acknowledgedAt }) => acknowledgedAt).filter((at) => at < Number.POSITIVE_INFINITY);
        const event = history.events[Math.max(...acks)];
        if (topic !== 't' || acks.length < 2 || event?.f !== 'append' || event.type === 'invoke') return false;
        const outcomes = event.outcomes?.map((fate) =>
          fate.type === 'ok' ? { ...fate, offset: fate.offset + 1 } : fate,
        );
        history.events[Math.max(...acks)] = { ...event, ...(outcomes === undefined ? {} : { outcomes }) };
        return true;
      }),
  },
  {
    name: 'appends elsewhere than was expected',
    breaks: ['R5'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ request, tries }) => {
        if (request.expectedOffset === undefined) return false;
        const expectedOffset = request.expectedOffset + 1;
        history.events[tries[0]?.invokedAt ?? 0] = { ...request, expectedOffset };
        return true;
      }),
  },
  {
    name: 'leaves a record out of a read',
    breaks: ['R10'],
    apply: (history, chance) =>
      onRead(history, chance, 2, (records, nextOffset) => {
        // Without its first record a read could have begun later.
        records.splice(1 + chance.below(records.length - 1), 1);
        return nextOffset;
      }),
  },
  {
    name: 'lets a read go on too far',
    breaks: ['R10'],
    apply: (history, chance) => onRead(history, chance, 0, (_, nextOffset) => nextOffset + 1),
  },
  {
    name: 'tears an atomic append',
    breaks: ['atomic'],
    apply: (history) => {
      const records = [history.newRecord(0), history.newRecord(1)];
      history.appendAtEnd('t', records, { atomic: true });
      history.keep('t', 1, records[1] as AppendedRecord);
      return true;
    },
  },
  {
    name: 'puts a record into an atomic append',
    breaks: ['R4'],
    apply: (history) => {
      const [first, between, last] = [history.newRecord(0), history.newRecord(0), history.newRecord(0)] as const;
      history.appendAtEnd('t', [first, last], { atomic: true });
      history.appendAtEnd('t', [between]);
      history.keep('t', 0, first, between, last);
      return true;
    },
  },
  {
    name: 'orders two atomic appends in two ways',
    breaks: ['atomic'],
    apply: (history) => {
      const [first, second] = [0, 1].map(() => [history.newRecord(0), history.newRecord(1)]) as [
        AppendedRecord[],
        AppendedRecord[],
      ];
      for (const records of [first, second]) history.appendAtEnd('t', records, { atomic: true });
      history.keep('t', 0, first[0] as AppendedRecord, second[0] as AppendedRecord);
      history.keep('t', 1, second[1] as AppendedRecord, first[1] as AppendedRecord);
      return true;
    },
  },
  {
    name: 'shows an atomic append in part',
    breaks: ['R9'],
    apply: (history, chance) =>
      onOne(chance, kept(history), ({ request, place: { partition, offset } }) => {
        const before = history.log('t', partition)[offset - 1];
        if (!request.atomic || !request.records.some(({ value }) => value === before?.value)) return false;
        const facts = history.facts('t');
        history.events.unshift({ ...facts, type: 'invoke', f: 'end', partition });
        history.events.push({ ...facts, type: 'ok', f: 'end', highWatermark: offset });
        return true;
      }),
  },
  {
    name: 'brings back a record that was deleted',
    breaks: ['deletion'],
    apply: (history, chance) =>
      onOne(chance, history.fates(), (fate) => {
        const isGone = history.deletions()?.some(({ invokedAt }) => settled(fate) < invokedAt);
        if (fate.topic !== 'u' || fate.tries.length === 0 || fate.place !== undefined || !isGone) return false;
        history.keep('u', fate.content.partition ?? 0, fate.content);
        return true;
      }),
  },
  {
    name: 'reads a record that was deleted',
    breaks: ['deletion', 'R10'],
    apply: (history, chance) =>
      onOne(chance, history.fates(), (fate) => {
        const isGone = history.deletions()?.some(({ invokedAt }) => settled(fate) < invokedAt);
        if (fate.topic !== 'u' || fate.tries.length === 0 || fate.place !== undefined || !isGone) return false;
        const { partition = 0, ...content } = fate.content;
        const facts = history.facts('u');
        const answer = { records: [{ ...content, offset: 0 }], nextOffset: 1, highWatermark: 1, logStartOffset: 0 };
        history.events.push({ ...facts, type: 'invoke', f: 'read', partition, offset: 0 });
        if (chance.chance(0.5)) history.events.push({ ...history.facts('u'), type: 'invoke', f: 'delete_topic' });
        history.events.push({ ...facts, type: 'ok', f: 'read', ...answer });
        return true;
      }),
  },
  {
    name: 'loses a record of the topic that was made again',
    breaks: ['R1'],
    apply: (history, chance) => {
      const deletions = history.deletions();
      const last = Math.max(...(deletions ?? []).map(({ endedAt }) => endedAt));
      const isLate = ({ tries }: Fate): boolean =>
        tries.some((each) => each.invokedAt > last && each.acknowledgedAt < Number.POSITIVE_INFINITY);
      if (deletions === undefined || deletions.length === 0) return false;
      return onOne(
        chance,
        history.fates().filter((fate) => fate.topic === 'u' && isLate(fate)),
        (fate) => remove(history, fate),
      );
    },
  },
];
