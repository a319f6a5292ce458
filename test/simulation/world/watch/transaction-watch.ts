import { pageFromAttributes } from '../../../../shared/broker/groups/offsets/pages.ts';
import { transactionFromAttributes } from '../../../../shared/broker/transactions/items.ts';
import type { OffsetPage } from '../../../../shared/log/group/offset-page.ts';
import type { Entry } from '../../../../shared/log/head/entry.ts';
import { PRODUCER_EPOCH_MAX, TRANSACTIONAL_EPOCH_MAX } from '../../../../shared/log/limits.ts';
import type { StoredTransaction } from '../../../../shared/log/transaction/transitions.ts';
import { TRANSACTIONS } from '../../../../shared/storage/transaction-keys.ts';
import { EPOCH_MS } from '../simulated-process.ts';
import { SKEW_MS_MAX } from './retention-watch.ts';
import type { ArrivedWrite } from './storage-watch.ts';

/** A transactional id is given up so long after its last transaction. */
const UNUSED_KEPT_MS = 7 * 24 * 3_600_000;

/** A transaction: its producer id and its number. */
export type TransactionName = `${number}/${number}`;
/** A partition: topic id, head number and slot. */
export type SlotName = `${string}#${number}/${number}`;

/** What an offset belongs to. `open`: to a transaction that has no outcome yet. */
export type OffsetFate = 'plain' | 'open' | 'committed' | 'aborted' | 'marker';

/** Consecutive offsets of one slot: data, or a marker. */
export interface Span {
  readonly offset: number;
  readonly records: number;
  /** `undefined`: a plain batch. */
  readonly transaction: TransactionName | undefined;
  readonly isMarker: boolean;
}

interface HeadName {
  readonly topicId: string;
  readonly headNumber: number;
}

interface WatchedTransaction {
  /** Topic id and number of the heads that are enlisted. */
  readonly heads: Set<string>;
  readonly pages: Set<string>;
  outcome?: 'committed' | 'aborted';
}

interface WatchedSlot {
  next: number;
  readonly spans: Span[];
  /** Its first offset, by transaction. */
  readonly open: Map<TransactionName, number>;
}

export interface TransactionWatchOptions {
  /** Simulated time. */
  readonly nowMs: () => number;
  readonly broken: (promise: string, message: string) => void;
  readonly mark: (name: string) => void;
  /** Of topics that are there, or whose deletion has only begun. */
  readonly isThere: (topicId: string) => boolean;
}

/**
 * Knows each transaction from what arrives in the table: its outcome from the update that decides it, its data and markers from
 * the entries of heads, and its offsets from the pages. What must hold between them holds at every moment.
 */
export class TransactionWatch {
  private readonly transactions = new Map<TransactionName, WatchedTransaction>();
  private readonly ids = new Map<string, StoredTransaction>();
  private readonly slots = new Map<SlotName, WatchedSlot>();
  /** Head -> the transactions with a marker there. */
  private readonly marked = new Map<string, Set<TransactionName>>();
  private readonly pages = new Map<string, OffsetPage>();
  /** The metadata of all offsets that were committed: it tells them apart. */
  private readonly committedNames = new Set<string>();
  /** Metadata of an offset -> the transactions in which it was pending. */
  private readonly pendingIn = new Map<string, Set<TransactionName>>();
  /** Producer id -> the transactional id that has used it. */
  private readonly idsOf = new Map<number, string>();
  private readonly options: TransactionWatchOptions;

  constructor(options: TransactionWatchOptions) {
    this.options = options;
  }

  outcomeOf(name: TransactionName): 'committed' | 'aborted' | undefined {
    return this.transactions.get(name)?.outcome;
  }

  spansOf(slot: SlotName): readonly Span[] {
    return this.slots.get(slot)?.spans ?? [];
  }

  endOf(slot: SlotName): number {
    return this.slots.get(slot)?.next ?? 0;
  }

  /** As the entries give it now. */
  lastStableOffset(slot: SlotName): number {
    const watched = this.slots.get(slot);
    return watched === undefined ? 0 : Math.min(watched.next, ...watched.open.values());
  }

