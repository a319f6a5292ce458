import { LRUCache } from 'lru-cache';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import type { TailNode } from '../../log/head/head.ts';

/** The approximate memory of a batch, or of a block, in addition to its bytes. */
const BATCH_BYTES = 400;
/** Blocks that nobody took for this long do not keep others from being read ahead. */
const AHEAD_MS_MAX = 60_000;

/** Memory that several blocks are views on. It is free when none of them is kept. */
export class Chunk {
  readonly bytes: number;
  /** How many of its blocks are kept. */
  kept = 0;

  constructor(bytes: number) {
    this.bytes = bytes;
  }
}

/**
 * A cache of record batches, blocks of segments and tail nodes that drops the least recently used first. Cached data never
 * changes.
 */
export class DataCache {
  readonly #data: LRUCache<string, readonly StoredBatch[] | Uint8Array>;
  readonly #nodes: LRUCache<string, TailNode>;
  /** The blocks in `#data`, in the order in which they were put. */
  readonly #blocks = new Map<string, { readonly chunk: Chunk; readonly putAtMs: number }>();
  readonly #blockBytesMax: number;
  #blockBytes = 0;
  /** The bytes of requests under way that read ahead. */
  #reservedBytes = 0;
  readonly #fetching = new Map<string, Promise<unknown>>();

  constructor(bytesMax: number) {
    this.#data = new LRUCache({
      maxSize: Math.max(1, Math.floor((bytesMax * 3) / 4)),
      sizeCalculation: sizeOf,
      dispose: (_, key) => this.#forgetBlock(key),
    });
    this.#nodes = new LRUCache({ maxSize: Math.max(1, Math.floor(bytesMax / 8)), sizeCalculation: nodeBytes });
    this.#blockBytesMax = Math.floor(bytesMax / 2);
  }

  getBatches(key: string): readonly StoredBatch[] | undefined {
    const kept = this.#data.get(key);
    return kept instanceof Uint8Array ? undefined : kept;
  }

  putBatches(key: string, batches: readonly StoredBatch[]): void {
    this.#data.set(key, batches);
  }

  /** Returns the bytes of a block or part, unchecked. */
  getBlock(key: string): Uint8Array | undefined {
    const kept = this.#data.get(key);
    return kept instanceof Uint8Array ? kept : undefined;
  }

  hasBlock(key: string): boolean {
    return this.#blocks.has(key);
  }

  /** Keeps a block. The cache takes over `bytes`, which is no view on more bytes than those of its `chunk`. */
  putBlock(key: string, bytes: Uint8Array, nowMs: number, chunk: Chunk = new Chunk(sizeOf(bytes))): void {
    this.dropBlock(key);
    this.#data.set(key, bytes);
    // A value that is too large for the cache was not kept.
    if (!this.#data.has(key)) return;
    this.#blocks.set(key, { chunk, putAtMs: nowMs });
    if (chunk.kept++ === 0) this.#blockBytes += chunk.bytes;
  }

  /** Forgets a block that was read, or that is damaged. */
  dropBlock(key: string): void {
    if (this.#blocks.has(key)) this.#data.delete(key);
  }

  /**
   * How many bytes of blocks may be read ahead: all blocks together take up to half of the cache. So readers of many
   * partitions do not drop each other's blocks before these are taken.
   */
  aheadBytesMax(nowMs: number): number {
    for (const [key, { putAtMs }] of this.#blocks) {
      if (nowMs - putAtMs < AHEAD_MS_MAX) break;
      this.#data.delete(key);
    }
    return Math.max(0, this.#blockBytesMax - this.#blockBytes - this.#reservedBytes);
  }

  /** While `fetch` runs, its bytes count as kept, so that requests at the same time do not all take the same room. */
  async fetchAhead<Fetched>(bytes: number, fetch: () => Promise<Fetched>): Promise<Fetched> {
    this.#reservedBytes += bytes;
    try {
      return await fetch();
    } finally {
      this.#reservedBytes -= bytes;
    }
  }

  /** While `fetch` runs, further calls with the same key wait for its result. A key always stands for the same data. */
  async fetchOnce<Fetched>(key: string, fetch: () => Promise<Fetched>): Promise<Fetched> {
    const running = this.#fetching.get(key);
    if (running !== undefined) return running as Promise<Fetched>;
    const started = fetch();
    this.#fetching.set(key, started);
    try {
      return await started;
    } finally {
      this.#fetching.delete(key);
    }
  }

  getNode(key: string): TailNode | undefined {
    return this.#nodes.get(key);
  }

  putNode(key: string, node: TailNode): void {
    this.#nodes.set(key, node);
  }

  #forgetBlock(key: string): void {
    const chunk = this.#blocks.get(key)?.chunk;
    this.#blocks.delete(key);
    if (chunk !== undefined && --chunk.kept === 0) this.#blockBytes -= chunk.bytes;
  }
}

function sizeOf(data: readonly StoredBatch[] | Uint8Array): number {
  if (data instanceof Uint8Array) return data.length + BATCH_BYTES;
  return data.reduce((sum, batch) => sum + batch.bytes.length + BATCH_BYTES, 0);
}

/** The approximate memory of a decoded node. */
function nodeBytes(node: TailNode): number {
  let bytes = 400 + node.before.length * 60 + node.once.length * 100;
  for (const entry of node.entries) bytes += 200 + entry.parts.length * 150;
  return bytes;
}
