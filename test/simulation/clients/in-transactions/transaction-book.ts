import { headOf, type Topic } from '../../../../shared/log/topic/topic.ts';
import type { ReadRecord, Violation } from '../../../history/history.ts';
import type { SlotName, TransactionName, TransactionWatch } from '../../world/watch/transaction-watch.ts';
import { nameOf } from './records.ts';
import type { RemovedRecords } from './removed-records.ts';

export const GROUP = 'totals';

/** What a producer sent in one transaction, and what it was told. */
export interface ClientTransaction {
  readonly name: string;
  /** By value. */
  readonly records: Map<string, SentRecord>;
  /** Metadata -> whether it was acknowledged. */
  readonly offsets: Map<string, boolean>;
  /** `committed`, `aborted`: it was told so. `not_committed`: it was refused, or never asked for. Otherwise all or nothing. */
  told?: 'committed' | 'aborted' | 'not_committed';
}

interface SentRecord {
  readonly topic: string;
  /** `undefined`: not acknowledged. */
  slot?: SlotName;
  offset?: number;
}

/** What all clients of a run know together, which is what the log is judged by in the end. */
export class TransactionBook {
  readonly transactions: ClientTransaction[] = [];
  /** The topics that stay, by name. */
  readonly topics = new Map<string, Topic>();
  /** Values of plain batches that were acknowledged. */
  readonly plain = new Map<string, { readonly slot: SlotName; readonly offset: number }>();
  private readonly seen = new Map<SlotName, Map<number, string>>();
  private readonly watch: TransactionWatch;
  private readonly broken: (promise: string, message: string) => void;
  /** In runs with jobs. */
  private readonly removed: RemovedRecords | undefined;

  constructor(
    watch: TransactionWatch,
    broken: (promise: string, message: string) => void,
    removed: RemovedRecords | undefined,
  ) {
    this.watch = watch;
    this.broken = broken;
    this.removed = removed;
  }

  startOf(slot: SlotName): number {
    return this.removed?.startOf(slot) ?? 0;
  }

  /** As a reader is told: where clients have deleted records of an open transaction, it is the log start offset. */
  lastStableOffset(slot: SlotName): number {
    return Math.max(this.watch.lastStableOffset(slot), this.startOf(slot));
  }

  begin(name: string): ClientTransaction {
    const transaction: ClientTransaction = { name, records: new Map(), offsets: new Map() };
    this.transactions.push(transaction);
    return transaction;
  }

  slotOf(topic: string, partition: number): SlotName | undefined {
    const known = this.topics.get(topic);
    if (known === undefined) return undefined;
    const { headNumber, slot } = headOf(known, partition);
    return `${known.topicId}#${headNumber}/${slot}`;
  }

  /**
   * A read of `[from, to)` has these records, with the data that the entries have there, and no other. What was removed by
   * now may be missing.
   */
  read(slot: SlotName, isolation: string, from: number, to: number, records: readonly ReadRecord[]): void {
    const offsets: number[] = [];
    for (const { offset, records: count, transaction, isMarker } of this.watch.spansOf(slot)) {
      if (isMarker || offset + count <= from || offset >= to) continue;
      const isCommitted = transaction === undefined || this.watch.outcomeOf(transaction) === 'committed';
      if (isolation === 'read_committed' && !isCommitted) continue;
      for (let each = Math.max(from, offset); each < Math.min(to, offset + count); each++) offsets.push(each);
    }
    const read = records.filter(({ offset }) => offset < to).map(({ offset }) => offset);
    if (read.join() !== this.expected(slot, offsets, read).join())
      this.broken('R7', `A ${isolation} read of ${slot} from ${from} to ${to} has ${read}, not ${offsets}.`);
    const seen = this.seen.get(slot) ?? new Map<number, string>();
    this.seen.set(slot, seen);
    for (const record of records) {
      const { offset, value } = record;
      const written = this.removed?.allOf(slot)[offset];
      if (written !== undefined && JSON.stringify(record) !== JSON.stringify(written))
        this.broken('R1', `${slot} has other content at ${offset} than was written.`);
      if ((seen.get(offset) ?? value) !== value)
        this.broken('R1', `${slot} has ${value} at ${offset}, and had ${seen.get(offset)}.`);
      seen.set(offset, value ?? '');
    }
  }

