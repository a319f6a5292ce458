import { type Head, nextEntry } from '../../log/head/head.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { type HeadName, readHead } from './items.ts';
import { HeadProducers } from './producers.ts';

/** One head as this process knows it. Only the commit and the tail move change it. */
export class KnownHead {
  readonly topicName: string;
  readonly name: HeadName;
  readonly producers = new HeadProducers();
  /** A move of the tail goes on in the background. */
  isMoving = false;
  #head: Head | undefined;
  #observedAtMs = Number.NEGATIVE_INFINITY;

  constructor(topicName: string, name: HeadName) {
    this.topicName = topicName;
    this.name = name;
  }

  /** The newest state that was seen; `undefined` before the first one. */
  get head(): Head | undefined {
    return this.#head;
  }

  /** Remembers a state that a request sent at `sentAtMs` has met, and returns the newest one that is known. */
  see(head: Head, sentAtMs: number): Head {
    const known = this.#head;
    const isNewer =
      known === undefined ||
      nextEntry(head) > nextEntry(known) ||
      (nextEntry(head) === nextEntry(known) && (head.firstEntry >= known.firstEntry || head.closed));
    const newest = isNewer ? head : known;
    this.#head = newest;
    this.#observedAtMs = Math.max(this.#observedAtMs, sentAtMs);
    return newest;
  }

  /** The state in memory if it was observed within the last `ageMs`. */
  recent(nowMs: number, ageMs: number): Head | undefined {
    const age = nowMs - this.#observedAtMs;
    // If the clock was set back, its reading says nothing about the age.
    return age >= 0 && age < ageMs ? this.#head : undefined;
  }
}

/** The head from memory if it is recent enough to commit against, else 1 GetItem. */
export async function observeHead(context: BrokerContext, known: KnownHead, items: ItemStore): Promise<Head> {
  return known.recent(context.clock.nowMs(), context.settings.headCacheMs) ?? (await observeNow(context, known, items));
}

/** 1 GetItem. */
export async function observeNow(context: BrokerContext, known: KnownHead, items: ItemStore): Promise<Head> {
  const sentAtMs = context.clock.nowMs();
  return known.see(await retrying(context, 'not_applied', () => readHead(items, known.name)), sentAtMs);
}
