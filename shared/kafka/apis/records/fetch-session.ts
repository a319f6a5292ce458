/** What a client wants of one partition. */
export interface WantedPartition {
  /** The id of the topic, or its name in versions without ids. */
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly bytesMax: number;
  /** By which the client knows the leader; −1: none. */
  readonly currentLeaderEpoch: number;
}

/** What an answer says of one partition. */
export interface PartitionNews {
  readonly hasRecords: boolean;
  readonly isError: boolean;
  /** −1 with an error. */
  readonly highWatermark: number;
  readonly logStartOffset: number;
}

/** A partition of a session in its turn. `slot` is valid until the session is updated. */
export interface SessionPartition extends WantedPartition {
  readonly slot: number;
}

interface Entry extends WantedPartition {
  readonly highWatermark: number;
  readonly logStartOffset: number;
  readonly turn: number;
}

/** Object, arrays, entry of the cache. */
const SESSION_BYTES = 1_024;
/** A string, its place and where its partitions begin. */
const TOPIC_BYTES = 64;
/** Partition, limit, leader epoch and turn of 4 bytes each, three offsets of 8. */
const PARTITION_BYTES = 40;
const FIRST_EPOCH = 1;
const EPOCH_MAX = 0x7fff_ffff;
/** The client has not been sent an offset that is valid. */
const UNKNOWN_OFFSET = -1;

/**
 * The partitions that a client reads (KIP-227): later requests name only what changed, and answers only what is new. There may
 * be a million partitions in the sessions of one gateway, so they are kept in arrays: by topic and partition, which finds one
 * by bisection, with their turns beside them.
 */
export class FetchSession {
  readonly id: number;
  readonly usesTopicIds: boolean;
  /** The epoch of the next request. */
  epoch = FIRST_EPOCH;
  lastUsedMs: number;
  #topics: readonly string[] = [];
  /** The partitions of topic `i` are in the slots from `#starts[i]` to `#starts[i + 1]`. */
  #starts = new Int32Array(1);
  #partitions = new Int32Array(0);
  #bytesMax = new Int32Array(0);
  #leaderEpochs = new Int32Array(0);
  #offsets = new Float64Array(0);
  /** As the client was told. */
  #highWatermarks = new Float64Array(0);
  #logStartOffsets = new Float64Array(0);
  /** Slots: the partition that has waited longest is first. */
  #turns = new Int32Array(0);
  #topicNameBytes = 0;

  constructor(id: number, usesTopicIds: boolean, nowMs: number) {
    this.id = id;
    this.usesTopicIds = usesTopicIds;
    this.lastUsedMs = nowMs;
  }

  get size(): number {
    return this.#partitions.length;
  }

  /** Roughly what it takes in memory. */
  get bytes(): number {
    return SESSION_BYTES + this.#topicNameBytes + this.#topics.length * TOPIC_BYTES + this.size * PARTITION_BYTES;
  }

  /** The epoch after this one is expected next; it never becomes 0 again, which would begin a new session. */
  nextEpoch(): void {
    this.epoch = this.epoch === EPOCH_MAX ? FIRST_EPOCH : this.epoch + 1;
  }

  /**
   * Takes what a request changes: partitions that are new get the last turns, then some are forgotten. The last counts if a
   * partition is named twice.
   */
  update(wanted: Iterable<WantedPartition>, forgotten: Iterable<{ topic: string; partition: number }>): void {
    const added: Entry[] = [];
    let turn = this.size;
    for (const each of wanted) {
      const slot = this.#slotOf(each.topic, each.partition);
      if (slot === undefined) {
        added.push({ ...each, highWatermark: UNKNOWN_OFFSET, logStartOffset: UNKNOWN_OFFSET, turn: turn++ });
        continue;
      }
      this.#offsets[slot] = each.offset;
      this.#bytesMax[slot] = each.bytesMax;
      this.#leaderEpochs[slot] = each.currentLeaderEpoch;
    }
    const gone = new Set<number>();
    const goneAtOnce = new Set<string>();
    for (const each of forgotten) {
      const slot = this.#slotOf(each.topic, each.partition);
      if (slot !== undefined) gone.add(slot);
      else if (added.length > 0) goneAtOnce.add(keyOf(each));
    }
    if (added.length === 0 && gone.size === 0) return;
    const kept = goneAtOnce.size === 0 ? added : added.filter((each) => !goneAtOnce.has(keyOf(each)));
    // What is there is in order, so sorting merges two runs.
    this.#fill(withoutDoubles([...this.#entriesBut(gone), ...kept].sort(byPlace)), turn);
  }

