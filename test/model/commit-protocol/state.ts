import { TAIL_ENTRIES_MAX } from './scenarios.ts';

export const WRITER = { idle: 0, gathered: 1, committing: 2 } as const;
export const MOVER = { idle: 0, putting: 1, moving: 2 } as const;

export interface Sizes {
  readonly batches: number;
  readonly entriesMax: number;
  readonly writers: number;
  readonly movers: number;
}

/** Sequences and numbers of commits share a byte. */
const ENTRIES_NUMBERED_MAX = 8;
export const COMMITS_MAX = 32;
const KEYS_PER_ENTRY_MAX = 3;
const ONCE_MAX = TAIL_ENTRIES_MAX * KEYS_PER_ENTRY_MAX;
const REQUESTS_MAX = 11;
const WRITER_BYTES = 5;
const MOVER_BYTES = 3;

/**
 * One state of the model: the storage, the requests under way, the processes, and what the clients know; all of it in
 * `bytes`. What is under way is a set that only grows: a request may be applied at any time after it was sent, once, many
 * times or never, which covers delay, repetition and loss. Processes of a kind are alike, so they stand in the order of
 * their bytes: states that differ in it alone are one.
 */
export class State {
  readonly bytes: Uint8Array;
  private readonly sizes: Sizes;
  private readonly nodesAt: number;
  private readonly onceAt: number;
  private readonly requestsAt: number;
  private readonly writersAt: number;
  private readonly moversAt: number;
  private readonly triesAt: number;
  private readonly outcomesAt: number;
  private readonly dataAt: number;
  private readonly notedAt: number;

  constructor(sizes: Sizes) {
    if (sizes.entriesMax > ENTRIES_NUMBERED_MAX) throw new Error('The scenario has too many batches.');
    this.sizes = sizes;
    let end = 7;
    const take = (bytes: number): number => {
      end += bytes;
      return end - bytes;
    };
    this.nodesAt = take(sizes.entriesMax);
    this.onceAt = take(ONCE_MAX);
    this.requestsAt = take(REQUESTS_MAX);
    this.writersAt = take(WRITER_BYTES * sizes.writers);
    this.moversAt = take(MOVER_BYTES * sizes.movers);
    this.triesAt = take(sizes.batches);
    this.outcomesAt = take(sizes.batches);
    this.dataAt = take(sizes.batches);
    this.notedAt = take(sizes.batches);
    this.bytes = new Uint8Array(Math.ceil(end / 4) * 4);
  }

  set(bytes: Uint8Array): void {
    this.bytes.set(bytes);
  }

  private at(index: number): number {
    return this.bytes[index] as number;
  }

  // The head. Its tail is the log from `firstEntry` on: entries are added at one end only, and removed at the other while
  // `firstEntry` goes up by as many.

  /** The number of the log that holds every entry ever appended. */
  get log(): number {
    return this.at(0) + this.at(1) * 256;
  }

  set log(id: number) {
    this.bytes[0] = id % 256;
    this.bytes[1] = Math.floor(id / 256);
  }

  get firstEntry(): number {
    return this.at(2);
  }

  set firstEntry(sequence: number) {
    this.bytes[2] = sequence;
  }

  /** 0, or one more than the length that the log had when the head was closed. */
  get closed(): number {
    return this.at(3);
  }

  set closed(value: number) {
    this.bytes[3] = value;
  }

  private get onceKeys(): number {
    return this.at(4);
  }

  private set onceKeys(count: number) {
    this.bytes[4] = count;
  }

  holdsOnceKey(key: number): boolean {
    for (let i = 0; i < this.onceKeys; i++) if (this.at(this.onceAt + i) === key) return true;
    return false;
  }

  addOnceKeys(keys: readonly number[]): void {
    const count = this.onceKeys;
    if (count + keys.length > ONCE_MAX) throw new Error('The scenario leaves too many once keys.');
    for (let i = 0; i < keys.length; i++) this.bytes[this.onceAt + count + i] = keys[i] as number;
    this.onceKeys = count + keys.length;
  }

