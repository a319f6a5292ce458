import { concatBytes, equalBytes } from '../../../../shared/log/bytes.ts';
import { dataParts, type Entry, unpackEntry } from '../../../../shared/log/head/entry.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import {
  HEAD,
  headKey,
  hotObjectKey,
  INLINE_BATCH,
  inlineBatchKey,
  NODE,
  sharedObjectKey,
  TOPIC,
  TOPICS,
} from '../../../../shared/storage/keys.ts';
import type { Attributes, Condition, ItemKey, ObjectSource, WriteResult } from '../../../../shared/storage/ports.ts';
import { conditionHolds } from '../../../../shared/storage/rules/item-writes.ts';
import type { Violation } from '../../../history/history.ts';
import { ClassicWatch } from './classic-watch.ts';
import { GroupWatch, type GroupWatchOptions } from './group-watch.ts';
import { JobWatch } from './job-watch.ts';
import { RetentionWatch } from './retention-watch.ts';
import { itemName } from './stored-facts.ts';
import { slotNameOf, TransactionWatch } from './transaction-watch.ts';

/** A write to an item that has arrived. */
export interface ArrivedWrite {
  readonly process: number;
  readonly kind: 'put' | 'update' | 'delete';
  readonly key: ItemKey;
  readonly conditions: readonly Condition[];
  readonly result: WriteResult;
}

export interface StorageWatchOptions {
  readonly isAlive: (process: number) => boolean;
  /** Simulated time. */
  readonly nowMs: () => number;
  /** Whether jobs run, which remove what nothing needs. */
  readonly hasJobs?: boolean;
  /** Whether producers use transactions. */
  readonly hasTransactions?: boolean;
  /** In runs of a consumer group: what its judge has to know. */
  readonly groups?:
    | (Pick<GroupWatchOptions, 'skewMsMax' | 'offsetsRetentionMs' | 'areClocksRight'> & { readonly isClassic: boolean })
    | undefined;
}

/** What a head has been, in the order of its entries. */
interface WatchedHead {
  readonly entries: Uint8Array[];
  readonly onceKeys: number[];
  readonly next: number[];
  firstEntry: number;
  closed: boolean;
}

/**
 * Looks at every write that arrives, and knows what must hold between the items at all times (`docs/architecture.md`,
 * "Invariants"): an entry's data is there before the entry; entries never change and are never lost; a tail node holds just
 * the entries of its sequence; once keys stay with their entries; offsets are the sum of records; a head that is closed
 * stays so, and a topic's name is not free before all its heads are.
 */
export class StorageWatch {
  readonly violations: Violation[] = [];
  /** How often rare states came about, by name. */
  readonly marks = new Map<string, number>();
  private readonly heads = new Map<string, WatchedHead>();
  private readonly nodes = new Map<string, Attributes>();
  private readonly topics = new Map<string, Attributes>();
  /** Ids of topics whose deletion has begun. */
  private readonly leaving = new Set<string>();
  /** Name of the data -> its bytes. */
  private readonly data = new Map<string, number>();
  private readonly referenced = new Set<string>();
  private readonly isAlive: (process: number) => boolean;
  private readonly nowMs: () => number;
  readonly retention = new RetentionWatch();
  /** In runs with jobs. */
  readonly jobs: JobWatch | undefined;
  /** In runs of a consumer group, by the protocol of its members. */
  readonly groups: GroupWatch | undefined;
  readonly classic: ClassicWatch | undefined;
  /** In runs of transactions. */
  readonly transactions: TransactionWatch | undefined;