  /** The part of an entry that has the offset. */
  spanAt(slot: SlotName, at: number): Span | undefined {
    const spans = this.spansOf(slot);
    let [low, high] = [0, spans.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const { offset, records } = spans[middle] as Span;
      if (offset + records > at) high = middle;
      else low = middle + 1;
    }
    return spans[low];
  }

  fateOf(slot: SlotName, at: number): OffsetFate {
    const span = this.spanAt(slot, at);
    if (span === undefined || span.transaction === undefined) return 'plain';
    return span.isMarker ? 'marker' : (this.outcomeOf(span.transaction) ?? 'open');
  }

  isMarked(slot: SlotName, name: TransactionName): boolean {
    return this.marked.get(headOfSlot(slot))?.has(name) ?? false;
  }

  /** Whether an offset with this metadata was ever committed. */
  wasCommitted(metadata: string): boolean {
    return this.committedNames.has(metadata);
  }

  /** Transactional ids that were not given up. */
  get usedIds(): readonly string[] {
    return [...this.ids.values()].filter(({ isRetired }) => !isRetired).map(({ transactionalId }) => transactionalId);
  }

  get openIds(): readonly string[] {
    return [...this.ids.values()]
      .filter(({ phase }) => phase !== 'empty')
      .map(({ transactionalId }) => transactionalId);
  }

  /** Pages with a pending offset, and of which transactions. */
  get pending(): readonly string[] {
    return [...this.pages].flatMap(([page, { slots }]) =>
      slots.flatMap(({ pending }, slot) =>
        pending === undefined ? [] : [`${page}/${slot} of ${pending.producerId}/${pending.transaction}`],
      ),
    );
  }

  wrote({ key: { pk, sk }, kind, result }: ArrivedWrite): void {
    if (!result.ok) {
      if (pk.startsWith('txn#')) this.options.mark('transactional id had moved');
      if (pk.startsWith('offsets#')) this.options.mark('page of a transaction had changed');
      return;
    }
    if (kind === 'delete') this.checkFound(pk, sk);
    if (pk.startsWith('txn#')) this.wroteId(transactionFromAttributes(pk.slice(4), result.attributes));
    else if (pk.startsWith('offsets#')) {
      const page = kind === 'delete' ? { version: 0, slots: [] } : pageFromAttributes(result.attributes);
      this.wrotePage(`${pk.slice('offsets#'.length)}/${sk}`, page);
    }
  }

  private wroteId(now: StoredTransaction | undefined): void {
    if (now === undefined) return;
    const { broken } = this.options;
    const before = this.ids.get(now.transactionalId);
    this.ids.set(now.transactionalId, now);
    this.checkProducer(before, now);
    const name: TransactionName = `${now.producer.producerId}/${now.number}`;
    if (now.phase !== 'empty') {
      const known = this.transactionOf(name);
      for (const { topicId, headNumber } of now.participants.heads) known.heads.add(`${topicId}#${headNumber}`);
      for (const page of now.participants.pages) known.pages.add(`${page.group}/${page.topicId}#${page.page}`);
      if (now.phase !== 'open') this.decide(name, known, now);
    }
    if (before === undefined || before.phase === 'empty' || before.number === now.number) return;
    if (before.phase === 'open') broken('R7', `Transaction ${before.number} of ${now.transactionalId} was left open.`);
    this.options.mark(`transaction finished: ${before.phase}`);
    this.checkFinished(`${before.producer.producerId}/${before.number}`);
  }

  /** Whoever is held up finds a transactional id by its producer, and the sweep finds it by the listing. */
  private checkFound(pk: string, sk: string): void {
    const { broken } = this.options;
    const listed = pk === TRANSACTIONS ? this.ids.get(sk) : undefined;
    if (listed?.isRetired === false) broken('R19', `${sk} is not listed any more.`);
    const match = /^producer-name#(\d+)$/.exec(pk);
    const named = this.ids.get(this.idsOf.get(Number(match?.[1])) ?? '');
    if (named?.isRetired === false && named.producer.producerId === Number(match?.[1]))
      broken('R19', `Producer ${named.producer.producerId} does not lead to ${named.transactionalId} any more.`);
  }

