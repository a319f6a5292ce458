import { LRUCache } from 'lru-cache';
import type { StoredBatch } from '../../log/batch/stored-batch.ts';
import type { TailNode } from '../../log/head/head.ts';

/** The approximate memory of a batch in addition to its bytes. */
const BATCH_BYTES = 400;

/** A cache of record batches and tail nodes that drops the least recently used first. Cached data never changes. */
export class DataCache {
  readonly #batches: LRUCache<string, readonly StoredBatch[]>;
  readonly #nodes: LRUCache<string, TailNode>;

  constructor(bytesMax: number) {
    this.#batches = new LRUCache({
      maxSize: Math.max(1, Math.floor((bytesMax * 7) / 8)),
      sizeCalculation: (batches) => batches.reduce((sum, batch) => sum + batch.bytes.length + BATCH_BYTES, 0),
    });
    this.#nodes = new LRUCache({ maxSize: Math.max(1, Math.floor(bytesMax / 8)), sizeCalculation: nodeBytes });
  }

  getBatches(key: string): readonly StoredBatch[] | undefined {
    return this.#batches.get(key);
  }

  putBatches(key: string, batches: readonly StoredBatch[]): void {
    this.#batches.set(key, batches);
  }

  getNode(key: string): TailNode | undefined {
    return this.#nodes.get(key);
  }

  putNode(key: string, node: TailNode): void {
    this.#nodes.set(key, node);
  }
}

/** The approximate memory of a decoded node. */
function nodeBytes(node: TailNode): number {
  let bytes = 400 + node.before.length * 60 + node.once.length * 100;
  for (const entry of node.entries) bytes += 200 + entry.parts.length * 150;
  return bytes;
}
