import type { Flaw } from './flaws.ts';
import type { Commit, Log, Planner } from './planner.ts';
import { TAIL_ENTRIES_MAX } from './scenarios.ts';
import type { State } from './state.ts';

/** What the store does with the requests of the protocol. */
export class Storage {
  private readonly planner: Planner;
  private readonly flaw: Flaw | undefined;

  constructor(planner: Planner, flaw: Flaw | undefined) {
    this.planner = planner;
    this.flaw = flaw;
  }

  log(state: State): Log {
    return this.planner.logs[state.log] as Log;
  }

  /** What is outdated when it is sent is not kept under way, as it has no effect. */
  sendCommit(state: State, commit: Commit, observedEntry: number): void {
    if (!this.isOutdated(state, observedEntry)) state.sendCommit(commit.id, observedEntry);
  }

  sendMove(state: State, sequence: number, entries: number): void {
    if (state.firstEntry <= sequence || this.flaw === 'a move is unconditional') state.sendMove(sequence, entries);
  }

  /** Whether all conditions of the update hold. */
  takes(state: State, commit: Commit, observedEntry: number): boolean {
    const { commits } = this.log(state);
    if (state.closed > 0 && this.flaw !== 'a closed head takes commits') return false;
    if (this.isOutdated(state, observedEntry)) return false;
    if (commits.length - state.firstEntry >= TAIL_ENTRIES_MAX) return false;
    if (this.contradicts(state, commit)) return false;
    if (this.flaw === 'a commit does not demand that the tail lacks its entry') return true;
    return indexOfEntry(commits, commit.entryId, state.firstEntry, commits.length) === undefined;
  }

  /** The condition `firstEntry <= observedEntry` does not hold, and will not, as `firstEntry` never goes back. */
  private isOutdated(state: State, observedEntry: number): boolean {
    return (
      state.firstEntry > observedEntry && this.flaw !== 'a commit does not hold firstEntry against what was observed'
    );
  }

  contradicts(state: State, commit: Commit): boolean {
    for (const key of commit.demandsAbsent) if (state.holdsOnceKey(key)) return true;
    for (const [slot, offset] of commit.expected) if (this.log(state).nextOffsets[slot] !== offset) return true;
    return false;
  }

  append(state: State, commit: Commit): void {
    state.log = this.planner.append(this.log(state), commit).id;
    state.addOnceKeys(commit.leaves);
  }

  /** Lets go of the entries that are in the node, and of their once keys. Answers whether it did. */
  move(state: State, sequence: number, entries: number): boolean {
    if (state.firstEntry !== sequence && this.flaw !== 'a move is unconditional') return false;
    const moved = this.log(state).commits.slice(state.firstEntry, state.firstEntry + entries);
    if (moved.length < entries) return false;
    const keys = moved.reduce((sum, { leaves }) => sum + leaves.length, 0);
    if (this.flaw === 'a move drops the once keys of other entries') state.removeLastOnceKeys(keys);
    else state.removeFirstOnceKeys(keys);
    state.firstEntry += entries;
    if (this.flaw !== 'a move is unconditional') state.forgetOutdatedMoves();
    state.forgetCommits((_, observedEntry) => this.isOutdated(state, observedEntry));
    return true;
  }

  /** The sequence of the entry, where it is in a tail node that holds entries from the observed entry on. */
  findInNodes(state: State, { entryId }: Commit, observedEntry: number): number | undefined {
    if (this.flaw === 'a refused commit is not looked for in the tail nodes') return undefined;
    for (let node = 0; node < state.firstEntry; node += state.node(node)) {
      const end = node + state.node(node);
      const found = end > observedEntry ? indexOfEntry(this.log(state).commits, entryId, node, end) : undefined;
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * Commits are refused for good once an entry from the observed entry on is their own, or left a key that they demand
   * absent: as long as it is in the tail, entry or key is met there, and then `firstEntry` is past what was observed.
   */
  forgetRefusedForGood(state: State): void {
    const { commits } = this.log(state);
    state.forgetCommits((id, observedEntry) => {
      const { entryId, demandsAbsent } = this.planner.commits[id] as Commit;
      for (let sequence = observedEntry; sequence < commits.length; sequence++) {
        const later = commits[sequence] as Commit;
        if (later.entryId === entryId || demandsAbsent.some((key) => later.leaves.includes(key))) return true;
      }
      return false;
    });
  }
}

export function indexOfEntry(
  commits: readonly Commit[],
  entryId: number,
  from: number,
  to: number,
): number | undefined {
  for (let sequence = from; sequence < to; sequence++) if (commits[sequence]?.entryId === entryId) return sequence;
  return undefined;
}
