import { LRUCache } from 'lru-cache';
import type { ClassicAssignment, Roster } from '../../log/group/classic/generation.ts';

const GENERATION_BYTES_MAX = 32 * 1024 * 1024;
const TIMES_MAX = 10_000;
const ENTRY_BYTES = 256;

/** What a process remembers of classic groups. It only saves requests and time. */
export class ClassicMemory {
  /** They never change under their names. */
  readonly #rosters = new LRUCache<string, Roster>({
    maxSize: GENERATION_BYTES_MAX,
    sizeCalculation: ({ members, rejected }) =>
      members.reduce((sum, { metadata }) => sum + ENTRY_BYTES + metadata.length, 64 + ENTRY_BYTES * rejected.length),
  });
  readonly #assignments = new LRUCache<string, ClassicAssignment>({
    maxSize: GENERATION_BYTES_MAX,
    sizeCalculation: (assignment) =>
      [...assignment.values()].reduce((sum, bytes) => sum + ENTRY_BYTES + bytes.length, 64),
  });
  readonly #times = new LRUCache<string, number>({ max: TIMES_MAX });
  readonly #looks = new Map<string, { readonly atMs: number; readonly look: Promise<unknown> }>();
  readonly #waiters = new Map<string, Set<() => void>>();

  getRoster(group: string, name: string): Roster | undefined {
    return this.#rosters.get(keyOf(group, name));
  }

  putRoster(group: string, name: string, roster: Roster): void {
    this.#rosters.set(keyOf(group, name), roster);
  }

  getAssignment(group: string, name: string): ClassicAssignment | undefined {
    return this.#assignments.get(keyOf(group, name));
  }

  putAssignment(group: string, name: string, assignment: ClassicAssignment): void {
    this.#assignments.set(keyOf(group, name), assignment);
  }

  /** True at most once in `everyMs` for a name: the caller then does something that one request in a while should do. */
  isTimeFor(group: string, name: string, nowMs: number, everyMs: number): boolean {
    const key = keyOf(group, name);
    const ageMs = nowMs - (this.#times.get(key) ?? Number.NEGATIVE_INFINITY);
    if (ageMs >= 0 && ageMs < everyMs) return false;
    this.#times.set(key, nowMs);
    return true;
  }

  /** Requests that wait for the same group share a look that began less than `everyMs` ago, and since the last `changed`. */
  lookTogether<T>(group: string, nowMs: number, everyMs: number, look: () => Promise<T>): Promise<T> {
    const last = this.#looks.get(group);
    const ageMs = nowMs - (last?.atMs ?? Number.NEGATIVE_INFINITY);
    if (last !== undefined && ageMs >= 0 && ageMs < everyMs) return last.look as Promise<T>;
    const started = look();
    this.#looks.set(group, { atMs: nowMs, look: started });
    started.catch(() => this.#looks.delete(group));
    return started;
  }

  /** This process has changed the group or a member: whoever waits for the group here looks at once. */
  changed(group: string): void {
    this.#looks.delete(group);
    for (const wake of this.#waiters.get(group) ?? []) wake();
  }

  /** Resolves at the next change by this process. Call the result's `stop` when nobody waits for it any more. */
  nextChange(group: string): { readonly happened: Promise<void>; readonly stop: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiters = this.#waiters.get(group) ?? new Set();
    this.#waiters.set(group, waiters.add(resolve));
    const stop = (): void => {
      waiters.delete(resolve);
      if (waiters.size > 0) return;
      if (this.#waiters.get(group) === waiters) this.#waiters.delete(group);
      this.#looks.delete(group);
    };
    return { happened: promise, stop };
  }
}

/** No id contains a control character. */
function keyOf(group: string, name: string): string {
  return `${group}\n${name}`;
}
