import { type Entry, unpackEntry } from '../../../../shared/log/head/entry.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import { unpackSharers } from '../../../../shared/log/head/sharers.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import {
  CHECKPOINT,
  checkpointKey,
  HEAD,
  INLINE_BATCH,
  parseDueSortKey,
  parseHotKey,
  SEGMENT_LIST,
} from '../../../../shared/storage/keys.ts';
import type { Attributes } from '../../../../shared/storage/ports.ts';
import { CompactionWatch } from './compaction-watch.ts';
import { checkList, isMergeDue, storedName } from './list-watch.ts';
import type { ArrivedWrite } from './storage-watch.ts';
import { type HeadFacts, headOfKey, itemName, StoredFacts } from './stored-facts.ts';
import { slotNameOf, type TransactionWatch } from './transaction-watch.ts';
import { TrueLogs } from './true-log.ts';

/** What readers and holders of fetch plans may count on, whatever the clocks of the jobs say. */
const READERS_MS = 20 * 60_000;
const SIGNED_MS = 15 * 60_000;

export interface JobWatchOptions {
  /** Simulated time. */
  readonly nowMs: () => number;
  readonly broken: (promise: string, message: string) => void;
  readonly mark: (name: string) => void;
  /** In runs of transactions. */
  readonly transactions: TransactionWatch | undefined;
  /** Whether the log may start at this offset by now. */
  readonly mayStartAt: (head: HeadFacts, slot: number, offset: number) => boolean;
  /** The settings of a topic that a process may go by. */
  readonly settingsOf: (topicId: string) => readonly Topic[];
}

/**
 * Looks at every write and every deletion of the jobs that look after segments: nothing goes that an entry, a list, a reader
 * of the last 20 minutes or a signed URL still needs, or that a late commit could still refer to.
 */
export class JobWatch {
  readonly facts = new StoredFacts();
  readonly logs = new TrueLogs(this.facts);
  readonly compaction: CompactionWatch;
  private readonly options: JobWatchOptions;

  constructor(options: JobWatchOptions) {
    this.options = options;
    this.compaction = new CompactionWatch({ ...options, facts: this.facts, logs: this.logs });
  }

  wrote({ key, kind, result }: ArrivedWrite): void {
    if (!result.ok) return;
    const name = itemName(key);
    const { facts } = this;
    const { pk } = key;
    if (kind === 'delete') {
      if (!facts.items.has(name)) return;
      this.deletesItem(pk, key.sk, name);
      facts.items.delete(name);
      return;
    }
    facts.items.set(name, { key, attributes: result.attributes });
    if (pk.startsWith('batch#')) {
      const data = result.attributes[INLINE_BATCH.data];
      if (data instanceof Uint8Array) facts.data.set(name, { bytes: data.length, content: data, isThere: true });
    } else if (pk.startsWith('head#')) this.wroteHead(headOfKey(facts, pk), result.attributes);
    else if (pk.startsWith('segments#')) {
      const head = headOfKey(facts, pk);
      if (result.attributes[SEGMENT_LIST.list] === undefined) this.wroteAnnounced(head, name);
      else {
        this.options.mark('segment list written');
        const { nowMs, broken, mark } = this.options;
        checkList(facts, head, result.attributes, nowMs(), broken, mark, this.compaction);
        this.checkStable(head);
      }
    }
  }

  /** What is merged lies below the last stable offset: a segment never changes, and lists what was aborted. */
  private checkStable(head: HeadFacts): void {
    head.list?.totals.forEach((total, slot) => {
      const stable = this.options.transactions?.lastStableOffset(slotNameOf(head, slot)) ?? Number.POSITIVE_INFINITY;
      if ((total?.nextOffset ?? 0) > stable)
        this.broken(
          'R7',
          `${slotNameOf(head, slot)} is merged up to ${total?.nextOffset}, and stable up to ${stable}.`,
        );
    });
  }

  /** An object was created. */
  putObject(key: string, content: Uint8Array): void {
    this.facts.data.set(key, { bytes: content.length, content, isThere: true });
    const match = /^segments\/([\w-]+)\/(\d+)\//.exec(key);
    if (match !== null)
      this.wroteAnnounced(this.facts.head(match[1] as string, Math.floor(Number(match[2]) / 16)), key);
  }

  deletedObject(key: string): void {
    const stored = this.facts.data.get(key);
    if (stored === undefined || !stored.isThere) return;
    stored.isThere = false;
    const signedAtMs = this.facts.signedAtMs.get(key);
    if (signedAtMs !== undefined && this.options.nowMs() - signedAtMs < SIGNED_MS)
      this.broken('R14', `${key} was deleted ${this.agoOf(signedAtMs)} after a range of it was signed.`);
    const match = /^segments\/([\w-]+)\/(\d+)\//.exec(key);
    if (match === null) this.deletesData(key);
    else this.deletesListed(this.facts.head(match[1] as string, Math.floor(Number(match[2]) / 16)), key);
  }

  signed(key: string): void {
    this.facts.signedAtMs.set(key, this.options.nowMs());
  }