  constructor({ isAlive, nowMs, hasJobs = false, hasTransactions = false, groups }: StorageWatchOptions) {
    this.isAlive = isAlive;
    this.nowMs = nowMs;
    const broken = (promise: string, message: string): void => this.broken(promise, message);
    if (groups !== undefined) {
      const options = { ...groups, nowMs, broken, mark: (name: string) => this.mark(name) };
      if (groups.isClassic) this.classic = new ClassicWatch(options);
      else this.groups = new GroupWatch(options);
    }
    if (hasTransactions)
      this.transactions = new TransactionWatch({
        nowMs,
        broken,
        mark: (name) => this.mark(name),
        isThere: (topicId) => this.topicIds().has(topicId) && !this.leaving.has(topicId),
      });
    if (!hasJobs) return;
    this.jobs = new JobWatch({
      nowMs,
      broken: (promise, message) => this.broken(promise, message),
      mark: (name) => this.mark(name),
      transactions: this.transactions,
      mayStartAt: (head, slot, offset) =>
        this.retention.mayStartAt(head, slot, offset, nowMs(), {
          compaction: (this.jobs as JobWatch).compaction,
          lastStableOffset: this.transactions?.lastStableOffset(slotNameOf(head, slot)) ?? offset,
        }),
      settingsOf: (topicId) => this.retention.settingsOf(topicId, nowMs()),
    });
  }

  mark(name: string): void {
    this.marks.set(name, (this.marks.get(name) ?? 0) + 1);
  }

  wrote(write: ArrivedWrite): void {
    const { pk } = write.key;
    this.jobs?.wrote(write);
    this.groups?.wrote(write);
    this.classic?.wrote(write);
    this.transactions?.wrote(write);
    if (write.kind === 'delete' && pk !== TOPICS) this.deleted(write);
    else if (pk.startsWith('head#')) this.wroteHead(write);
    else if (pk.startsWith('node#')) this.putNode(write);
    else if (pk.startsWith('batch#')) this.putInlineBatch(write);
    else if (pk === TOPICS) this.wroteTopic(write);
    else if (pk.startsWith('checkpoint#') && write.result.ok) this.mark('checkpoint written');
    else if (pk.startsWith('producer#')) this.mark(write.result.ok ? 'producer written down' : 'producer was newer');
    else if (pk.startsWith('idempotency#') && !write.result.ok) this.mark('idempotency key known');
  }

  putObject(key: string, bytes: number, result: 'created' | 'exists', content: () => readonly Uint8Array[]): void {
    if (result === 'created') {
      this.data.set(key, bytes);
      this.jobs?.putObject(key, concatBytes(content()));
    } else this.mark('object was there already');
  }

  /** The bytes that an object had when it was put, in runs with jobs. */
  contentOf({ key, range }: ObjectSource): Uint8Array {
    return this.jobs?.facts.data.get(key)?.content.subarray(range.start, range.end) ?? NO_BYTES;
  }

  deletedObject(key: string): void {
    this.data.delete(key);
    this.referenced.delete(key);
    this.jobs?.deletedObject(key);
  }

  signed(key: string): void {
    this.jobs?.signed(key);
  }

  /** Of a topic that is there. */
  topicId(name: string): string | undefined {
    const id = this.topics.get(name)?.[TOPIC.topicId];
    return id === undefined ? undefined : String(id);
  }

  /** Of all topics that are there. */
  topicIds(): Set<string> {
    return new Set([...this.topics.values()].map((topic) => String(topic[TOPIC.topicId])));
  }

  /** Entries that all heads have taken. */
  get commits(): number {
    let commits = 0;
    for (const { entries } of this.heads.values()) commits += entries.length;
    return commits;
  }

  /** Objects and inline batches that no head has taken an entry for. */
  get garbage(): number {
    return this.data.size - this.referenced.size;
  }

  private broken(promise: string, message: string): void {
    this.violations.push({ promise, message });
  }

  private deleted({ key, result }: ArrivedWrite): void {
    if (!result.ok) return;
    const name = itemName(key);
    this.data.delete(name);
    this.referenced.delete(name);
    this.nodes.delete(`${key.pk} ${key.sk}`);
  }

  private putInlineBatch({ key, result }: ArrivedWrite): void {
    if (!result.ok) {
      this.mark('inline batch was there already');
      return;
    }
    const data = result.attributes[INLINE_BATCH.data];
    if (data instanceof Uint8Array) this.data.set(itemName(key), data.length);
  }

