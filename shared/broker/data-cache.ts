import { LRUCache } from 'lru-cache';
import type { TailNode } from '../log/head.ts';

/** Bytes and tail nodes that were read, least recently used dropped first. What lies in here never changes. */
export class DataCache {
  private readonly data: LRUCache<string, Uint8Array>;
  private readonly nodes: LRUCache<string, TailNode>;

  constructor(bytesMax: number) {
    this.data = new LRUCache({
      maxSize: Math.max(1, Math.floor((bytesMax * 7) / 8)),
      sizeCalculation: (bytes) => bytes.length + 128,
    });
    this.nodes = new LRUCache({ maxSize: Math.max(1, Math.floor(bytesMax / 8)), sizeCalculation: nodeBytes });
  }

  getData(key: string): Uint8Array | undefined {
    return this.data.get(key);
  }

  putData(key: string, bytes: Uint8Array): void {
    this.data.set(key, bytes);
  }

  getNode(key: string): TailNode | undefined {
    return this.nodes.get(key);
  }

  putNode(key: string, node: TailNode): void {
    this.nodes.set(key, node);
  }
}

/** Roughly what a decoded node takes in memory. */
function nodeBytes(node: TailNode): number {
  let bytes = 400 + node.before.length * 60 + node.once.length * 100;
  for (const entry of node.entries) bytes += 200 + entry.parts.length * 150;
  return bytes;
}
