import { batchTimeMs } from '../../log/head/batch-id.ts';
import type { Entry, EntryMarker, EntryPart } from '../../log/head/entry.ts';
import {
  type Head,
  nextEntry,
  type PlacedPart,
  placeParts,
  type SlotTotals,
  TAIL_NODE_ENTRIES,
} from '../../log/head/head.ts';
import {
  applyBatch,
  applyMarker,
  type ProducerState,
  packProducer,
  producedBatch,
  unpackProducer,
} from '../../log/head/producer.ts';
import { CHECKPOINT, checkpointKey, PRODUCER, producerKey, producerPartitionKey } from '../../storage/keys.ts';
import type { Attributes, ItemStore } from '../../storage/ports.ts';
import { type HeadName, nodesBetween } from './items.ts';
import { firstEntryKept } from './segment-list-store.ts';

/** A gap of up to this many entries is read; after a larger gap each producer is loaded again. */
const GAP_ENTRIES_MAX = 8 * TAIL_NODE_ENTRIES;
const PRODUCERS_KEPT_MAX = 10_000;
/** Longer than an id is young (`YoungProducers`), so that a young id whose state is unknown has written nothing. */
const STATE_LIFETIME_MS = 72 * 3_600_000;

interface KnownProducer {
  /** The producer's state; `undefined` if the producer is known to have written nothing. */
  readonly state: ProducerState | undefined;
  /** When the state was loaded, it included every entry below this number. */
  readonly loadedAsOf: number;
}

/**
 * The known state of the idempotent producers of one head, as of an entry number. It is derived from the entries in the
 * tail, the entries in the tail nodes since the last checkpoint, and the producer items of that checkpoint.
 */
export class HeadProducers {
  private asOf = 0;
  private readonly known = new Map<number, KnownProducer>();

  stateOf(producerId: number): ProducerState | undefined {
    return this.known.get(producerId)?.state;
  }

  /**
   * Brings the state of these producers up to `head`. Usually costs no request; after a gap 1 Query. For producers seen for
   * the first time it costs 1 GetItem each, 1 GetItem for the checkpoint, and 1 or 2 Queries.
   */
  async bringTo(items: ItemStore, name: HeadName, head: Head, producerIds: readonly number[]): Promise<void> {
    if (this.asOf < head.firstEntry && this.known.size > 0) {
      const events =
        head.firstEntry - this.asOf <= GAP_ENTRIES_MAX
          ? await eventsUnlessDeleted(items, name, this.asOf, head.firstEntry)
          : undefined;
      if (events === undefined) this.known.clear();
      else {
        for (const event of events) this.applyKnown(event);
        this.asOf = head.firstEntry;
      }
    }
    for (const event of eventsOfTail(head, this.asOf)) this.applyKnown(event);
    this.asOf = Math.max(this.asOf, nextEntry(head));
    const missing: number[] = [];
    for (const id of new Set(producerIds)) {
      const known = this.known.get(id);
      if (known === undefined) missing.push(id);
      else this.keepLongest(id, known);
    }
    if (missing.length > 0) await this.load(items, name, head, missing);
    this.dropOldest();
  }

  /** Moves a producer to the end of the map, which is in order of use: a commit's producers must not be dropped first. */
  private keepLongest(id: number, known: KnownProducer): void {
    this.known.delete(id);
    this.known.set(id, known);
  }

  private applyKnown(event: ProducerEvent): void {
    const known = this.known.get(event.producerId);
    // An item may be newer than the observed head: entries that the item already includes must not be applied again.
    if (known === undefined || event.entryNumber < Math.max(this.asOf, known.loadedAsOf)) return;
    this.known.set(event.producerId, { ...known, state: applyEvent(known.state, event) });
  }

  private async load(items: ItemStore, name: HeadName, head: Head, producerIds: readonly number[]): Promise<void> {
    // The checkpoint is read first: items that are read afterwards include everything below it, even if another process
    // writes the next checkpoint meanwhile.
    const from = await readCheckpoint(items, name);
    const written = await Promise.all(producerIds.map((id) => readProducer(items, name, id)));
    const moved = await eventsUnlessDeleted(items, name, from, head.firstEntry);
    // Nodes are deleted only behind a checkpoint, so the next look finds a newer one.
    if (moved === undefined) return this.load(items, name, head, producerIds);
    const events = [...moved, ...eventsOfTail(head)];
    producerIds.forEach((id, i) => {
      const { state, belowEntry } = written[i] as ProducerItem;
      const later = events.filter(({ producerId, entryNumber }) => producerId === id && entryNumber >= belowEntry);
      this.known.set(id, {
        state: later.reduce<ProducerState | undefined>(applyEvent, state),
        loadedAsOf: Math.max(belowEntry, nextEntry(head)),
      });
    });
  }