  removeFirstOnceKeys(count: number): void {
    this.bytes.copyWithin(this.onceAt, this.onceAt + count, this.onceAt + this.onceKeys);
    this.removeLastOnceKeys(count);
  }

  removeLastOnceKeys(count: number): void {
    const end = this.onceAt + this.onceKeys;
    this.bytes.fill(0, end - count, end);
    this.onceKeys -= count;
  }

  // Tail nodes and their requests, by sequence, in a byte each. A node is told by its length, 2 or 3: as long as `firstEntry`
  // was its sequence, the tail began with the same entries, and whoever puts it takes them from there.

  /** How many entries of the log it holds; 0 if it is not there. */
  node(sequence: number): number {
    return this.at(this.nodesAt + sequence) & 3;
  }

  putNode(sequence: number, entries: number): void {
    this.bytes[this.nodesAt + sequence] = (this.at(this.nodesAt + sequence) & ~3) | entries;
  }

  sendPut(sequence: number, entries: number): void {
    this.bytes[this.nodesAt + sequence] = this.at(this.nodesAt + sequence) | (1 << entries);
  }

  isPutUnderWay(sequence: number, entries: number): boolean {
    return (this.at(this.nodesAt + sequence) & (1 << entries)) !== 0;
  }

  sendMove(sequence: number, entries: number): void {
    this.bytes[this.nodesAt + sequence] = this.at(this.nodesAt + sequence) | (1 << (entries + 2));
  }

  isMoveUnderWay(sequence: number, entries: number): boolean {
    return (this.at(this.nodesAt + sequence) & (1 << (entries + 2))) !== 0;
  }

  /** Those that demand a `firstEntry` which is past. It never goes back, so they have no effect any more. */
  forgetOutdatedMoves(): void {
    for (let i = this.nodesAt; i < this.nodesAt + this.firstEntry; i++) this.bytes[i] = this.at(i) & 15;
  }

  // Commits under way, in the order of their bytes.

  get commits(): number {
    return this.at(5);
  }

  commitUnderWay(index: number): number {
    return this.at(this.requestsAt + index) >> 3;
  }

  observedEntryUnderWay(index: number): number {
    return this.at(this.requestsAt + index) % ENTRIES_NUMBERED_MAX;
  }

  sendCommit(commit: number, observedEntry: number): void {
    const request = commit * ENTRIES_NUMBERED_MAX + observedEntry;
    let index = this.requestsAt;
    let end = this.requestsAt + this.commits;
    while (index < end && this.at(index) < request) index++;
    if (index < end && this.at(index) === request) return;
    if (this.commits === REQUESTS_MAX) throw new Error('The scenario sends too many requests.');
    for (; end > index; end--) this.bytes[end] = this.at(end - 1);
    this.bytes[index] = request;
    this.bytes[5] = this.commits + 1;
  }

  forgetCommits(hasNoEffect: (commit: number, observedEntry: number) => boolean): void {
    const end = this.requestsAt + this.commits;
    let kept = this.requestsAt;
    for (let i = 0; i < this.commits; i++) {
      if (hasNoEffect(this.commitUnderWay(i), this.observedEntryUnderWay(i))) continue;
      this.bytes[kept++] = this.at(this.requestsAt + i);
    }
    this.bytes.fill(0, kept, end);
    this.bytes[5] = kept - this.requestsAt;
  }

  // Writers.

  /** A phase of `WRITER`. */
  writer(writer: number): number {
    return this.at(this.writersAt + WRITER_BYTES * writer);
  }

  job(writer: number): number {
    return this.at(this.writersAt + WRITER_BYTES * writer + 1);
  }

  /** A bit for each batch of the job that has no answer. */
  unsettled(writer: number): number {
    return this.at(this.writersAt + WRITER_BYTES * writer + 2);
  }

  /** The commit that waits for its reply. */
  sentCommit(writer: number): number {
    return this.at(this.writersAt + WRITER_BYTES * writer + 3);
  }

  sentObservedSeq(writer: number): number {
    return this.at(this.writersAt + WRITER_BYTES * writer + 4);
  }

