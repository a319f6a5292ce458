import { batchTimeMs } from '../../log/head/batch-id.ts';
import type { EntryPart } from '../../log/head/entry.ts';
import { type Head, nextEntry, type PlacedPart, placeNode, placeTail, TAIL_NODE_ENTRIES } from '../../log/head/head.ts';
import {
  applyBatch,
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
      const parts =
        head.firstEntry - this.asOf <= GAP_ENTRIES_MAX
          ? await partsUnlessDeleted(items, name, this.asOf, head.firstEntry)
          : undefined;
      if (parts === undefined) this.known.clear();
      else {
        for (const part of parts) this.applyKnown(part);
        this.asOf = head.firstEntry;
      }
    }
    for (const part of placeTail(head, this.asOf)) this.applyKnown(part);
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

  private applyKnown(placed: PlacedPart): void {
    const producerId = placed.part.producer?.producerId;
    if (producerId === undefined) return;
    const known = this.known.get(producerId);
    // An item may be newer than the observed head: entries that the item already includes must not be applied again.
    if (known === undefined || placed.entryNumber < Math.max(this.asOf, known.loadedAsOf)) return;
    this.known.set(producerId, { ...known, state: applyPart(known.state, placed) });
  }

  private async load(items: ItemStore, name: HeadName, head: Head, producerIds: readonly number[]): Promise<void> {
    // The checkpoint is read first: items that are read afterwards include everything below it, even if another process
    // writes the next checkpoint meanwhile.
    const from = await readCheckpoint(items, name);
    const written = await Promise.all(producerIds.map((id) => readProducer(items, name, id)));
    const moved = await partsUnlessDeleted(items, name, from, head.firstEntry);
    // Nodes are deleted only behind a checkpoint, so the next look finds a newer one.
    if (moved === undefined) return this.load(items, name, head, producerIds);
    const parts = [...moved, ...placeTail(head)];
    producerIds.forEach((id, i) => {
      const { state, belowEntry } = written[i] as ProducerItem;
      const later = parts.filter(
        (placed) => placed.part.producer?.producerId === id && placed.entryNumber >= belowEntry,
      );
      this.known.set(id, {
        state: later.reduce<ProducerState | undefined>(applyPart, state),
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
 * it is valid; only a later item replaces it, and entries that an item already includes are skipped.
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
  const byProducer = new Map<number, PlacedPart[]>();
  for (const placed of await movedParts(items, name, from, belowEntry)) {
    const producerId = placed.part.producer?.producerId;
    if (producerId === undefined) continue;
    const parts = byProducer.get(producerId);
    if (parts === undefined) byProducer.set(producerId, [placed]);
    else parts.push(placed);
  }
  for (const [producerId, parts] of byProducer) {
    const written = await readProducer(items, name, producerId);
    const state = parts.filter((placed) => placed.entryNumber >= written.belowEntry).reduce(applyPart, written.state);
    if (state === undefined) continue;
    await items.put(
      producerKey(name.topicId, name.headNumber, producerId),
      { [PRODUCER.belowEntry]: belowEntry, [PRODUCER.state]: packProducer(state), [PRODUCER.writtenAtMs]: nowMs },
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
 * since, and 1 Query for every 500 producers that ever wrote.
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
  const moved = await partsUnlessDeleted(items, name, from, head.firstEntry);
  if (moved === undefined) return headProducers(items, name, head, sinceMs);
  const producers = new Map<number, HeadProducer>();
  for (const [producerId, { state, writtenAtMs }] of written)
    if (state !== undefined)
      producers.set(producerId, { producerId, state, lastParts: new Map(), activeAtMs: writtenAtMs });
  for (const placed of [...moved, ...placeTail(head)]) {
    const { part, entry, entryNumber } = placed;
    if (part.producer === undefined) continue;
    const { producerId } = part.producer;
    const known = producers.get(producerId);
    const isIncluded = entryNumber < (written.get(producerId)?.belowEntry ?? 0);
    const state = isIncluded ? known?.state : applyPart(known?.state, placed);
    if (state === undefined) continue;
    producers.set(producerId, {
      producerId,
      state,
      lastParts: new Map([...(known?.lastParts ?? []), [part.slot, part]]),
      activeAtMs: Math.max(known?.activeAtMs ?? 0, batchTimeMs(entry.batchId)),
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
      // Every producer that ever wrote has an item: memory must not hold them all.
      if (writtenAtMs >= sinceMs) producers.set(Number(sk), { ...producerFromAttributes(attributes), writtenAtMs });
    }
    from = `${page.items.at(-1)?.sk}\0`;
    more = page.more;
  }
  return producers;
}

function applyPart(state: ProducerState | undefined, placed: PlacedPart): ProducerState | undefined {
  const batch = producedBatch(placed.part);
  return batch === undefined ? state : applyBatch(state, batch, placed.baseOffset);
}

async function movedParts(items: ItemStore, name: HeadName, from: number, to: number): Promise<PlacedPart[]> {
  const parts: PlacedPart[] = [];
  for await (const node of nodesBetween(items, name, from, to)) {
    parts.push(...placeNode(node).filter((placed) => placed.part.producer !== undefined));
  }
  return parts;
}

/** `undefined` if some of the nodes have been deleted since they were merged. */
async function partsUnlessDeleted(
  items: ItemStore,
  name: HeadName,
  from: number,
  to: number,
): Promise<PlacedPart[] | undefined> {
  try {
    return await movedParts(items, name, from, to);
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
