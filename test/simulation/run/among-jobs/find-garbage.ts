import { parseDueSortKey } from '../../../../shared/storage/keys.ts';
import { EPOCH_MS } from '../../world/simulated-process.ts';
import { type HeadFacts, headOfKey, type StoredFacts, type TakenEntry } from '../../world/watch/stored-facts.ts';
import type { World } from '../../world/world.ts';

/** The attribute after which the store removes an item. */
const EXPIRES_AT = 'e';

/**
 * Goes from the topics through their heads, lists, nodes and entries to all data. What it does not come to, and what does
 * not expire, is left over. Returns what is, some days after the faults were over.
 */
export function findGarbage(world: World): string[] {
  const facts = world.watch.jobs?.facts;
  if (facts === undefined) return [];
  const walk = new Walk(facts, world.watch.topicIds(), EPOCH_MS + world.loop.nowMs);
  return [...walk.items(), ...walk.data(), ...walk.lists()];
}

class Walk {
  private readonly facts: StoredFacts;
  private readonly topicIds: ReadonlySet<string>;
  private readonly nowMs: number;

  constructor(facts: StoredFacts, topicIds: ReadonlySet<string>, nowMs: number) {
    this.facts = facts;
    this.topicIds = topicIds;
    this.nowMs = nowMs;
  }

  *items(): Generator<string> {
    for (const [name, { key, attributes }] of this.facts.items) {
      const kind = key.pk.split('#')[0] as string;
      if (attributes[EXPIRES_AT] !== undefined || !this.isLeft(kind, key.pk, key.sk, name)) continue;
      yield `The item ${name} is left over.`;
    }
  }

  /** Inline batches are items too. */
  *data(): Generator<string> {
    for (const [name, { isThere }] of this.facts.data) {
      if (!isThere || this.facts.writtenInVain.has(name)) continue;
      if (name.startsWith('segments/') ? this.isListed(name) : this.isReferred(name)) continue;
      yield `The data ${name} is left over.`;
    }
  }

  *lists(): Generator<string> {
    for (const head of this.facts.heads.values()) {
      if (head.list === undefined || !this.isOfTopic(head)) continue;
      const { garbage, announcements } = head.list;
      if (garbage.length > 0) yield `The list of head ${head.topicId}#${head.headNumber} still has garbage.`;
      if (announcements.length > 0)
        yield `The list of head ${head.topicId}#${head.headNumber} has a dead announcement.`;
    }
  }

  private isLeft(kind: string, pk: string, sk: string, name: string): boolean {
    switch (kind) {
      case 'due':
        return this.isLeftDue(sk);
      case 'garbage':
        return Number(sk.split('#')[0]) < this.nowMs;
      case 'aborted':
      case 'node': {
        const head = headOfKey(this.facts, pk);
        return !this.isOfTopic(head) || Number(sk) < (head.list?.cleanedEntry ?? 0);
      }
      case 'segments': {
        const head = headOfKey(this.facts, pk);
        if (!this.isOfTopic(head)) return true;
        return sk !== '-' && !this.isListed(name) && !this.facts.writtenInVain.has(name);
      }
      case 'head':
      case 'checkpoint':
      case 'producer':
      case 'use':
        return !this.isOfTopic(headOfKey(this.facts, pk));
      case 'idempotency':
      case 'reference':
        return true;
      default:
        return false;
    }
  }

  private isLeftDue(sk: string): boolean {
    const due = parseDueSortKey(sk);
    return due !== undefined && due.dueAtMs < this.nowMs;
  }

  private isOfTopic({ topicId }: HeadFacts): boolean {
    return this.topicIds.has(topicId);
  }

  private isListed(name: string): boolean {
    return [...this.facts.heads.values()].some((head) => this.isOfTopic(head) && head.named.has(name));
  }

  /**
   * Whether an entry has the data that was not merged and dropped long ago, or that waits for older entries, since unmerged
   * entries are dropped in order. Nobody looks for inline batches in a head that has
   * never taken an entry: its first append finds them, or the deletion of its topic.
   */
  private isReferred(name: string): boolean {
    if (name.startsWith('batch#')) {
      const head = headOfKey(this.facts, name.slice(0, name.indexOf('/')));
      if (this.isOfTopic(head) && head.entries.length === 0) return true;
    }
    return (this.facts.entriesOf.get(name) ?? []).some(
      ({ head, taken }) => this.isOfTopic(head) && (taken.releasedAtMs === undefined || isBehindNeeded(head, taken)),
    );
  }
}

function isBehindNeeded({ entries, list }: HeadFacts, taken: TakenEntry): boolean {
  const unmerged = entries.slice(list?.mergedEntry ?? 0);
  return unmerged.slice(0, Math.max(0, unmerged.indexOf(taken))).some(({ releasedAtMs }) => releasedAtMs === undefined);
}
