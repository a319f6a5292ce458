/**
 * Breadth-first search over all states of a model. A state is a value: a fixed number of bytes, of which two are the same
 * state exactly if they are equal. Every state is kept, none by its hash alone, so that nothing is missed by chance; and
 * the first violation that is met is reached by as few steps as any.
 */
export interface Model {
  /** A multiple of four. */
  readonly stateBytes: number;
  readonly initial: Uint8Array;
  /** Calls `reach` with each state that one step leads to. The bytes given to either side are good for that call only. */
  steps(state: Uint8Array, reach: Reach): void;
  /** What is wrong with a state. */
  violation(state: Uint8Array): string | undefined;
  /** What is wrong with a state in which no step is left. */
  unfinished(state: Uint8Array): string | undefined;
  /** A step in words. */
  describe(before: Uint8Array, step: number, after: Uint8Array): string;
}

/** `step` says what was done, in numbers that only the model reads. */
export type Reach = (next: Uint8Array, step: number) => void;

export interface SearchOptions {
  /** The search fails beyond so many: it is to be exhaustive, or not at all. */
  readonly statesMax: number;
  /** Whether to look for runs without an end. Takes as long again. */
  readonly endlessRuns?: boolean;
}

export interface SearchResult {
  readonly states: number;
  /** Steps that change the state, from all states together. */
  readonly steps: number;
  /** How many steps the farthest state is away. */
  readonly depth: number;
  /** States in which no step is left. */
  readonly ends: number;
  readonly violation: { readonly what: string; readonly trace: readonly string[] } | undefined;
}

/** @throws Error where there are more states than were allowed for */
export function search(model: Model, options: SearchOptions): SearchResult {
  const found = new StateSet(model.stateBytes, options.statesMax);
  const parents = new Numbers();
  /** How many steps lead to each state. */
  const entrances = new Numbers();
  const state = new Uint8Array(model.stateBytes);
  found.add(model.initial);
  parents.push(-1);
  entrances.push(0);
  let at = 0;
  let steps = 0;
  let stepsFromHere = 0;
  let ends = 0;
  let depth = 0;
  let levelEnd = 1;
  let wrong = wrongAt(0, model.violation(model.initial));

  const reach: Reach = (next) => {
    const index = found.add(next);
    // A step that changes nothing is none.
    if (index === at) return;
    stepsFromHere++;
    if (index < parents.length) {
      entrances.add(index, 1);
      return;
    }
    parents.push(at);
    entrances.push(1);
    wrong ??= wrongAt(index, model.violation(next));
  };

  for (; at < found.size && wrong === undefined; at++) {
    if (at === levelEnd) {
      depth++;
      levelEnd = found.size;
    }
    found.read(at, state);
    stepsFromHere = 0;
    model.steps(state, reach);
    steps += stepsFromHere;
    if (stepsFromHere === 0) {
      ends++;
      wrong ??= wrongAt(at, model.unfinished(state));
    }
  }
  if (wrong === undefined && options.endlessRuns === true) {
    const endless = firstOnCycle(model, found, entrances);
    wrong = wrongAt(endless ?? 0, endless === undefined ? undefined : 'a run that comes here may go on for ever');
  }
  const violation =
    wrong === undefined ? undefined : { what: wrong.what, trace: trace(model, found, parents, wrong.index) };
  return { states: found.size, steps, depth, ends, violation };
}

function wrongAt(index: number, what: string | undefined): { index: number; what: string } | undefined {
  return what === undefined ? undefined : { index, what };
}

/** Takes away, again and again, a state that no step leads to any more. What is left is on a cycle, or behind one. */
function firstOnCycle(model: Model, found: StateSet, entrances: Numbers): number | undefined {
  if (entrances.get(0) > 0) return 0;
  const state = new Uint8Array(model.stateBytes);
  const free = new Numbers();
  free.push(0);
  let at = 0;
  const reach: Reach = (next) => {
    const index = found.add(next);
    if (index !== at && entrances.add(index, -1) === 0) free.push(index);
  };
  for (let i = 0; i < free.length; i++) {
    at = free.get(i);
    found.read(at, state);
    model.steps(state, reach);
  }
  if (free.length === found.size) return undefined;
  for (let index = 0; ; index++) if (entrances.get(index) > 0) return index;
}