  /** The offsets that a read can have: without those that it lacks because they were removed. */
  private expected(slot: SlotName, offsets: readonly number[], read: readonly number[]): readonly number[] {
    const { removed } = this;
    if (removed === undefined) return offsets;
    const has = new Set(read);
    const start = removed.startOf(slot);
    return offsets.filter((offset) => has.has(offset) || (offset >= start && !removed.isCompactedAway(slot, offset)));
  }

  /** The producer has been told that the transaction is committed: whoever begins to read now sees all of it. */
  committed(transaction: ClientTransaction): void {
    transaction.told = 'committed';
    for (const [offset, isAcknowledged] of transaction.offsets)
      if (isAcknowledged && !this.watch.wasCommitted(offset))
        this.broken('R7', `${transaction.name} was told to be committed, and the offset ${offset} is not.`);
    for (const [value, { slot, offset }] of transaction.records) {
      if (slot === undefined || offset === undefined) continue;
      const name = this.transactionAt(slot, offset);
      if (name !== undefined && !this.watch.isMarked(slot, name))
        this.broken('R7', `${transaction.name} was told to be committed, and ${value} is not stable yet.`);
    }
  }

  /** All of it, in the end. `log`: all that the topics that stay have ever had. */
  judge(log: ReadonlyMap<SlotName, readonly ReadRecord[]>): Violation[] {
    const violations: Violation[] = [];
    const broken = (promise: string, message: string): void => {
      violations.push({ promise, message });
    };
    const places = new Map<string, { slot: SlotName; offset: number }>();
    for (const [slot, records] of log)
      for (const record of records) {
        const name = nameOf(record);
        if (places.has(name)) broken('R5', `${name} is twice in the log.`);
        places.set(name, { slot, offset: record.offset });
      }
    for (const [value, { slot, offset }] of this.plain) {
      const found = places.get(value);
      if (found?.slot !== slot || found.offset !== offset) broken('R1', `The plain record ${value} is not in the log.`);
    }
    const clientOf = new Map<TransactionName, string>();
    for (const transaction of this.transactions) {
      const { name, told, records } = transaction;
      const outcomes = new Set<string>();
      for (const [value, { slot, offset, topic }] of records) {
        if (!this.topics.has(topic)) continue;
        const found = places.get(value);
        if (slot !== undefined && (found?.slot !== slot || found.offset !== offset))
          broken('R1', `${value} of ${name} was acknowledged at ${slot}/${offset}, and is not there.`);
        if (found === undefined) continue;
        const own = this.transactionAt(found.slot, found.offset);
        if (own === undefined) {
          broken('R8', `${value} of ${name} is in no transaction.`);
          continue;
        }
        const other = clientOf.get(own) ?? name;
        if (other !== name) broken('R8', `${own} has data of ${other} and of ${name}.`);
        clientOf.set(own, name);
        outcomes.add(this.watch.outcomeOf(own) ?? 'open');
      }
      for (const [offset, isAcknowledged] of transaction.offsets) {
        const isCommitted = this.watch.wasCommitted(offset);
        if (isCommitted) outcomes.add('committed');
        else if (isAcknowledged) outcomes.add('aborted');
      }
      if (outcomes.size > 1) broken('R7', `${name} is ${[...outcomes].join(' and ')}.`);
      const isCommitted = outcomes.has('committed');
      if (told === 'committed' && outcomes.size > 0 && !isCommitted)
        broken('R8', `${name} was told to be committed, and is ${[...outcomes]}.`);
      if ((told === 'aborted' || told === 'not_committed') && isCommitted)
        broken('R8', `${name} is ${told}, and is committed.`);
    }
    return violations;
  }

  private transactionAt(slot: SlotName, at: number): TransactionName | undefined {
    return this.watch
      .spansOf(slot)
      .find(({ offset, records, isMarker }) => !isMarker && at >= offset && at < offset + records)?.transaction;
  }
}