  /** A producer id belongs to one transactional id, its epochs only rise, and nobody goes on with the last one. */
  private checkProducer(before: StoredTransaction | undefined, now: StoredTransaction): void {
    const { broken, mark, nowMs } = this.options;
    const { transactionalId, phase, isRetired } = now;
    const { producerId, producerEpoch } = now.producer;
    const about = `Producer ${producerId} of ${transactionalId}`;
    const owner = this.idsOf.get(producerId);
    const isNew = before?.producer.producerId !== producerId;
    if (isNew && owner !== undefined) broken('R8', `${about} was one of ${owner} before.`);
    this.idsOf.set(producerId, transactionalId);
    if (producerEpoch > PRODUCER_EPOCH_MAX) broken('R8', `${about} has the epoch ${producerEpoch}.`);
    if (phase === 'empty' && producerEpoch > TRANSACTIONAL_EPOCH_MAX)
      broken('R8', `${about} goes on with its last epoch.`);
    if (before === undefined) return;
    if (!isNew && producerEpoch < before.producer.producerEpoch)
      broken('R8', `${about} went from epoch ${before.producer.producerEpoch} to ${producerEpoch}.`);
    if (isNew && before.producer.producerEpoch >= TRANSACTIONAL_EPOCH_MAX) mark('producer id used up');
    if (isNew && before.isRetired) mark('retired transactional id initialised again');
    if (!isRetired || before.isRetired) return;
    mark('transactional id retired');
    if (before.phase !== 'empty')
      broken('R19', `${transactionalId} was retired while its transaction was ${before.phase}.`);
    if (EPOCH_MS + nowMs() - before.usedAtMs < UNUSED_KEPT_MS - SKEW_MS_MAX)
      broken('R8', `${transactionalId} was retired, and was used less than a week ago.`);
  }

  private decide(name: TransactionName, known: WatchedTransaction, now: StoredTransaction): void {
    const outcome = now.phase === 'committing' ? 'committed' : 'aborted';
    if (known.outcome !== undefined && known.outcome !== outcome)
      this.options.broken('R7', `Transaction ${name} was ${known.outcome}, and then ${outcome}.`);
    known.outcome ??= outcome;
    const heads = new Set(now.participants.heads.map(({ topicId, headNumber }) => `${topicId}#${headNumber}`));
    for (const head of known.heads)
      if (!heads.has(head)) this.options.broken('R7', `Transaction ${name} has lost its head ${head}.`);
  }

  private checkFinished(name: TransactionName): void {
    const { broken, isThere } = this.options;
    for (const [slot, { open }] of this.slots) {
      if (open.has(name) && isThere(topicOfSlot(slot))) broken('R7', `${name} is finished, and open in ${slot}.`);
    }
    for (const head of this.transactions.get(name)?.heads ?? []) {
      if (this.marked.get(head)?.has(name) !== true && isThere(head.split('#')[0] as string))
        broken('R8', `${name} is finished, and has no marker in head ${head}.`);
    }
    for (const [page, { slots }] of this.pages)
      for (const slot of slots) {
        const pending = slot?.pending;
        if (pending === undefined || `${pending.producerId}/${pending.transaction}` !== name) continue;
        // What comes after the page was settled was never acknowledged as part of it, and is dropped.
        this.options.mark('pending offset behind the end');
        if (!this.transactions.get(name)?.pages.size) broken('R7', `${name} has a pending offset in ${page} only.`);
      }
  }

