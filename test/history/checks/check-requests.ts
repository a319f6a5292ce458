import type { Completion, HistoryEvent, Invocation, RecordFate } from '../history.ts';
import { learn } from './check-lives.ts';
import {
  type AppendTry,
  type Commit,
  type Deletion,
  type Life,
  type Observation,
  type Report,
  SentAppend,
  type SentRecord,
  shown,
  Topic,
} from './check-model.ts';

type AppendEnd = Extract<Completion, { readonly f: 'append' }>;
type ReadInvocation = Extract<Invocation, { readonly f: 'read' }>;
type ReadEnd = Extract<Completion, { readonly f: 'read' }>;

export interface ReadRequest {
  readonly topic: Topic;
  readonly invocation: ReadInvocation;
  readonly completion: ReadEnd;
  readonly invokedAt: number;
  readonly completedAt: number;
}

/** What was asked: each append once with all its tries, what was observed of the partitions' ends, and the reads. */
export interface Requests {
  readonly topics: Map<string, Topic>;
  readonly appends: SentAppend[];
  readonly sent: Map<string, SentRecord>;
  readonly reads: ReadRequest[];
}

/**
 * Pairs invocations with their completions, and tries with the append they are tries of. Acknowledgements that contradict
 * each other are reported.
 * @throws Error where the history itself makes no sense: nothing can be judged by it then
 */
export function gatherRequests(events: readonly HistoryEvent[], report: Report): Requests {
  return new Gatherer(events, report).gather();
}

const ENDED = -1;

class Gatherer {
  private readonly events: readonly HistoryEvent[];
  private readonly report: Report;
  private readonly deletions: Map<string, Deletion[]>;
  private readonly topics = new Map<string, Topic>();
  private readonly appends: SentAppend[] = [];
  private readonly sent = new Map<string, SentRecord>();
  private readonly reads: ReadRequest[] = [];

  constructor(events: readonly HistoryEvent[], report: Report) {
    this.events = events;
    this.report = report;
    this.deletions = deletionsOf(events);
  }

  gather(): Requests {
    const { events } = this;
    /** Operation -> when it was invoked, or that it has ended. */
    const open = new Map<number, number>();
    for (let at = 0; at < events.length; at++) {
      const event = events[at] as HistoryEvent;
      if (event.type === 'invoke') {
        if (open.has(event.op)) throw malformed(at, `operation ${event.op} has begun already`);
        open.set(event.op, at);
        continue;
      }
      const invokedAt = open.get(event.op);
      if (invokedAt === undefined || invokedAt === ENDED) {
        throw malformed(at, `operation ${event.op} has not begun, or has ended already`);
      }
      open.set(event.op, ENDED);
      const invocation = events[invokedAt] as Invocation;
      if (invocation.f !== event.f || invocation.topic !== event.topic) {
        throw malformed(at, `operation ${event.op} began as ${invocation.f} of ${invocation.topic}`);
      }
      if (event.f === 'append') this.noteAppend(invocation as AppendTry, invokedAt, event, at);
      else if (event.f === 'read') this.noteRead(invocation as ReadInvocation, invokedAt, event, at);
      else if (event.f === 'end' && event.highWatermark !== undefined) {
        const { partition } = invocation as Extract<Invocation, { readonly f: 'end' }>;
        this.observe(partition, event.highWatermark, 'end', invocation, invokedAt, at);
      }
    }
    for (const invokedAt of open.values()) {
      if (invokedAt === ENDED) continue;
      const invocation = events[invokedAt] as Invocation;
      if (invocation.f === 'append') this.noteAppend(invocation, invokedAt, undefined, Number.POSITIVE_INFINITY);
    }
    const { topics, appends, sent, reads } = this;
    return { topics, appends, sent, reads };
  }

  private topic(name: string): Topic {
    let topic = this.topics.get(name);
    if (topic === undefined) {
      topic = new Topic(name, this.deletions.get(name));
      this.topics.set(name, topic);
    }
    return topic;
  }