  setGathered(writer: number, job: number, unsettled: number): void {
    this.bytes[this.writersAt + WRITER_BYTES * writer] = WRITER.gathered;
    this.bytes[this.writersAt + WRITER_BYTES * writer + 1] = job;
    this.bytes[this.writersAt + WRITER_BYTES * writer + 2] = unsettled;
  }

  setCommitting(writer: number, commit: number, observedEntry: number): void {
    this.bytes[this.writersAt + WRITER_BYTES * writer] = WRITER.committing;
    this.bytes[this.writersAt + WRITER_BYTES * writer + 3] = commit;
    this.bytes[this.writersAt + WRITER_BYTES * writer + 4] = observedEntry;
  }

  /** Takes a batch out of the job, which ends with the last one. */
  setSettled(writer: number, member: number): void {
    const start = this.writersAt + WRITER_BYTES * writer;
    const left = this.unsettled(writer) & ~(1 << member);
    if (left === 0) this.bytes.fill(0, start, start + WRITER_BYTES);
    else this.bytes[start + 2] = left;
  }

  idleWriter(): number | undefined {
    for (let i = 0; i < this.sizes.writers; i++) if (this.writer(i) === WRITER.idle) return i;
    return undefined;
  }

  // Movers.

  /** A phase of `MOVER`. */
  mover(mover: number): number {
    return this.at(this.moversAt + MOVER_BYTES * mover);
  }

  moverSequence(mover: number): number {
    return this.at(this.moversAt + MOVER_BYTES * mover + 1);
  }

  moverEntries(mover: number): number {
    return this.at(this.moversAt + MOVER_BYTES * mover + 2);
  }

  setMover(mover: number, phase: number, sequence: number, entries: number): void {
    this.bytes[this.moversAt + MOVER_BYTES * mover] = phase;
    this.bytes[this.moversAt + MOVER_BYTES * mover + 1] = sequence;
    this.bytes[this.moversAt + MOVER_BYTES * mover + 2] = entries;
  }

  /** How many processes have died or given up. */
  get failures(): number {
    return this.at(6);
  }

  set failures(count: number) {
    this.bytes[6] = count;
  }

  // Clients, by batch.

  tries(batch: number): number {
    return this.at(this.triesAt + batch);
  }

  setTries(batch: number, tries: number): void {
    this.bytes[this.triesAt + batch] = tries;
  }

  outcome(batch: number): number {
    return this.at(this.outcomesAt + batch);
  }

  setOutcome(batch: number, outcome: number): void {
    this.bytes[this.outcomesAt + batch] = outcome;
  }

  /** A sequence from before the first try of a batch under an idempotency key. */
  noted(batch: number): number {
    return this.at(this.notedAt + batch);
  }

  setNoted(batch: number, sequence: number): void {
    this.bytes[this.notedAt + batch] = sequence;
  }

  hasData(batch: number, attempt: number): boolean {
    return (this.at(this.dataAt + batch) & (1 << attempt)) !== 0;
  }

  writeData(batch: number, attempt: number): void {
    this.bytes[this.dataAt + batch] = this.at(this.dataAt + batch) | (1 << attempt);
  }

  sortProcesses(): void {
    this.sort(this.writersAt, WRITER_BYTES, this.sizes.writers);
    this.sort(this.moversAt, MOVER_BYTES, this.sizes.movers);
  }

  private sort(start: number, size: number, count: number): void {
    for (let i = 1; i < count; i++) {
      for (let at = start + i * size; at > start && this.swapUnlessSorted(at - size, at, size); at -= size);
    }
  }

  private swapUnlessSorted(first: number, second: number, size: number): boolean {
    let i = 0;
    while (i < size && this.at(first + i) === this.at(second + i)) i++;
    if (i === size || this.at(first + i) < this.at(second + i)) return false;
    for (; i < size; i++) {
      const kept = this.at(first + i);
      this.bytes[first + i] = this.at(second + i);
      this.bytes[second + i] = kept;
    }
    return true;
  }
}