  /** An entry that a head has taken. */
  took(pk: string, entry: Entry): void {
    const head = pk.slice('head#'.length);
    const { broken } = this.options;
    const marked = this.marked.get(head) ?? new Set();
    this.marked.set(head, marked);
    for (const { slot, records, producer, marker } of entry.parts) {
      const slotName = `${head}/${slot}` as SlotName;
      const watched: WatchedSlot = this.slots.get(slotName) ?? { next: 0, spans: [], open: new Map() };
      this.slots.set(slotName, watched);
      const offset = watched.next;
      watched.next += records;
      const [id, number] = marker
        ? [marker.producerId, marker.transaction]
        : [producer?.producerId, producer?.transaction];
      const transaction: TransactionName | undefined =
        id === undefined || number === undefined ? undefined : `${id}/${number}`;
      watched.spans.push({ offset, records, transaction, isMarker: marker !== undefined });
      if (transaction === undefined) continue;
      if (marker !== undefined) {
        if (!watched.open.delete(transaction)) broken('R7', `${transaction} is marked in ${slotName}, without data.`);
        continue;
      }
      if (marked.has(transaction)) broken('R8', `${slotName} has data of ${transaction} behind its marker.`);
      if (this.transactions.get(transaction)?.heads.has(head) !== true)
        broken('R7', `Head ${head} has data of ${transaction}, and is not enlisted in it.`);
      if (!watched.open.has(transaction)) watched.open.set(transaction, offset);
    }
    for (const marker of entry.markers ?? []) {
      const name: TransactionName = `${marker.producerId}/${marker.transaction}`;
      const { outcome } = this.transactionOf(name);
      if (outcome !== marker.outcome)
        broken('R7', `${name} is ${outcome}, and marked as ${marker.outcome} in ${head}.`);
      if (marked.has(name)) broken('R7', `${name} is marked twice in ${head}.`);
      marked.add(name);
      this.options.mark(marker.slots.length === 0 ? 'marker without data' : `marker: ${marker.outcome}`);
      for (const [slot, watched] of this.slots)
        if (headOfSlot(slot) === head && watched.open.has(name))
          broken('R7', `${name} is marked in ${head}, and still open in ${slot}.`);
    }
  }

  private wrotePage(name: string, now: OffsetPage): void {
    const before = this.pages.get(name);
    this.pages.set(name, now);
    const { broken } = this.options;
    now.slots.forEach(({ committed, pending, owner }, slot) => {
      const metadata = pending?.committed.metadata;
      if (pending !== undefined && metadata !== undefined) {
        const transactions = this.pendingIn.get(metadata) ?? new Set();
        // The metadata names the member that commits, if it is one.
        const [memberId] = metadata.split('|');
        if (transactions.size === 0 && memberId !== '' && owner?.memberId !== memberId)
          broken('R12', `Member ${memberId} has set ${metadata} in ${name}/${slot}, which ${owner?.memberId} owns.`);
        transactions.add(`${pending.producerId}/${pending.transaction}`);
        this.pendingIn.set(metadata, transactions);
      }
      const was = before?.slots[slot]?.committed;
      if (committed === undefined || (was?.metadata === committed.metadata && was.offset === committed.offset)) return;
      const place = `${name}/${slot}`;
      if (this.committedNames.has(committed.metadata))
        broken('R7', `Offset ${committed.metadata} of ${place} was committed twice.`);
      this.committedNames.add(committed.metadata);
      this.options.mark('offset of a transaction committed');
      const outcomes = [...(this.pendingIn.get(committed.metadata) ?? [])].map((each) => this.outcomeOf(each));
      if (!outcomes.includes('committed'))
        broken('R7', `Offset ${committed.metadata} of ${place} is committed, and its transaction is ${outcomes}.`);
    });
  }

  private transactionOf(name: TransactionName): WatchedTransaction {
    const known = this.transactions.get(name) ?? { heads: new Set(), pages: new Set() };
    this.transactions.set(name, known);
    return known;
  }
}

export function slotNameOf({ topicId, headNumber }: HeadName, slot: number): SlotName {
  return `${topicId}#${headNumber}/${slot}`;
}

function headOfSlot(slot: SlotName): string {
  return slot.slice(0, slot.lastIndexOf('/'));
}

function topicOfSlot(slot: SlotName): string {
  return slot.slice(0, slot.indexOf('#'));
}
