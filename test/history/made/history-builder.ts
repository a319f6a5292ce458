import { checkHistory } from '../check-history.ts';
import type { AppendedRecord, AppendInvocation, FinalLog, HistoryEvent, ReadRecord, RecordFate } from '../history.ts';

/** Histories written by hand: what is not said is the topic `t`, partition 0, and contents that follow from the value. */
export class HistoryBuilder {
  readonly events: HistoryEvent[] = [];
  private readonly topics = new Map<number, string>();
  private readonly partitions = new Map<number, number>();
  private readonly offsets = new Map<number, number>();
  private readonly sizes = new Map<number, number>();
  private passedMs = 0;

  append(
    op: number,
    values: readonly (string | AppendedRecord)[],
    asked: Partial<Omit<AppendInvocation, 'f' | 'records'>> & { readonly topic?: string } = {},
  ): this {
    const records = values.map((value) => (typeof value === 'string' ? sentRecord(value) : value));
    const { topic = 't', ...more } = asked;
    this.topics.set(op, topic);
    this.sizes.set(op, records.length);
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'append', records, ...more });
    return this;
  }

  /** All records acknowledged, from `offset` on in one partition, as new ones unless said otherwise. */
  appended(op: number, offset: number, { partition = 0, duplicate = false } = {}): this {
    const outcomes = Array.from({ length: this.sizes.get(op) ?? 0 }, (_, i): RecordFate => {
      return { type: 'ok', partition, offset: offset + i, duplicate };
    });
    this.events.push({ ...this.facts(op), type: 'ok', f: 'append', outcomes });
    return this;
  }

  /** The whole append had one fate; with what an `offset_mismatch` told. */
  ended(op: number, type: 'ok' | 'fail' | 'info', nextOffset?: number): this {
    const told = nextOffset === undefined ? {} : { nextOffset };
    this.events.push({ ...this.facts(op), type, f: 'append', ...told });
    return this;
  }

  /** Each record had a fate of its own. */
  fates(op: number, ...outcomes: readonly RecordFate[]): this {
    this.events.push({ ...this.facts(op), type: 'info', f: 'append', outcomes });
    return this;
  }

  read(op: number, offset?: number, { partition = 0, topic = 't' } = {}): this {
    this.topics.set(op, topic);
    this.partitions.set(op, partition);
    if (offset !== undefined) this.offsets.set(op, offset);
    const from = offset === undefined ? {} : { offset };
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'read', partition, ...from });
    return this;
  }

  /** All that the read asked for, to where `highWatermark` says, if nothing else is said. */
  gave(
    op: number,
    values: readonly (string | ReadRecord)[],
    told: { highWatermark?: number; nextOffset?: number; logStartOffset?: number; offset?: number } = {},
  ): this {
    const offset = told.offset ?? this.offsets.get(op) ?? 0;
    const records = values.map((value, i) => (typeof value === 'string' ? readRecord(value, offset + i) : value));
    const { nextOffset = offset + records.length, highWatermark = nextOffset, logStartOffset = 0 } = told;
    const answer = { records, nextOffset, highWatermark, logStartOffset };
    this.events.push({ ...this.facts(op), type: 'ok', f: 'read', ...answer });
    return this;
  }

  end(op: number, { partition = 0, topic = 't' } = {}): this {
    this.topics.set(op, topic);
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'end', partition });
    return this;
  }

  saw(op: number, highWatermark: number): this {
    this.events.push({ ...this.facts(op), type: 'ok', f: 'end', highWatermark });
    return this;
  }

  delete(op: number, topic = 't'): this {
    this.topics.set(op, topic);
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'delete_topic' });
    return this;
  }

  deleted(op: number, type: 'ok' | 'fail' | 'info' = 'ok'): this {
    this.events.push({ ...this.facts(op), type, f: 'delete_topic' });
    return this;
  }

  put(op: number, config: Readonly<Record<string, string>>, partitions?: number): this {
    const asked = { config, ...(partitions === undefined ? {} : { partitions }) };
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'create_topic', ...asked });
    return this;
  }

  /** How a change ended; with what was told of the topic as it was then. */
  changed(op: number, type: 'ok' | 'fail' | 'info', config?: Readonly<Record<string, string>>, partitions = 1): this {
    const told = config === undefined ? {} : { config, partitions };
    this.events.push({ ...this.facts(op), type, f: 'create_topic', ...told });
    return this;
  }

  describe(op: number): this {
    this.events.push({ ...this.facts(op), type: 'invoke', f: 'describe_topic' });
    return this;
  }

  described(op: number, config: Readonly<Record<string, string>>, partitions = 1): this {
    this.events.push({ ...this.facts(op), type: 'ok', f: 'describe_topic', config, partitions });
    return this;
  }

  /** So long passes before what comes next. */
  later(ms: number): this {
    this.passedMs += ms;
    return this;
  }

  private facts(op: number): { op: number; process: string; time: number; topic: string } {
    return { op, process: `p${op}`, time: this.passedMs + this.events.length, topic: this.topics.get(op) ?? 't' };
  }
}

export function history(): HistoryBuilder {
  return new HistoryBuilder();
}

function content(value: string): { value: string; key: string; headers: Record<string, string>; timestampMs: number } {
  return { value, key: `key of ${value}`, headers: { of: value }, timestampMs: 1_000 };
}

export function sentRecord(value: string, more: Partial<AppendedRecord> = {}): AppendedRecord {
  return { ...content(value), partition: 0, ...more };
}

export function readRecord(value: string, offset: number, more: Partial<ReadRecord> = {}): ReadRecord {
  return { ...content(value), offset, ...more };
}

/** The values of partition 0, of partition 1 and so on. */
export function logOf(...partitions: readonly (readonly string[])[]): FinalLog {
  return new Map(partitions.map((values, partition) => [partition, values.map((value, i) => readRecord(value, i))]));
}

/** The promises that a history breaks, each once, if the topic `t` has this log in the end. */
export function broken({ events }: HistoryBuilder, final: FinalLog | undefined): string[] {
  const violations = checkHistory(events, new Map(final === undefined ? [] : [['t', final]]));
  return [...new Set(violations.map(({ promise }) => promise))];
}