  private dropOldest(): void {
    for (const id of this.known.keys()) {
      if (this.known.size <= PRODUCERS_KEPT_MAX) return;
      this.known.delete(id);
    }
  }
}

/**
 * Stores the states of all producers in the tail nodes since the last checkpoint, up to `belowEntry`, and then the
 * checkpoint itself. It is safe to run twice at once and to stop anywhere. Each item records the entry number up to which
 * it is valid; only a later item replaces it, and entries that an item already includes are skipped. An item expires 72 hours
 * after the last checkpoint before which its producer wrote.
 * Costs 1 GetItem + 1 Query + 1 UpdateItem, and 1 GetItem + 1 PutItem for each producer that wrote.
 */
export async function checkpointProducers(
  items: ItemStore,
  name: HeadName,
  belowEntry: number,
  nowMs: number,
): Promise<void> {
  const from = await readCheckpoint(items, name);
  if (from >= belowEntry) return;
  const byProducer = new Map<number, ProducerEvent[]>();
  for (const event of await movedEvents(items, name, from, belowEntry)) {
    const events = byProducer.get(event.producerId);
    if (events === undefined) byProducer.set(event.producerId, [event]);
    else events.push(event);
  }
  for (const [producerId, events] of byProducer) {
    const written = await readProducer(items, name, producerId);
    const state = events
      .filter(({ entryNumber }) => entryNumber >= written.belowEntry)
      .reduce(applyEvent, written.state);
    if (state === undefined) continue;
    // The state of an open transaction must not be forgotten; its marker is an event of a later checkpoint.
    const isOpen = state.slots.some((slot) => slot?.open !== undefined);
    await items.put(
      producerKey(name.topicId, name.headNumber, producerId),
      {
        [PRODUCER.belowEntry]: belowEntry,
        [PRODUCER.state]: packProducer(state),
        [PRODUCER.writtenAtMs]: nowMs,
        ...(isOpen ? {} : { [PRODUCER.expiresAt]: Math.ceil((nowMs + STATE_LIFETIME_MS) / 1_000) }),
      },
      [{ if: 'at_most', name: PRODUCER.belowEntry, value: belowEntry - 1 }],
    );
  }
  await items.update(
    checkpointKey(name.topicId, name.headNumber),
    [{ do: 'set', name: CHECKPOINT.belowEntry, value: belowEntry }],
    [{ if: 'at_most', name: CHECKPOINT.belowEntry, value: belowEntry - 1 }],
  );
}

/** A producer that has written to a head. */
export interface HeadProducer {
  readonly producerId: number;
  readonly state: ProducerState;
  /** Its last part for each slot; only parts since the last checkpoint are known. */
  readonly lastParts: ReadonlyMap<number, EntryPart>;
  /** It wrote at this time, or up to a checkpoint before it. */
  readonly activeAtMs: number;
}

/**
 * All producers that have written to the head since `sinceMs`. 1 GetItem for the checkpoint, 1 or 2 Queries for the tail nodes
 * since, and 1 Query for every 500 producers whose states are kept.
 */
export async function headProducers(
  items: ItemStore,
  name: HeadName,
  head: Head,
  sinceMs: number,
): Promise<HeadProducer[]> {
  // In the order of `HeadProducers.load`, and for the same reasons.
  const from = await readCheckpoint(items, name);
  const written = await readProducers(items, name, sinceMs);
  const moved = await eventsUnlessDeleted(items, name, from, head.firstEntry);
  if (moved === undefined) return headProducers(items, name, head, sinceMs);
  const producers = new Map<number, HeadProducer>();
  for (const [producerId, { state, writtenAtMs }] of written)
    if (state !== undefined)
      producers.set(producerId, { producerId, state, lastParts: new Map(), activeAtMs: writtenAtMs });
  for (const event of [...moved, ...eventsOfTail(head)]) {
    const { producerId, entryNumber, writtenAtMs, placed } = event;
    const known = producers.get(producerId);
    const isIncluded = entryNumber < (written.get(producerId)?.belowEntry ?? 0);
    const state = isIncluded ? known?.state : applyEvent(known?.state, event);
    if (state === undefined) continue;
    const lastParts = new Map(known?.lastParts);
    if (placed !== undefined) lastParts.set(placed.part.slot, placed.part);
    producers.set(producerId, {
      producerId,
      state,
      lastParts,
      activeAtMs: Math.max(known?.activeAtMs ?? 0, writtenAtMs),
    });
  }
  return [...producers.values()].filter(({ activeAtMs }) => activeAtMs >= sinceMs);
}

const PRODUCERS_PER_QUERY = 500;

interface ListedProducer extends ProducerItem {
  readonly writtenAtMs: number;
}