  /** A head has taken an entry. */
  took(pk: string, packed: Uint8Array, once: readonly Uint8Array[], dataName: string): void {
    const head = headOfKey(this.facts, pk);
    const entry: Entry = unpackEntry(packed);
    const parts = entry.parts.map(({ slot, records }) => {
      const baseOffset = head.next[slot] ?? 0;
      head.next[slot] = baseOffset + records;
      return { slot, baseOffset, endOffset: baseOffset + records };
    });
    const taken = { entry, dataName: parts.length > 0 ? dataName : undefined, parts, once, releasedAtMs: undefined };
    head.entries.push(taken);
    if (taken.dataName === undefined) return;
    const entries = this.facts.entriesOf.get(dataName);
    if (entries === undefined) this.facts.entriesOf.set(dataName, [{ head, taken }]);
    else entries.push({ head, taken });
    if (head.entries.length === 1 && !isMergeDue(this.facts, head))
      this.broken('R16', `Head ${pk} took its first entry, and nothing says when it is merged.`);
  }

  private wroteHead(head: HeadFacts, attributes: Attributes): void {
    const nowMs = this.options.nowMs();
    head.firstEntry = Number(attributes[HEAD.firstEntry] ?? 0);
    if (attributes[HEAD.closed] !== undefined) head.closedAtMs ??= nowMs;
    if (head.closedAtMs !== undefined) return;
    const refusesBeforeMs = Number(attributes[HEAD.refusesBefore] ?? 0);
    if (refusesBeforeMs < head.refusesBeforeMs)
      this.broken('R16', `Head ${head.topicId}#${head.headNumber} accepts data again that it refused.`);
    if (refusesBeforeMs > head.refusesBeforeMs) this.options.mark('old data refused from now on');
    head.refusesBeforeMs = refusesBeforeMs;
    let isRaised = false;
    for (const slot of head.next.keys()) {
      const start = Number(attributes[HEAD.start(slot)] ?? 0);
      const before = head.start[slot] ?? 0;
      if (start === before) continue;
      const about = `Slot ${slot} of head ${head.topicId}#${head.headNumber}`;
      if (start < before) this.broken('R14', `${about} starts at ${start} again, after ${before}.`);
      if (start > (head.next[slot] ?? 0)) this.broken('R14', `${about} starts at ${start}, behind its end.`);
      if (!this.options.mayStartAt(head, slot, start))
        this.broken('R14', `${about} starts at ${start}, and some of the records below it have not expired.`);
      head.start[slot] = start;
      isRaised = true;
    }
    if (!isRaised) return;
    this.options.mark('log start raised');
    for (const taken of head.entries)
      if (taken.parts.every(({ slot, endOffset }) => endOffset <= (head.start[slot] ?? 0)))
        taken.releasedAtMs ??= nowMs;
  }

  /** A segment or page was written. */
  private wroteAnnounced(head: HeadFacts, name: string): void {
    const isAnnounced = head.list?.announcements.some(({ names }) =>
      names.some((one) => storedName(head, one) === name),
    );
    if (isAnnounced) return;
    this.options.mark('written after its announcement was given up');
    this.facts.writtenInVain.add(name);
  }

