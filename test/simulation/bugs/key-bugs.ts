import type { PlantedBug } from './planted-bug.ts';

const KEY = 'shared/broker/append/idempotency-key.ts';
const RECORDS = 'shared/broker/append/append-records.ts';
const PLAN = 'shared/log/head/plan-commit.ts';

/** Of idempotency keys: their notes, their uses, and giving them free. */
export const KEY_BUGS: readonly PlantedBug[] = [
  {
    name: 'key-looked-for-too-late',
    why: 'A retry under an idempotency key does not look at the tail nodes since its first try.',
    edits: [
      {
        file: 'shared/broker/heads/uses.ts',
        from: 'for (let from = observedEntry; ; ) {',
        to: 'for (let from = head.firstEntry; ; ) {',
      },
    ],
  },
  {
    name: 'key-stands-for-anything',
    why: 'An idempotency key that was used for one append is taken for another, which gets its answer.',
    edits: [{ file: KEY, from: 'if (note[IDEMPOTENCY.fingerprint] !== fingerprint) throw keyReused();', to: '' }],
  },
  {
    name: 'two-of-one-use-in-an-entry',
    why: 'Two tries of one append under a key that meet in a group go into the same entry.',
    edits: [
      {
        file: PLAN,
        from: 'if (useKey !== undefined && gathered.leave.some(',
        to: 'if (useKey === null && gathered.leave.some(',
      },
    ],
  },
  {
    name: 'use-not-demanded-absent',
    why: 'A try under a key does not ask whether another has been applied since it looked.',
    edits: [{ file: PLAN, from: 'gathered.demandAbsent.push(useKey);', to: '' }],
  },
  {
    name: 'expired-note-replaced-blindly',
    why: 'Two requests under a key that has expired both replace its note, and are both appended.',
    edits: [
      {
        file: KEY,
        from: "else condition = { if: 'equals'",
        to: "else if (put.attributes[IDEMPOTENCY.released] === undefined) condition = { if: 'item_exists' }; else condition = { if: 'equals'",
      },
    ],
  },
  {
    name: 'released-note-replaced-blindly',
    why: 'Two requests under a key that was given free both replace its note, and are both appended.',
    edits: [
      {
        file: KEY,
        from: "else condition = { if: 'equals'",
        to: "else if (put.attributes[IDEMPOTENCY.released] !== undefined) condition = { if: 'item_exists' }; else condition = { if: 'equals'",
      },
    ],
  },
  {
    name: 'key-never-given-free',
    why: 'A rejected append keeps its idempotency key.',
    edits: [{ file: KEY, from: 'await mark(IDEMPOTENCY.released, 1);', to: '' }],
  },
  {
    name: 'shut-out-skipped',
    why: 'A use of a key is not shut out of its head, so that it is never certain and the key is not given free.',
    edits: [{ file: RECORDS, from: 'await shutOut(context, groupCommit, keyed);', to: '' }],
  },
  {
    name: 'given-free-before-shut-out',
    why: 'A key is given free while a late try of the rejected append can still be applied.',
    edits: [
      {
        file: RECORDS,
        from: "if (mismatchOf(settled) === 'ahead_of_end') {",
        to: "if (mismatchOf(settled) === 'ahead_of_end') { await settleKey(context, keyed, 'rejected'); return outcomes;",
      },
    ],
  },
  {
    name: 'use-named-by-its-content',
    why: 'The same append under a key that was given free is taken for the one that was shut out.',
    edits: [
      {
        file: KEY,
        from: 'toHex(context.random.bytes(USE_BYTES))',
        to: 'toHex(hashOf(fingerprint))',
      },
    ],
  },
  {
    name: 'note-of-another-use-settled',
    why: 'A late try gives free, or answers, a key that stands for another append by now.',
    edits: [{ file: KEY, from: "[{ do: 'set', name, value }], [isThisUse]", to: "[{ do: 'set', name, value }], []" }],
  },
];
