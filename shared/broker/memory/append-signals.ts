/** Waits are kept by so many partitions in a row, a bit for each: as many as a head has, which whoever reads one often reads. */
const BLOCK_PARTITIONS = 16;

/** Who waits at the end of some of these partitions. */
interface Block {
  readonly topicId: string;
  readonly number: number;
  /** The partitions that each listens to: bit `i` is the block's partition `i`. */
  readonly waiting: Map<AppendListener, number>;
}

/**
 * Tells reads of this process that wait at the end of partitions, at once when this process appends there. There may be a
 * million waits at once, so its memory is that of the blocks of 16 partitions that each listener has some of.
 */
export class AppendSignals {
  /** By the number of the block within its topic. */
  readonly #topics = new Map<string, Map<number, Block>>();

  /** A listener to no partition yet. The caller must close it. */
  listen(): AppendListener {
    return new AppendListener(this.#topics);
  }

  isAwaited(topicId: string, partition: number): boolean {
    for (const partitions of this.#blockOf(topicId, partition)?.waiting.values() ?? [])
      if ((partitions & bitOf(partition)) !== 0) return true;
    return false;
  }

  appended(topicId: string, partition: number): void {
    for (const [listener, partitions] of this.#blockOf(topicId, partition)?.waiting ?? [])
      if ((partitions & bitOf(partition)) !== 0) listener.hear();
  }

  /** The blocks that are kept, and each listener of each. */
  get size(): number {
    let size = 0;
    for (const blocks of this.#topics.values()) for (const { waiting } of blocks.values()) size += 1 + waiting.size;
    return size;
  }

  #blockOf(topicId: string, partition: number): Block | undefined {
    return this.#topics.get(topicId)?.get(numberOf(partition));
  }
}

/**
 * Hears appends to some partitions, also those between two waits. To miss none: `reset`, then look, then wait for `heard`.
 */
export class AppendListener {
  readonly #topics: Map<string, Map<number, Block>>;
  readonly #blocks = new Set<Block>();
  #heard: Promise<void>;
  #resolveHeard: () => void;
  #isClosed = false;

  constructor(topics: Map<string, Map<number, Block>>) {
    this.#topics = topics;
    ({ promise: this.#heard, resolve: this.#resolveHeard } = Promise.withResolvers<void>());
  }

  /** Resolves at the first append since the last `reset`. */
  get heard(): Promise<void> {
    return this.#heard;
  }

  /** Listens to this partition too. Changes nothing if it does already, or is closed. */
  add(topicId: string, partition: number): void {
    if (this.#isClosed) return;
    const block = this.#blockWith(topicId, numberOf(partition));
    block.waiting.set(this, (block.waiting.get(this) ?? 0) | bitOf(partition));
    this.#blocks.add(block);
  }

  /** Forgets what was heard so far. */
  reset(): void {
    ({ promise: this.#heard, resolve: this.#resolveHeard } = Promise.withResolvers<void>());
  }

  hear(): void {
    this.#resolveHeard();
  }

  close(): void {
    this.#isClosed = true;
    for (const { topicId, number, waiting } of this.#blocks) {
      waiting.delete(this);
      if (waiting.size > 0) continue;
      const blocks = this.#topics.get(topicId);
      blocks?.delete(number);
      if (blocks?.size === 0) this.#topics.delete(topicId);
    }
    this.#blocks.clear();
  }

  #blockWith(topicId: string, number: number): Block {
    const blocks = this.#topics.get(topicId) ?? new Map<number, Block>();
    const block = blocks.get(number) ?? { topicId, number, waiting: new Map<AppendListener, number>() };
    this.#topics.set(topicId, blocks.set(number, block));
    return block;
  }
}

function numberOf(partition: number): number {
  return Math.floor(partition / BLOCK_PARTITIONS);
}

function bitOf(partition: number): number {
  return 1 << (partition % BLOCK_PARTITIONS);
}
