import { type Head, nextEntry } from '../../log/head/head.ts';
import type { ItemStore } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { retrying } from '../retry.ts';
import { type HeadName, readHead } from './items.ts';
import { HeadProducers } from './producers.ts';

/** One head as this process knows it. Only commits and tail moves change it. */
export class KnownHead {
  readonly topicName: string;
  readonly name: HeadName;
  readonly producers = new HeadProducers();
  /** Whether the tail is being moved in the background. */
  isMoving = false;
  #head: Head | undefined;
  #observedAtMs = Number.NEGATIVE_INFINITY;

  constructor(topicName: string, name: HeadName) {
    this.topicName = topicName;
    this.name = name;
  }

  /** The newest observed state; `undefined` before the first observation. */
  get head(): Head | undefined {
    return this.#head;
  }

  /** Stores a state that was observed by a request sent at `sentAtMs`, and returns the newest known state. */
  see(head: Head, sentAtMs: number): Head {
    const known = this.#head;
    const newest = known === undefined || isNewer(head, known) ? head : known;
    this.#head = newest;
    this.#observedAtMs = Math.max(this.#observedAtMs, sentAtMs);
    return newest;
  }

  /** The state in memory if it was observed within the last `ageMs`. */
  recent(nowMs: number, ageMs: number): Head | undefined {
    const age = nowMs - this.#observedAtMs;
    // If the clock was set back, it says nothing about the age.
    return age >= 0 && age < ageMs ? this.#head : undefined;
  }
}

function isNewer(head: Head, known: Head): boolean {
  // A closed head is never opened again. It may have fewer entries than before, once its topic has been swept.
  if (head.closed !== known.closed) return head.closed;
  if (nextEntry(head) !== nextEntry(known)) return nextEntry(head) > nextEntry(known);
  return head.firstEntry >= known.firstEntry;
}

/** Returns the cached head if it is recent enough to commit against, otherwise reads it with 1 GetItem. */
export async function observeHead(context: BrokerContext, known: KnownHead, items: ItemStore): Promise<Head> {
  return known.recent(context.clock.nowMs(), context.settings.headCacheMs) ?? (await observeNow(context, known, items));
}

/** 1 GetItem. */
export async function observeNow(context: BrokerContext, known: KnownHead, items: ItemStore): Promise<Head> {
  const sentAtMs = context.clock.nowMs();
  return known.see(await retrying(context, 'not_applied', () => readHead(items, known.name)), sentAtMs);
}
