import type { Chance } from '../simulation/world/chance.ts';

/**
 * A disk that can lose power. What is written is seen at once by whoever reads, and is durable only once it was synced.
 * No kinder than POSIX: a power cut keeps any part of what was not synced, in any order, whatever was written first.
 *
 * - A file's content is durable by a sync of the file. Of the rest any sectors may be kept, the others hold zeros; the size
 *   may be any between that of the last sync and the present one.
 * - A name is durable by a sync of the folder that has it. Each other name is independently in any of the states that it
 *   has had since: so a file may be there under two names, or under none.
 * - Neither makes the other durable, nor the name of the folder itself.
 */
export class Disk {
  root = new Folder();

  /** What is left after a power cut: a disk on which everything is durable. */
  cut(chance: Chance): Disk {
    const left = new Disk();
    left.root = new PowerCut(chance).folder(this.root);
    return left;
  }
}

export type Node = File | Folder;

/** In bytes; a disk writes each whole. */
const SECTOR_BYTES = 512;

export class File {
  content: Uint8Array = new Uint8Array(0);
  durable: Uint8Array = new Uint8Array(0);
  /** A sync has failed: the kernel has given up what was not written by then, and says so only once. */
  givenUp = false;

  append(bytes: Uint8Array): void {
    const content = new Uint8Array(this.content.length + bytes.length);
    content.set(this.content);
    content.set(bytes, this.content.length);
    this.content = content;
  }

  /** Begins a sync; calling the answer ends it. */
  sync(): () => void {
    const { content } = this;
    return () => {
      if (!this.givenUp && content.length > this.durable.length) this.durable = content;
    };
  }
}

interface Change {
  readonly order: number;
  readonly name: string;
  /** Undefined once the name is gone. */
  readonly node: Node | undefined;
}

export class Folder {
  readonly names = new Map<string, Node>();
  durable: ReadonlyMap<string, Node> = new Map();
  /** Since what is durable. */
  changes: Change[] = [];
  private order = 0;

  set(name: string, node: Node | undefined): void {
    if (node === undefined) this.names.delete(name);
    else this.names.set(name, node);
    this.changes.push({ order: this.order++, name, node });
  }

  sync(): () => void {
    const end = this.order;
    return () => {
      const durable = new Map(this.durable);
      for (const { order, name, node } of this.changes) {
        if (order >= end) continue;
        if (node === undefined) durable.delete(name);
        else durable.set(name, node);
      }
      this.durable = durable;
      this.changes = this.changes.filter(({ order }) => order >= end);
    };
  }
}

/** How much one cut keeps of what was not synced: of everything alike, or each by itself. */
const KEEPS = ['nothing', 'all', 'some', 'some', 'names only', 'content only'] as const;

class PowerCut {
  private readonly chance: Chance;
  private readonly keeps: (typeof KEEPS)[number];
  /** A file under several names is still one. */
  private readonly kept = new Map<Node, Node>();

  constructor(chance: Chance) {
    this.chance = chance;
    this.keeps = chance.pick(KEEPS);
  }

  folder(folder: Folder): Folder {
    const known = this.kept.get(folder);
    if (known instanceof Folder) return known;
    const left = new Folder();
    this.kept.set(folder, left);
    const states = new Map<string, (Node | undefined)[]>();
    for (const [name, node] of folder.durable) states.set(name, [node]);
    for (const { name, node } of folder.changes) {
      const before = states.get(name) ?? [undefined];
      states.set(name, [...before, node]);
    }
    const durable = new Map<string, Node>();
    for (const [name, nodes] of states) {
      const node = nodes[this.choose(nodes.length - 1, 'content only')];
      if (node !== undefined) durable.set(name, node instanceof Folder ? this.folder(node) : this.file(node));
    }
    left.durable = durable;
    for (const [name, node] of durable) left.names.set(name, node);
    return left;
  }

  private file(file: File): File {
    const known = this.kept.get(file);
    if (known instanceof File) return known;
    const left = new File();
    this.kept.set(file, left);
    const synced = file.durable.length;
    const bytes = new Uint8Array(synced + this.choose(file.content.length - synced, 'nothing'));
    bytes.set(file.durable);
    for (let at = Math.floor(synced / SECTOR_BYTES) * SECTOR_BYTES; at < bytes.length; at += SECTOR_BYTES) {
      const start = Math.max(at, synced);
      const end = Math.min(bytes.length, at + SECTOR_BYTES);
      if (this.choose(1, 'names only') === 1) bytes.set(file.content.subarray(start, end), start);
    }
    left.content = bytes;
    left.durable = bytes;
    return left;
  }

  /** How far to go from what is durable, 0, to what was there, `max`. */
  private choose(max: number, nothingWhere: (typeof KEEPS)[number]): number {
    if (this.keeps === 'nothing' || this.keeps === nothingWhere) return 0;
    return this.keeps === 'some' ? this.chance.below(max + 1) : max;
  }
}