  private observe(
    partition: number,
    end: number,
    by: Observation['by'],
    { op, topic }: Invocation,
    invokedAt: number,
    completedAt: number,
  ): Life | undefined {
    const life = this.topic(topic).lifeOf(invokedAt, completedAt);
    if (life === undefined) return undefined;
    const lane = life.lane(partition);
    const observation = { by, op, end, invokedAt, completedAt };
    if (lane.observations === undefined) lane.observations = [observation];
    else lane.observations.push(observation);
    return life;
  }

  private noteRead(invocation: ReadInvocation, invokedAt: number, completion: ReadEnd, at: number): void {
    const { highWatermark } = completion;
    if (highWatermark !== undefined) {
      this.observe(invocation.partition, highWatermark, 'read', invocation, invokedAt, at);
    }
    if (completion.type !== 'ok') return;
    if (highWatermark === undefined || completion.nextOffset === undefined || completion.records === undefined) {
      throw malformed(at, `read ${completion.op} ended ok without an answer`);
    }
    this.reads.push({ topic: this.topic(invocation.topic), invocation, completion, invokedAt, completedAt: at });
  }

  private noteAppend(invocation: AppendTry, invokedAt: number, completion: AppendEnd | undefined, at: number): void {
    const append = this.appendOf(invocation, invokedAt);
    const outcomes = completion?.outcomes;
    if (outcomes !== undefined && outcomes.length !== append.records.length) {
      throw malformed(at, `${outcomes.length} outcomes of ${append.records.length} records`);
    }
    const life = append.topic.lifeOf(invokedAt, at);
    let mayHaveAppended = false;
    for (let place = 0; place < append.records.length; place++) {
      const record = append.records[place] as SentRecord;
      const outcome = outcomes?.[place];
      const type = outcome?.type ?? completion?.type ?? 'info';
      if (type === 'fail') continue;
      mayHaveAppended = true;
      if (invokedAt < record.triedAt) record.triedAt = invokedAt;
      if (type === 'ok' && at > record.settledAt) record.settledAt = at;
      else if (type === 'info') record.settledAt = Number.POSITIVE_INFINITY;
      if (type === 'ok') this.acknowledge(record, life, outcome, invocation, invokedAt, at);
    }
    if (mayHaveAppended) noteTry(append, invocation, invokedAt);
    if (completion?.nextOffset !== undefined)
      this.noteMismatch(append, invocation, invokedAt, completion.nextOffset, at);
  }

  /** Tries of the same append have the same values; nothing else has any of them. */
  private appendOf(invocation: AppendTry, invokedAt: number): SentAppend {
    const { records } = invocation;
    const known = this.sent.get(records[0]?.value ?? '')?.append;
    if (known !== undefined) {
      const isSame =
        known.topic.name === invocation.topic &&
        known.records.length === records.length &&
        known.records.every(({ content }, place) => content.value === records[place]?.value);
      if (!isSame) throw malformed(invokedAt, `values of operation ${known.request.op} in another append`);
      return known;
    }
    const append = new SentAppend(this.topic(invocation.topic), invocation);
    const before = this.sent.size;
    for (const record of append.records) this.sent.set(record.content.value, record);
    if (this.sent.size !== before + records.length) {
      throw malformed(invokedAt, 'a value that the append has twice, or that another has too');
    }
    this.appends.push(append);
    return append;
  }