async function readProducers(items: ItemStore, name: HeadName, sinceMs: number): Promise<Map<number, ListedProducer>> {
  const pk = producerPartitionKey(name.topicId, name.headNumber);
  const producers = new Map<number, ListedProducer>();
  for (let from = '', more = true; more; ) {
    const page = await items.query({ pk, from, limit: PRODUCERS_PER_QUERY });
    for (const { sk, attributes } of page.items) {
      const writtenAtMs = Number(attributes[PRODUCER.writtenAtMs] ?? 0);
      // Items of three days can be many: memory must not hold them all.
      if (writtenAtMs >= sinceMs) producers.set(Number(sk), { ...producerFromAttributes(attributes), writtenAtMs });
    }
    from = `${page.items.at(-1)?.sk}\0`;
    more = page.more;
  }
  return producers;
}

/** What an entry tells of a producer: a batch of it, or the end of its transaction. */
interface ProducerEvent {
  readonly producerId: number;
  readonly entryNumber: number;
  readonly writtenAtMs: number;
  /** The batch; `undefined`: the marker. */
  readonly placed: PlacedPart | undefined;
  readonly marker: EntryMarker | undefined;
}

/** The events of consecutive entries, in order: within an entry the markers come last. */
function eventsOf(
  entries: readonly Entry[],
  firstEntry: number,
  before: readonly SlotTotals[],
  from = firstEntry,
): ProducerEvent[] {
  const events: ProducerEvent[] = [];
  for (const placed of placeParts(entries, firstEntry, before, from)) {
    const { entryNumber, entry, part } = placed;
    if (part.producer === undefined) continue;
    const { producerId } = part.producer;
    events.push({ producerId, entryNumber, writtenAtMs: batchTimeMs(entry.batchId), placed, marker: undefined });
  }
  let hasMarkers = false;
  for (const [i, { markers = [], batchId }] of entries.entries()) {
    if (firstEntry + i < from) continue;
    for (const marker of markers) {
      const { producerId } = marker;
      events.push({
        producerId,
        entryNumber: firstEntry + i,
        writtenAtMs: batchTimeMs(batchId),
        placed: undefined,
        marker,
      });
      hasMarkers = true;
    }
  }
  // The sort is stable: a batch of the same entry stays before the marker.
  return hasMarkers ? events.sort((a, b) => a.entryNumber - b.entryNumber) : events;
}

function eventsOfTail({ tail, firstEntry, partitions }: Head, from?: number): ProducerEvent[] {
  return eventsOf(
    tail.map(({ entry }) => entry),
    firstEntry,
    partitions.map(({ totalsBeforeTail }) => totalsBeforeTail),
    from,
  );
}

function applyEvent(state: ProducerState | undefined, { placed, marker }: ProducerEvent): ProducerState | undefined {
  if (marker !== undefined) return applyMarker(state, marker);
  const batch = placed && producedBatch(placed.part);
  return placed === undefined || batch === undefined ? state : applyBatch(state, batch, placed.baseOffset);
}

async function movedEvents(items: ItemStore, name: HeadName, from: number, to: number): Promise<ProducerEvent[]> {
  const events: ProducerEvent[] = [];
  for await (const { entries, firstEntry, before } of nodesBetween(items, name, from, to))
    events.push(...eventsOf(entries, firstEntry, before));
  return events;
}

/** `undefined` if some of the nodes have been deleted since they were merged. */
async function eventsUnlessDeleted(
  items: ItemStore,
  name: HeadName,
  from: number,
  to: number,
): Promise<ProducerEvent[] | undefined> {
  try {
    return await movedEvents(items, name, from, to);
  } catch (error) {
    await firstEntryKept(items, name, from, error, (request) => request());
    return undefined;
  }
}

async function readCheckpoint(items: ItemStore, name: HeadName): Promise<number> {
  const { attributes } = await items.get(checkpointKey(name.topicId, name.headNumber));
  return Number(attributes?.[CHECKPOINT.belowEntry] ?? 0);
}

interface ProducerItem {
  readonly state: ProducerState | undefined;
  /** The item includes every entry below this number. */
  readonly belowEntry: number;
}

async function readProducer(items: ItemStore, name: HeadName, producerId: number): Promise<ProducerItem> {
  const { attributes } = await items.get(producerKey(name.topicId, name.headNumber, producerId));
  return producerFromAttributes(attributes);
}

function producerFromAttributes(attributes: Attributes | undefined): ProducerItem {
  const packed = attributes?.[PRODUCER.state];
  if (!(packed instanceof Uint8Array)) return { state: undefined, belowEntry: 0 };
  return { state: unpackProducer(packed), belowEntry: Number(attributes?.[PRODUCER.belowEntry] ?? 0) };
}