  /** All partitions, each in its turn. */
  *inTurn(): Generator<SessionPartition> {
    const topicOf = new Int32Array(this.size);
    for (let topic = 0; topic < this.#topics.length; topic++)
      topicOf.fill(topic, this.#starts[topic], this.#starts[topic + 1]);
    for (const slot of this.#turns)
      yield { ...this.#wantedAt(slot, this.#topics[topicOf[slot] as number] as string), slot };
  }

  /** Whether the client must get the news, which are remembered. Those of an error are never old. */
  tell(slot: number, { hasRecords, isError, highWatermark, logStartOffset }: PartitionNews): boolean {
    const isNew =
      hasRecords ||
      isError ||
      this.#highWatermarks[slot] !== highWatermark ||
      this.#logStartOffsets[slot] !== logStartOffset;
    // The partition is sent again when the error is over.
    this.#highWatermarks[slot] = isError ? UNKNOWN_OFFSET : highWatermark;
    this.#logStartOffsets[slot] = logStartOffset;
    return isNew;
  }

  /** As `tell`, for a session that begins with these partitions. The last counts of equal ones. */
  tellAll(partitions: readonly WantedPartition[], news: readonly PartitionNews[]): void {
    for (const [i, { topic, partition }] of partitions.entries())
      this.tell(this.#slotOf(topic, partition) as number, news[i] as PartitionNews);
  }

  /** Those that have given records wait until all others had their turn. */
  toTheEnd(slots: ReadonlySet<number>): void {
    if (slots.size === 0) return;
    let kept = 0;
    const moved: number[] = [];
    for (const slot of this.#turns) {
      if (slots.has(slot)) moved.push(slot);
      else this.#turns[kept++] = slot;
    }
    this.#turns.set(moved, kept);
  }

  #wantedAt(slot: number, topic: string): WantedPartition {
    return {
      topic,
      partition: this.#partitions[slot] as number,
      offset: this.#offsets[slot] as number,
      bytesMax: this.#bytesMax[slot] as number,
      currentLeaderEpoch: this.#leaderEpochs[slot] as number,
    };
  }

  #slotOf(topic: string, partition: number): number | undefined {
    const place = bisect(this.#topics, topic, 0, this.#topics.length);
    if (this.#topics[place] !== topic) return undefined;
    const end = this.#starts[place + 1] as number;
    const slot = bisect(this.#partitions, partition, this.#starts[place] as number, end);
    return slot < end && this.#partitions[slot] === partition ? slot : undefined;
  }

  #entriesBut(gone: ReadonlySet<number>): Entry[] {
    const turnOf = new Int32Array(this.size);
    for (const [turn, slot] of this.#turns.entries()) turnOf[slot] = turn;
    const entries: Entry[] = [];
    for (const [topic, name] of this.#topics.entries()) {
      for (let slot = this.#starts[topic] as number; slot < (this.#starts[topic + 1] as number); slot++) {
        if (gone.has(slot)) continue;
        entries.push({
          ...this.#wantedAt(slot, name),
          highWatermark: this.#highWatermarks[slot] as number,
          logStartOffset: this.#logStartOffsets[slot] as number,
          turn: turnOf[slot] as number,
        });
      }
    }
    return entries;
  }

  /** `entries` in order of their places, with turns below `turnsEnd`. */
  #fill(entries: readonly Entry[], turnsEnd: number): void {
    const topics: string[] = [];
    const starts: number[] = [];
    const slotOfTurn = new Int32Array(turnsEnd).fill(NO_SLOT);
    for (const [slot, { topic, turn }] of entries.entries()) {
      slotOfTurn[turn] = slot;
      if (topic === topics.at(-1)) continue;
      topics.push(topic);
      starts.push(slot);
    }
    this.#topics = topics;
    this.#topicNameBytes = topics.reduce((sum, { length }) => sum + length, 0);
    this.#starts = Int32Array.from([...starts, entries.length]);
    this.#partitions = Int32Array.from(entries, ({ partition }) => partition);
    this.#bytesMax = Int32Array.from(entries, ({ bytesMax }) => bytesMax);
    this.#leaderEpochs = Int32Array.from(entries, ({ currentLeaderEpoch }) => currentLeaderEpoch);
    this.#offsets = Float64Array.from(entries, ({ offset }) => offset);
    this.#highWatermarks = Float64Array.from(entries, ({ highWatermark }) => highWatermark);
    this.#logStartOffsets = Float64Array.from(entries, ({ logStartOffset }) => logStartOffset);
    this.#turns = slotOfTurn.filter((slot) => slot !== NO_SLOT);
  }
}

const NO_SLOT = -1;

function keyOf({ topic, partition }: { readonly topic: string; readonly partition: number }): string {
  return `${partition} ${topic}`;
}

function byPlace(one: Entry, other: Entry): number {
  if (one.topic !== other.topic) return one.topic < other.topic ? -1 : 1;
  return one.partition - other.partition;
}

/** Of entries for the same partition the first one's turn and the last one's wishes. */
function withoutDoubles(sorted: readonly Entry[]): Entry[] {
  const entries: Entry[] = [];
  for (const entry of sorted) {
    const before = entries.at(-1);
    if (before !== undefined && byPlace(before, entry) === 0)
      entries[entries.length - 1] = { ...entry, turn: before.turn };
    else entries.push(entry);
  }
  return entries;
}

/** The first place in the range whose value is not below `wanted`. */
function bisect<Value extends string | number>(
  values: { readonly [place: number]: Value },
  wanted: Value,
  start: number,
  end: number,
): number {
  let [low, high] = [start, end];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as Value) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
