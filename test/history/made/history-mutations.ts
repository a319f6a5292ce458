import type { Chance } from '../../simulation/world/chance.ts';
import type { AppendedRecord, HistoryEvent, ReadRecord } from '../history.ts';
import {
  acknowledgement,
  type Fate,
  firstTry,
  isAcknowledged,
  kept,
  looks,
  type MutableHistory,
  onOne,
  onRead,
  remove,
  settled,
} from './mutable-history.ts';

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
    name: 'uses an idempotency key for two appends',
    breaks: ['R5'],
    apply: (history) => {
      const [first, second] = [history.newRecord(0), history.newRecord(0)];
      for (const record of [first, second]) history.appendAtEnd('t', [record], { idempotencyKey: 'one key' });
      history.keep('t', 0, first, second);
      return true;
    },
  },
  {
    name: 'rejects what it has appended',
    breaks: ['R2'],
    apply: (history) => {
      const record = history.newRecord(0);
      const expectedOffset = history.log('t', 0).length;
      const asked = { producer: { id: 99, epoch: 0, sequence: 0 }, expectedOffset };
      history.appendAtEnd('t', [record], asked);
      history.keep('t', 0, record);
      const again = history.facts('t');
      history.events.push({ ...again, type: 'invoke', f: 'append', records: [record], ...asked });
      history.events.push({ ...again, type: 'fail', f: 'append', nextOffset: expectedOffset + 1 });
      return true;
    },
  },
  {
    name: 'lets an append overtake the one before it',
    breaks: ['R4'],
    apply: (history) => {
      const [first, second] = [history.newRecord(0), history.newRecord(0)];
      const end = history.log('t', 0).length;
      const before = history.facts('t');
      history.events.push({ ...before, type: 'invoke', f: 'append', records: [first] });
      const behind = history.facts('t');
      history.events.push({ ...behind, type: 'invoke', f: 'append', records: [second], after: before.op });
      history.keep('t', 0, second, first);
      const at = (offset: number) => [{ type: 'ok', partition: 0, offset, duplicate: false }] as const;
      history.events.push({ ...before, type: 'ok', f: 'append', outcomes: at(end + 1) });
      history.events.push({ ...behind, type: 'ok', f: 'append', outcomes: at(end) });
      return true;
    },
  },
  {
    name: 'loses a setting',
    breaks: ['settings'],
    apply: (history) => {
      const [set, told] = [history.facts('t'), { ...history.facts('t'), op: 2_000_000 }];
      history.events.push({ ...set, type: 'invoke', f: 'create_topic', config: { 'segment.ms': '7' } });
      history.events.push({ ...set, type: 'ok', f: 'create_topic' });
      history.events.push({ ...told, type: 'invoke', f: 'describe_topic' });
      history.events.push({ ...told, type: 'ok', f: 'describe_topic', partitions: 20, config: {} });
      return true;
    },
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