  private putNode({ key, result }: ArrivedWrite): void {
    const name = `${key.pk} ${key.sk}`;
    const before = this.nodes.get(name);
    if (!result.ok) return;
    const { attributes } = result;
    if (before !== undefined) {
      this.mark('node written by a second mover');
      if (
        !sameLists(listOf(before, NODE.entries), listOf(attributes, NODE.entries)) ||
        !sameLists(listOf(before, NODE.once), listOf(attributes, NODE.once))
      )
        this.broken('R17', `Tail node ${name} was written twice, and differs.`);
    }
    this.nodes.set(name, attributes);
  }

  private wroteHead({ key, process, conditions, result, kind }: ArrivedWrite): void {
    if (!result.ok) {
      this.mark(`refused: ${refusal(conditions, result.attributes)}`);
      return;
    }
    const head = this.headOf(key.pk);
    const { attributes } = result;
    const firstEntry = Number(attributes[HEAD.firstEntry] ?? 0);
    const tail = listOf(attributes, HEAD.tail);
    const once = listOf(attributes, HEAD.once);
    const end = firstEntry + tail.length;
    if (head.closed && attributes[HEAD.closed] !== undefined && end === 0) {
      // What is left of a head of a deleted topic, so that it stays closed.
      this.mark('closed head emptied');
      return;
    }
    if (kind !== 'update' || end < head.entries.length || end > head.entries.length + 1)
      this.broken('R1', `Head ${key.pk} went from ${head.entries.length} entries to ${end}.`);
    if (end === head.entries.length + 1) {
      if (head.closed) this.broken('R2', `Head ${key.pk} took an entry after it was closed.`);
      if (!this.isAlive(process)) this.mark('commit applied after its process died');
      const packed = tail.at(-1) as Uint8Array;
      const { onceKeys } = this.takeEntry(key.pk, head, packed);
      this.jobs?.took(
        key.pk,
        packed,
        onceKeys === 0 ? [] : once.slice(-onceKeys),
        dataName(key.pk, unpackEntry(packed)),
      );
    }
    if (firstEntry !== head.firstEntry) this.moved(key.pk, head, firstEntry);
    let onceKeys = 0;
    for (let sequence = firstEntry; sequence < head.entries.length; sequence++) {
      onceKeys += head.onceKeys[sequence] as number;
      if (!equalBytes(head.entries[sequence] as Uint8Array, tail[sequence - firstEntry] ?? NO_BYTES))
        this.broken('R1', `Entry ${sequence} of head ${key.pk} changed.`);
    }
    if (once.length !== onceKeys)
      this.broken('R5', `Head ${key.pk} has ${once.length} once keys where its tail left ${onceKeys}.`);
    head.next.forEach((next, slot) => {
      if (Number(attributes[HEAD.next(slot)] ?? 0) !== next)
        this.broken('R3', `Slot ${slot} of head ${key.pk} does not end where its records end.`);
    });
    if (attributes[HEAD.closed] !== undefined) head.closed = true;
    else if (head.closed) this.broken('R2', `Head ${key.pk} was opened again.`);
  }

  private takeEntry(pk: string, head: WatchedHead, packed: Uint8Array): Entry {
    const entry: Entry = unpackEntry(packed);
    const name = dataName(pk, entry);
    const bytes = this.data.get(name) ?? -1;
    if (dataParts(entry).length > 0) this.referenced.add(name);
    this.transactions?.took(pk, entry);
    for (const part of entry.parts) {
      // Markers have no data.
      if (part.marker === undefined && part.position + part.bytes > bytes)
        this.broken('R16', `Entry ${head.entries.length} of head ${pk} points to ${name}, which lacks its bytes.`);
      head.next[part.slot] = (head.next[part.slot] ?? 0) + part.records;
    }
    head.entries.push(packed);
    head.onceKeys.push(entry.onceKeys);
    if (entry.parts.length > 1) this.mark('entry of several parts');
    return entry;
  }