  private acknowledge(
    record: SentRecord,
    life: Life | undefined,
    outcome: RecordFate | undefined,
    { op }: AppendTry,
    invokedAt: number,
    at: number,
  ): void {
    if (life === undefined) return;
    const told = outcome?.type === 'ok' ? outcome : undefined;
    if (!life.isLast) {
      if (told !== undefined) learn(this.report, life, told.partition, told.offset, record, at);
      return;
    }
    if (record.acknowledgedAt === Number.POSITIVE_INFINITY) record.acknowledgedAt = at;
    if (told === undefined) return;
    if (told.duplicate === false && invokedAt > record.appendedAfter) record.appendedAfter = invokedAt;
    if (record.toldPartition < 0) {
      record.toldPartition = told.partition;
      record.toldOffset = told.offset;
    } else if (record.toldPartition !== told.partition || record.toldOffset !== told.offset) {
      this.report.add(
        'R5',
        `${shown(record.content.value)} was acknowledged at ${record.toldPartition}/${record.toldOffset} and again, by ` +
          `operation ${op}, at ${told.partition}/${told.offset}.`,
      );
    }
  }

  /** A refusal tells the end of the partition; which one is known where it was asked for. */
  private noteMismatch(
    append: SentAppend,
    invocation: AppendTry,
    invokedAt: number,
    nextOffset: number,
    completedAt: number,
  ): void {
    const partition = append.records[0]?.content.partition;
    if (partition === undefined) return;
    if (nextOffset === invocation.expectedOffset) {
      this.report.add('R9', `Append ${invocation.op} was refused since the next offset is the one that it expected.`);
    }
    const life = this.observe(partition, nextOffset, 'offset_mismatch', invocation, invokedAt, completedAt);
    if (life?.isLast) append.rejectedAtEnd = Math.max(append.rejectedAtEnd, nextOffset);
  }
}

/** Takes note of a try that may have appended; there is more than one only of an append that the log can tell again. */
function noteTry(append: SentAppend, request: AppendTry, invokedAt: number): void {
  if (append.mayHaveAppended) {
    const { request: first } = append;
    const isSame =
      first.idempotencyKey === request.idempotencyKey &&
      first.expectedOffset === request.expectedOffset &&
      first.producer?.id === request.producer?.id &&
      first.producer?.epoch === request.producer?.epoch &&
      first.producer?.sequence === request.producer?.sequence;
    const isOnce = (request.idempotencyKey ?? request.expectedOffset ?? request.producer) !== undefined;
    if (!isSame || !isOnce) throw malformed(invokedAt, `no try of operation ${first.op}, but it has its values`);
    return;
  }
  append.mayHaveAppended = true;
  append.request = request;
  append.commit = commitOf(request);
}

function commitOf({ atomic, idempotencyKey, expectedOffset }: AppendTry): Commit {
  if (atomic) return 'whole';
  if (idempotencyKey !== undefined) return 'each_head';
  return expectedOffset === undefined ? 'each_batch' : 'each_partition';
}

/** By topic, in the order of their invocations; not those that failed. */
function deletionsOf(events: readonly HistoryEvent[]): Map<string, Deletion[]> {
  const deletions = new Map<string, Deletion[]>();
  const invocations = new Map<number, Deletion & { endedAt: number }>();
  for (let at = 0; at < events.length; at++) {
    const event = events[at] as HistoryEvent;
    if (event.f !== 'delete_topic') continue;
    if (event.type === 'invoke') {
      const deletion = { invokedAt: at, endedAt: Number.POSITIVE_INFINITY };
      invocations.set(event.op, deletion);
      const others = deletions.get(event.topic);
      if (others === undefined) deletions.set(event.topic, [deletion]);
      else others.push(deletion);
      continue;
    }
    const deletion = invocations.get(event.op);
    if (deletion !== undefined && event.type !== 'info') deletion.endedAt = event.type === 'ok' ? at : FAILED;
  }
  for (const [topic, all] of deletions) {
    deletions.set(
      topic,
      all.filter(({ endedAt }) => endedAt !== FAILED),
    );
  }
  return deletions;
}

/** The end of a deletion that did nothing. */
const FAILED = -1;

function malformed(at: number, what: string): Error {
  return new Error(`Event ${at} makes no sense: ${what}.`);
}