/** The steps to a state, in words; each is found again among all those of the state before. */
function trace(model: Model, found: StateSet, parents: Numbers, end: number): string[] {
  const path: number[] = [];
  for (let index = end; index > 0; index = parents.get(index)) path.unshift(index);
  const state = new Uint8Array(model.stateBytes);
  let at = 0;
  return path.map((index) => {
    let words = '';
    found.read(at, state);
    model.steps(state, (next, step) => {
      if (words === '' && found.add(next) === index) words = model.describe(state, step, next);
    });
    at = index;
    return words;
  });
}

const CHUNK_BITS = 14;
/** Of a slot: the number of a state plus one, and above it as much of its hash as there is room for. */
const NUMBER_BITS = 24;
const NUMBER = (1 << NUMBER_BITS) - 1;

/** States by number, in the order in which they came, each once. */
class StateSet {
  size = 0;
  private readonly statesMax: number;
  private readonly words: number;
  private readonly chunks: Uint32Array[] = [];
  /** Open addressing; 0 where nothing is. At most half of them are taken. */
  private readonly slots: Uint32Array;
  private readonly given: Uint32Array;
  private readonly givenBytes: Uint8Array;

  constructor(stateBytes: number, statesMax: number) {
    if (statesMax >= NUMBER) throw new Error(`No more than ${NUMBER - 1} states can be numbered.`);
    this.statesMax = statesMax;
    this.words = stateBytes / 4;
    this.slots = new Uint32Array(2 ** Math.ceil(Math.log2(statesMax * 2)));
    this.given = new Uint32Array(this.words);
    this.givenBytes = new Uint8Array(this.given.buffer);
  }

  /** The state's number, which is a new one if it was not there. */
  add(state: Uint8Array): number {
    this.givenBytes.set(state);
    const hashed = hash(this.given);
    const tag = (hashed & ~NUMBER) >>> 0;
    const mask = this.slots.length - 1;
    let slot = hashed & mask;
    for (let kept = this.slots[slot] as number; kept !== 0; kept = this.slots[slot] as number) {
      const index = (kept & NUMBER) - 1;
      if ((kept & ~NUMBER) >>> 0 === tag && this.isGiven(index)) return index;
      slot = (slot + 1) & mask;
    }
    if (this.size === this.statesMax) throw new Error(`There are more than ${this.statesMax} states.`);
    const index = this.size++;
    if (index >> CHUNK_BITS === this.chunks.length) this.chunks.push(new Uint32Array(this.words << CHUNK_BITS));
    this.chunk(index).set(this.given, this.offset(index));
    this.slots[slot] = tag + index + 1;
    return index;
  }

  read(index: number, into: Uint8Array): void {
    const start = this.offset(index);
    this.given.set(this.chunk(index).subarray(start, start + this.words));
    into.set(this.givenBytes);
  }

  private chunk(index: number): Uint32Array {
    return this.chunks[index >> CHUNK_BITS] as Uint32Array;
  }

  private offset(index: number): number {
    return (index & ((1 << CHUNK_BITS) - 1)) * this.words;
  }

  private isGiven(index: number): boolean {
    const chunk = this.chunk(index);
    const start = this.offset(index);
    for (let i = 0; i < this.words; i++) if (chunk[start + i] !== this.given[i]) return false;
    return true;
  }
}

/** MurmurHash3's mixing of 32-bit words. */
function hash(words: Uint32Array): number {
  let h = 0;
  for (let i = 0; i < words.length; i++) {
    const k = Math.imul(words[i] as number, 0xcc9e2d51);
    h ^= Math.imul((k << 15) | (k >>> 17), 0x1b873593);
    h = Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A list of 32-bit integers. */
class Numbers {
  length = 0;
  private values = new Int32Array(1 << 16);

  push(value: number): void {
    if (this.length === this.values.length) {
      const longer = new Int32Array(this.length * 2);
      longer.set(this.values);
      this.values = longer;
    }
    this.values[this.length++] = value;
  }

  get(index: number): number {
    return this.values[index] as number;
  }

  /** Answers the sum. */
  add(index: number, by: number): number {
    const sum = this.get(index) + by;
    this.values[index] = sum;
    return sum;
  }
}