  private deletesItem(pk: string, sk: string, name: string): void {
    const { facts } = this;
    if (pk.startsWith('batch#')) {
      const stored = facts.data.get(name);
      if (stored !== undefined) stored.isThere = false;
      this.deletesData(name);
    } else if (pk.startsWith('due#')) this.deletesDue(pk, sk);
    else if (pk.startsWith('node#')) this.deletesNode(headOfKey(facts, pk), Number(sk));
    else if (pk.startsWith('aborted#')) this.deletesAborted(headOfKey(facts, pk), Number(sk));
    else if (pk.startsWith('segments#')) {
      const head = headOfKey(facts, pk);
      if (sk === '-') this.needsClosed(head, name);
      else this.deletesListed(head, name);
    } else if (pk.startsWith('head#')) this.broken('R2', `${name} was deleted, and a late commit would make it again.`);
    else if (/^(checkpoint|producer)#/.test(pk)) this.needsClosed(headOfKey(facts, pk), name);
  }

  private needsClosed({ closedAtMs }: HeadFacts, name: string): void {
    if (closedAtMs === undefined) this.broken('R1', `${name} was deleted while its topic is there.`);
    else if (this.isTooEarly(closedAtMs))
      this.broken('R14', `${name} was deleted ${this.agoOf(closedAtMs)} after its topic was.`);
  }

  private deletesListed(head: HeadFacts, name: string): void {
    if (head.closedAtMs !== undefined) {
      this.needsClosed(head, name);
      return;
    }
    if (head.named.has(name)) this.broken('R14', `${name} was deleted while its list names it.`);
    const unlistedAtMs = head.unlisted.get(name);
    if (unlistedAtMs !== undefined && this.isTooEarly(unlistedAtMs))
      this.broken('R14', `${name} was deleted ${this.agoOf(unlistedAtMs)} after its list gave it up.`);
  }

  private deletesAborted(head: HeadFacts, firstEntry: number): void {
    const about = `The list of what tail node ${firstEntry} of head ${head.topicId}#${head.headNumber} aborts`;
    if (head.closedAtMs !== undefined) {
      this.needsClosed(head, about);
      return;
    }
    this.options.mark('list of aborted transactions deleted');
    this.needsMerged(head, firstEntry + TAIL_NODE_ENTRIES, 'R7', about);
  }

  /** Readers go by what was in nodes for a while after these were merged. */
  private needsMerged(head: HeadFacts, end: number, promise: string, about: string): void {
    const merged = head.merged.find(({ toEntry }) => toEntry >= end);
    if (merged === undefined) this.broken(promise, `${about} was deleted before it was merged.`);
    else if (this.isTooEarly(merged.atMs))
      this.broken('R14', `${about} was deleted ${this.agoOf(merged.atMs)} after it was merged.`);
  }

  private deletesNode(head: HeadFacts, firstEntry: number): void {
    if (head.closedAtMs !== undefined) {
      this.needsClosed(head, `node ${firstEntry}`);
      return;
    }
    this.options.mark('tail node deleted');
    const about = `Tail node ${firstEntry} of head ${head.topicId}#${head.headNumber}`;
    const end = firstEntry + TAIL_NODE_ENTRIES;
    this.needsMerged(head, end, 'R1', about);
    if ((head.list?.cleanedEntry ?? 0) < end) this.broken('R16', `${about} was deleted before the list said so.`);
    const checkpoint = this.facts.items.get(itemName(checkpointKey(head.topicId, head.headNumber)));
    if (Number(checkpoint?.attributes[CHECKPOINT.belowEntry] ?? 0) < end)
      this.broken('R5', `${about} was deleted before the states of its producers were stored.`);
    for (const { dataName, entry } of head.entries.slice(firstEntry, end))
      if (dataName !== undefined && entry.location !== 'shared' && !entry.continued && this.facts.hasData(dataName))
        this.broken('R16', `${about} was deleted before its data ${dataName}.`);
  }

  /** An inline batch, or a hot or shared object. */
  private deletesData(name: string): void {
    for (const { head, taken } of this.facts.entriesOf.get(name) ?? []) {
      if (head.closedAtMs !== undefined) this.needsClosed(head, name);
      else if (taken.releasedAtMs === undefined) this.broken('R1', `${name} was deleted while an entry needs it.`);
      else if (this.isTooEarly(taken.releasedAtMs))
        this.broken('R14', `${name} was deleted ${this.agoOf(taken.releasedAtMs)} after it was needed.`);
    }
    const writtenAtMs = writtenAtMsOf(name);
    for (const head of this.ownersOf(name)) {
      const last = this.facts.entriesOf.get(name)?.findLast((one) => one.head === head)?.taken;
      if (last !== undefined && !last.entry.continued) continue;
      this.options.mark(last === undefined ? 'orphan deleted' : 'rest of continued data deleted');
      if (head.closedAtMs === undefined && head.refusesBeforeMs <= writtenAtMs)
        this.broken('R16', `${name} was deleted, and head ${head.topicId}#${head.headNumber} would still accept it.`);
    }
  }

  /** The heads that may refer to the data. */
  private ownersOf(name: string): HeadFacts[] {
    const { facts } = this;
    if (name.startsWith('batch#')) return [headOfKey(facts, name)];
    const parsed = parseHotKey(name);
    if (parsed?.owner !== undefined) return [facts.head(parsed.owner.topicId, parsed.owner.headNumber)];
    const content = facts.data.get(name)?.content;
    const read = content === undefined ? undefined : unpackSharers(content);
    if (read === undefined || !('sharers' in read)) return [];
    return read.sharers.map(({ topicId, headNumber }) => facts.head(topicId, headNumber));
  }

  private deletesDue(pk: string, sk: string): void {
    const due = parseDueSortKey(sk);
    if (due === undefined || this.facts.deleting.has(due.topicId)) return;
    const head = this.facts.head(due.topicId, due.headNumber);
    const job = pk.split('#')[1] as 'merge';
    const named = head.list?.due[job];
    const counts =
      named === undefined
        ? due.version === 0 && head.entries.length > 0 && !isMergeDue(this.facts, head, sk)
        : named.version === due.version && named.atMs === due.dueAtMs;
    if (counts) this.broken('R16', `The due item ${sk} of the job ${job} was deleted while it counts.`);
  }

  private isTooEarly(sinceMs: number): boolean {
    return this.options.nowMs() - sinceMs < READERS_MS;
  }

  private agoOf(sinceMs: number): string {
    return `${Math.round((this.options.nowMs() - sinceMs) / 1_000)} s`;
  }

  private broken(promise: string, message: string): void {
    this.options.broken(promise, message);
  }
}

/** When the data with this name was written, by the clock of its writer. */
function writtenAtMsOf(name: string): number {
  const id = /([0-9a-f]{24})(?:\.|$)/.exec(name)?.[1] ?? '';
  const time = name.startsWith('batch#') ? id.slice(0, 12) : id.slice(12);
  return Number.parseInt(time, 16);
}
