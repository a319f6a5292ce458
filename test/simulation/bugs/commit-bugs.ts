import type { PlantedBug } from './planted-bug.ts';

const WRITE = 'shared/broker/data/write-data.ts';
const GROUPS = 'shared/broker/append/group-commit.ts';
const COMMIT = 'shared/broker/heads/commit/commit-group.ts';
const ENTRY = 'shared/broker/heads/commit/commit-entry.ts';
const UNTIL_CERTAIN = 'shared/broker/heads/commit/send-until-certain.ts';
const HEADS = 'shared/broker/heads/items.ts';
const MOVE = 'shared/broker/heads/move-tail.ts';
const PLAN = 'shared/log/head/plan-commit.ts';

/** Of data, entries, heads and tails. */
export const COMMIT_BUGS: readonly PlantedBug[] = [
  {
    name: 'commit-before-data',
    why: 'The entry is committed while its data is still being written: a crash leaves an entry without data.',
    edits: [
      {
        file: WRITE,
        from: "const result = await retrying(context, 'not_applied', () =>",
        to: 'const early = (...sent) => (void retrying(...sent).catch(() => {}), { ok: true }); const result = early(context, "not_applied", () =>',
      },
    ],
  },
  {
    name: 'commit-before-object',
    why: 'The entry is committed while the object that holds its data is still being written.',
    edits: [
      {
        file: WRITE,
        from: "const put = await retrying(context, 'not_applied', () =>",
        to: 'const early = (...sent) => (void retrying(...sent).catch(() => {}), "created"); const put = early(context, "not_applied", () =>',
      },
    ],
  },
  {
    name: 'data-not-put-beside',
    why: 'A commit that writes the data of its entry too is sent again without the data.',
    edits: [
      {
        file: ENTRY,
        from: 'const send = () => items.update(key, updates, conditions, beside);',
        to: 'let tries = 0; const send = () => items.update(key, updates, conditions, tries++ === 0 ? beside : undefined);',
      },
    ],
  },
  {
    name: 'data-put-beside-forgotten-early',
    why: 'Data that is put beside a commit counts as written although the commit was refused.',
    edits: [
      {
        file: COMMIT,
        from: 'if (fate.applied) {',
        to: 'if (beside !== undefined) group.unwritten = undefined; if (fate.applied) {',
      },
    ],
  },
  {
    name: 'data-put-beside-of-another-group',
    why: 'The data that is put beside a commit is not laid out as its entry says.',
    edits: [
      {
        file: WRITE,
        from: 'attributes: { [INLINE_BATCH.data]: data } };',
        to: 'attributes: { [INLINE_BATCH.data]: data.slice().reverse() } };',
      },
    ],
  },
  {
    name: 'no-own-entry-check',
    why: 'A repeated request is not held against the tail: what was applied and not answered is applied again.',
    edits: [{ file: ENTRY, from: "{ if: 'lacks', name: HEAD.tail, value: commit.packed },", to: '' }],
  },
  {
    name: 'observed-fence-ignored',
    why: 'A request may be applied although the tail has moved past what was observed, where its first try went.',
    edits: [{ file: ENTRY, from: "{ if: 'at_most', name: HEAD.firstEntry, value: observedEntry },", to: '' }],
  },
  {
    name: 'retry-under-fresh-batch-id',
    why: 'After an unknown outcome the same records are written and committed again under another batch id.',
    edits: [
      {
        file: GROUPS,
        from: '.then((data) => this.#commit(queue, group, data))',
        to: '.then((data) => this.#commit(queue, group, data).catch(async () => this.#commit(queue, group, await writeData(this.#context, [group]).get(group))))',
      },
    ],
  },
  {
    name: 'full-tail-not-moved',
    why: 'A commit that met a full tail is taken for refused, and planned again without moving the tail.',
    edits: [
      {
        file: ENTRY,
        from: 'if (met.closed || contradicts(met, commit) ||',
        to: 'if (met.closed || contradicts(met, commit) || met.tail.length >= TAIL_ENTRIES_MAX ||',
      },
    ],
  },
  {
    name: 'full-tail-taken-for-refused',
    why: 'A commit that met a full tail is given up for good, while an earlier try of it can still be applied.',
    edits: [
      {
        file: ENTRY,
        from: "await retrying(context, 'unknown', () => moveTail(context, known), deadlineMs);",
        to: "await retrying(context, 'unknown', () => moveTail(context, known), deadlineMs); return { applied: false, head: known.head };",
      },
    ],
  },
  {
    name: 'uncertainty-forgotten',
    why: 'A commit that is sent again counts as not applied once it fails, though its first try may have been.',
    edits: [{ file: UNTIL_CERTAIN, from: "; ; outcomeIfFailed = 'unknown')", to: '; ; )' }],
  },
  {
    name: 'unknown-taken-for-refused',
    why: 'An append whose fate is not known is answered as if it had not been applied.',
    edits: [
      {
        file: 'shared/broker/retry.ts',
        from: "if (outcomeIfFailed === 'from_error' && error.outcome === 'unknown') outcome = 'unknown';",
        to: '',
      },
    ],
  },
  {
    name: 'own-entry-at-the-wrong-number',
    why: 'An entry that an earlier try left in the tail is looked for under a wrong number.',
    edits: [{ file: ENTRY, from: 'met.firstEntry + index', to: 'met.firstEntry + index + 1' }],
  },
  {
    name: 'acknowledge-before-commit',
    why: 'The append is answered with the offsets that it should get, before it has them.',
    edits: [
      {
        file: COMMIT,
        from: 'const fate = await commitEntry(',
        to: 'settleCommitted(group, commit, commit.entry.parts.map((part) => ({ part, baseOffset: partitionState(head, part.slot).nextOffset })), head); const fate = await commitEntry(',
      },
    ],
  },
  {
    name: 'refusal-from-memory',
    why: 'An append is refused by what the process remembers of the head, which may have gone on.',
    edits: [{ file: COMMIT, from: 'if (!isFresh && hasRefusals(plan)) {', to: 'if (isFresh && !isFresh) {' }],
  },
  {
    name: 'fresh-without-a-read',
    why: 'A head that is remembered from an earlier group counts as just read.',
    edits: [{ file: COMMIT, from: 'let isFresh = head !== remembered;', to: 'let isFresh = true;' }],
  },
  {
    name: 'expected-offset-not-demanded',
    why: 'The expected offset is compared with what was observed, and not asked for in the commit.',
    edits: [{ file: ENTRY, from: 'for (const [slot, value] of commit.expected) conditions.push(', to: '[].push(' }],
  },
  {
    name: 'deferred-append-overtaken',
    why: 'Appends behind one that must wait for the next entry are committed before it.',
    edits: [{ file: PLAN, from: 'if (deferred.length > 0) {', to: 'if (deferred.length < 0) {' }],
  },
  {
    name: 'node-of-varying-length',
    why: 'A mover takes all entries it sees, so two movers write different nodes under one number.',
    edits: [
      {
        file: HEADS,
        from: 'head.tail.slice(0, TAIL_NODE_ENTRIES)',
        to: 'head.tail.slice(0, Math.max(TAIL_NODE_ENTRIES, head.tail.length - 1))',
      },
    ],
  },
  {
    name: 'once-keys-of-the-wrong-entries',
    why: 'A tail move takes away the once keys of one entry more than it moves.',
    edits: [{ file: HEADS, from: 'onceKeysOf(head, moving.length)', to: 'onceKeysOf(head, moving.length + 1)' }],
  },
  {
    name: 'head-moved-before-the-node',
    why: 'The head lets go of entries before the tail node that holds them is written: a crash in between loses them.',
    edits: [
      { file: MOVE, from: 'await items.put(nodeKey(name, firstEntry), node);', to: '' },
      {
        file: MOVE,
        from: 'known.see(headFromAttributes(result.attributes, head), sentAtMs);',
        to: 'known.see(headFromAttributes(result.attributes, head), sentAtMs); await items.put(nodeKey(name, firstEntry), node);',
      },
    ],
  },
  {
    name: 'tail-moved-without-condition',
    why: 'Two movers both take eight entries off the tail, of which only one has written a node.',
    edits: [{ file: MOVE, from: "{ if: 'equals', name: HEAD.firstEntry, value: firstEntry },", to: '' }],
  },
  {
    name: 'moved-tail-not-seen',
    why: 'The mover of a tail does not take in what the head is like afterwards, and moves the same entries for ever.',
    edits: [
      { file: MOVE, from: 'known.see(headFromAttributes(result.attributes, head), sentAtMs);', to: '' },
      { file: MOVE, from: 'if (known.head?.firstEntry === before) return;', to: '' },
    ],
  },
];
