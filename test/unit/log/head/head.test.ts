import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { headFromAttributes, nodeFromAttributes, nodeToMove } from '../../../../shared/broker/heads/items.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { makeBatchId } from '../../../../shared/log/head/batch-id.ts';
import { type Entry, packEntry } from '../../../../shared/log/head/entry.ts';
import {
  indexInTail,
  nextEntry,
  partitionBytes,
  partitionState,
  placeNode,
  placeTail,
  TAIL_NODE_ENTRIES,
} from '../../../../shared/log/head/head.ts';
import { HEAD } from '../../../../shared/storage/keys.ts';
import type { Attributes, Update } from '../../../../shared/storage/ports.ts';
import { applyUpdates } from '../../../../shared/storage/rules/item-writes.ts';

interface Commit {
  readonly parts: readonly {
    readonly slot: number;
    readonly records: number;
    readonly bytes: number;
    readonly timestampMs: number;
  }[];
  readonly once: number;
}

const T = 1_700_000_000_000;
const commitArbitrary: fc.Arbitrary<Commit> = fc.record({
  parts: fc.array(
    fc.record({
      slot: fc.nat(15),
      records: fc.integer({ min: 1, max: 500 }),
      bytes: fc.integer({ min: 61, max: 5_000 }),
      timestampMs: fc.integer({ min: -1, max: 2 * T }),
    }),
    { minLength: 1, maxLength: 4 },
  ),
  once: fc.nat(3),
});

/** The head item after these commits, as the committer writes it. */
function commitAll(commits: readonly Commit[], from: Attributes | undefined): Attributes {
  let item = from;
  commits.forEach((commit, i) => {
    const entry: Entry = {
      batchId: makeBatchId(Uint8Array.of(i >> 8, i, 0, 0, 0, 0), T),
      location: 'inline',
      onceKeys: commit.once,
      parts: commit.parts.map(({ slot, records, bytes, timestampMs }) => ({
        slot,
        records,
        bytes,
        position: 0,
        maxTimestampMs: timestampMs,
      })),
    };
    const bySlot = new Map<number, number>();
    for (const { slot, records } of commit.parts) bySlot.set(slot, (bySlot.get(slot) ?? 0) + records);
    const updates: Update[] = [{ do: 'append', name: HEAD.tail, values: [packEntry(entry)] }];
    for (const [slot, by] of bySlot) updates.push({ do: 'add', name: HEAD.next(slot), by });
    const once = Array.from({ length: commit.once }, (_, k) => Uint8Array.of(9, i >> 8, i, k));
    if (once.length > 0) updates.push({ do: 'append', name: HEAD.once, values: once });
    item = applyUpdates(item, updates);
  });
  return item ?? {};
}

describe('a head', () => {
  it('places every part where the ones before it end, in the tail and in the nodes that it becomes', () => {
    fc.assert(
      fc.property(fc.array(commitArbitrary, { minLength: 1, maxLength: 40 }), (commits) => {
        const next = new Map<number, number>();
        const bytes = new Map<number, number>();
        const expected = commits.flatMap(({ parts }, entryNumber) =>
          parts.map(({ slot, records, bytes: size }) => {
            const baseOffset = next.get(slot) ?? 0;
            next.set(slot, baseOffset + records);
            bytes.set(slot, (bytes.get(slot) ?? 0) + size);
            return { entryNumber, slot, records, baseOffset };
          }),
        );
        let item = commitAll(commits, undefined);
        const placed: typeof expected = [];
        const once: Uint8Array[] = [];
        for (;;) {
          const head = headFromAttributes(item);
          expect(nextEntry(head)).toBe(commits.length);
          for (let slot = 0; slot < 16; slot++) {
            expect(partitionState(head, slot).nextOffset).toBe(next.get(slot) ?? 0);
            expect(partitionBytes(head, slot)).toBe(bytes.get(slot) ?? 0);
          }
          const inTail = placeTail(head).map(({ entryNumber, part, baseOffset }) => ({
            entryNumber,
            slot: part.slot,
            records: part.records,
            baseOffset,
          }));
          expect([...placed, ...inTail]).toEqual(expected);
          expect([...once, ...head.once]).toHaveLength(commits.reduce((sum, commit) => sum + commit.once, 0));
          head.tail.forEach((entry, i) => {
            expect(indexInTail(head, entry.packed)).toBe(i);
          });
          if (head.tail.length < TAIL_NODE_ENTRIES) break;
          const moved = nodeToMove(head, []);
          const node = nodeFromAttributes(moved.firstEntry, moved.node);
          expect(node.entries).toHaveLength(TAIL_NODE_ENTRIES);
          placed.push(
            ...placeNode(node).map(({ entryNumber, part, baseOffset }) => ({
              entryNumber,
              slot: part.slot,
              records: part.records,
              baseOffset,
            })),
          );
          once.push(...node.once);
          item = applyUpdates(item, moved.updates);
        }
      }),
      { numRuns: 60 },
    );
  });

  it('gives the same node whoever moves it, whatever came after', () => {
    fc.assert(
      fc.property(
        fc.array(commitArbitrary, { minLength: 8, maxLength: 12 }),
        fc.array(commitArbitrary, { maxLength: 5 }),
        (commits, later) => {
          const early = nodeToMove(headFromAttributes(commitAll(commits, undefined)), []);
          const late = nodeToMove(headFromAttributes(commitAll([...commits, ...later], undefined)), []);
          expect(late.node).toEqual(early.node);
          expect(late.firstEntry).toBe(early.firstEntry);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('that contradicts itself is refused', () => {
    const item = commitAll([{ parts: [{ slot: 2, records: 5, bytes: 90, timestampMs: T }], once: 1 }], undefined);
    const codeOf = (attributes: Attributes): string => {
      try {
        headFromAttributes(attributes);
        return 'fine';
      } catch (error) {
        return error instanceof EventLogError ? error.code : String(error);
      }
    };
    expect(codeOf(item)).toBe('fine');
    expect(codeOf({})).toBe('fine');
    expect(codeOf({ ...item, [HEAD.next(2)]: 6 })).toBe('internal');
    expect(codeOf({ ...item, [HEAD.next(3)]: 1 })).toBe('internal');
    expect(codeOf({ ...item, [HEAD.start(2)]: 6 })).toBe('internal');
    expect(codeOf({ ...item, [HEAD.once]: [] })).toBe('internal');
    expect(codeOf({ ...item, [HEAD.tail]: [] })).toBe('internal');
    expect(codeOf({ ...item, [HEAD.tail]: [Uint8Array.of(1, 2, 3)] })).toBe('corrupt_data');
    expect(codeOf({ ...item, [HEAD.tail]: 'text' })).toBe('corrupt_data');
    expect(codeOf({ ...item, [HEAD.totalsBeforeTail]: Uint8Array.of(9) })).toBe('corrupt_data');
    expect(codeOf({ ...item, [HEAD.totalsBeforeTail]: 5 })).toBe('corrupt_data');
  });
});