  private moved(pk: string, head: WatchedHead, firstEntry: number): void {
    this.mark('tail moved');
    const name = `${pk.replace('head#', 'node#')} ${head.firstEntry.toString().padStart(16, '0')}`;
    const entries = listOf(this.nodes.get(name) ?? {}, NODE.entries);
    const gone = head.entries.slice(head.firstEntry, firstEntry);
    if (firstEntry !== head.firstEntry + TAIL_NODE_ENTRIES || !sameLists(gone, entries))
      this.broken(
        'R1',
        `Head ${pk} let go of the entries ${head.firstEntry} to ${firstEntry} where its node has others.`,
      );
    head.firstEntry = firstEntry;
  }

  private wroteTopic({ key, result }: ArrivedWrite): void {
    if (!result.ok) {
      this.mark('topic was another by then');
      return;
    }
    const { attributes } = result;
    this.retention.wroteTopic(key.sk, attributes, this.nowMs());
    const isThere = attributes[TOPIC.topicId] !== undefined && attributes[TOPIC.deleting] === undefined;
    if (attributes[TOPIC.deleting] !== undefined) this.leaving.add(String(attributes[TOPIC.topicId]));
    if (attributes[TOPIC.deleting] !== undefined) this.jobs?.facts.deleting.add(String(attributes[TOPIC.topicId]));
    const isGone = attributes[TOPIC.topicId] === undefined || attributes[TOPIC.deletedAtMs] !== undefined;
    const topic = isThere ? attributes : this.topics.get(key.sk);
    if (topic === undefined) return;
    if (isThere) this.topics.set(key.sk, attributes);
    if (isGone) this.topics.delete(key.sk);
    const heads = Math.ceil(Number(topic[TOPIC.partitions]) / Number(topic[TOPIC.partitionsPerHead]));
    for (let headNumber = 0; headNumber < heads; headNumber++) {
      const { pk } = headKey(String(topic[TOPIC.topicId]), headNumber);
      const { closed } = this.headOf(pk);
      if (isGone && !closed) this.broken('R2', `The name '${key.sk}' was free while ${pk} was open.`);
      if (isThere && closed) this.broken('R18', `The topic '${key.sk}' is there, and its ${pk} is closed.`);
    }
  }

  private headOf(pk: string): WatchedHead {
    let head = this.heads.get(pk);
    if (head === undefined) {
      head = { entries: [], onceKeys: [], next: [], firstEntry: 0, closed: false };
      this.heads.set(pk, head);
    }
    return head;
  }
}

/** The name of an entry's data: a head's pk begins the key of its inline batches, behind `batch`. */
function dataName(headPk: string, entry: Entry): string {
  const [, topicId, headNumber] = headPk.split('#') as [string, string, string];
  if (entry.location === 'shared') return sharedObjectKey(entry.batchId);
  if (entry.location === 'hot') return hotObjectKey(entry.batchId, topicId, Number(headNumber));
  return itemName(inlineBatchKey(topicId, Number(headNumber), entry.batchId));
}

const NO_BYTES = new Uint8Array(0);

/** Which condition of a write to a head did not hold, in words. */
function refusal(conditions: readonly Condition[], met: Attributes | undefined): string {
  const failed = conditions.find((condition) => !conditionHolds(met, condition));
  if (failed === undefined || !('name' in failed)) return 'unknown';
  if (failed.name === HEAD.closed) return 'the head is closed';
  if (failed.name === HEAD.firstEntry)
    return failed.if === 'equals' ? 'another moved the tail' : 'the tail has moved on';
  if (failed.name === HEAD.tail) return failed.if === 'lacks' ? 'the entry is there' : 'the tail is full';
  if (failed.name === HEAD.once) return failed.if === 'lacks' ? 'a once key is there' : 'there are more once keys';
  return 'not the expected offset';
}

function listOf(attributes: Attributes, name: string): readonly Uint8Array[] {
  const value = attributes[name];
  return Array.isArray(value) ? (value as readonly Uint8Array[]) : [];
}

function sameLists(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((bytes, i) => equalBytes(bytes, b[i] as Uint8Array));
}
