import type { PlantedBug } from './planted-bug.ts';

const LOOK = 'shared/broker/read/look-until.ts';
const GROUPS = 'shared/broker/append/group-commit.ts';
const STORES = 'test/simulation/world/replicated-items.ts';

/** Of reads, what a process remembers for them, and what wakes those that wait. */
export const READ_BUGS: readonly PlantedBug[] = [
  {
    name: 'end-from-memory',
    why: 'A read trusts the head that it saw a short while ago for the end of the partition.',
    edits: [
      {
        file: 'shared/broker/read/view-partitions.ts',
        from: 'const head = await readHead(stores.items, name);',
        to: 'const seen = (context.seen ??= new Map()); const kept = seen.get(topicId + headNumber); const isKept = kept !== undefined && context.clock.nowMs() - kept.atMs < 1_000; const head = isKept ? kept.head : await readHead(stores.items, name); if (!isKept) seen.set(topicId + headNumber, { head, atMs: context.clock.nowMs() });',
      },
    ],
  },
  {
    name: 'wake-up-lost',
    why: 'A read begins to listen for appends after it has looked: one in between does not wake it.',
    edits: [
      { file: LOOK, from: 'listener?.reset();', to: '' },
      {
        file: LOOK,
        from: 'if (listener === undefined || leftMs <= 0',
        to: 'listener?.reset(); if (listener === undefined || leftMs <= 0',
      },
    ],
  },
  {
    name: 'kept-from-the-wrong-place',
    why: 'What is kept for a waiting read is cut from the beginning of the data, wherever the part is.',
    edits: [
      {
        file: GROUPS,
        from: 'group.slice(placed.part.position, placed.part.bytes)',
        to: 'group.data().slice(0, placed.part.bytes)',
      },
    ],
  },
  {
    name: 'kept-at-the-wrong-offset',
    why: 'What is kept for a waiting read has the offsets of the part before it.',
    edits: [
      {
        file: 'shared/log/head/head.ts',
        from: 'const baseOffset = next[part.slot] ?? firstOffset(part.slot);',
        to: 'const baseOffset = firstOffset(part.slot);',
      },
    ],
  },
  {
    name: 'forgotten-topic-stays-known',
    why: 'A topic that is forgotten while it is being read is remembered as it was.',
    edits: [
      {
        file: 'shared/broker/memory/topic-cache.ts',
        from: 'if (isOlder || found.read <= this.#lastOutdated) return;',
        to: 'if (isOlder) return;',
      },
    ],
  },
  {
    name: 'topic-read-passed-by',
    why: 'An append for which the topic is still known passes one that waits for the topic, once the clock is set back.',
    edits: [
      {
        file: 'shared/broker/memory/topic-cache.ts',
        from: 'if (under !== undefined) return under;',
        to: 'if (under !== undefined && !(this.#clock.nowMs() - (this.#kept.get(name)?.readAtMs ?? 0) < this.#lifetimeMs)) return under;',
      },
    ],
    isRare: true,
  },
  {
    name: 'gets-are-eventually-consistent',
    why: 'An item is read without asking for a strongly consistent read.',
    edits: [{ file: STORES, from: 'const GETS_ARE_STRONG = true;', to: 'const GETS_ARE_STRONG = false;' }],
  },
  {
    name: 'queries-are-eventually-consistent',
    why: 'Items are queried without asking for a strongly consistent read.',
    edits: [{ file: STORES, from: 'const QUERIES_ARE_STRONG = true;', to: 'const QUERIES_ARE_STRONG = false;' }],
  },
];
