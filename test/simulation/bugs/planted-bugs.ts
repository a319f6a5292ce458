/**
 * Bugs that are planted on purpose, to see that the simulator finds them: what finds none of these proves nothing. Each is
 * a change of the product's source text, made by `plant-bug.ts` while the source is loaded and nowhere else, so the
 * product itself holds no switch.
 */
export interface PlantedBug {
  readonly name: string;
  /** What goes wrong, for whoever reads the list. */
  readonly why: string;
  readonly edits: readonly SourceEdit[];
  /** Met by one seed of many thousands: its own in `regressions.ts` has to do. */
  readonly isRare?: true;
}

export interface SourceEdit {
  /** From the repository's root. */
  readonly file: string;
  /** Occurs in the file once. */
  readonly from: string;
  readonly to: string;
}

const COMMITTER = 'shared/broker/append/group-commit.ts';
const COMMITS = 'shared/broker/heads/commit.ts';
const PLAN = 'shared/log/head/plan-commit.ts';
const HEADS = 'shared/broker/heads/items.ts';
const PRODUCERS = 'shared/broker/heads/producers.ts';

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    name: 'commit-before-data',
    why: 'The entry is committed while its data is still being written: a crash leaves an entry without data.',
    edits: [
      {
        file: COMMITTER,
        from: `    const data = batch.data();
    for (;;) {
      const batchId = this.newBatchId();
`,
        to: `    const data = batch.data();
    for (;;) {
      const batchId = this.newBatchId();
      if (data.length > 0) {
        const put = () => items.put(inlineBatchKey(batchId), { [INLINE_BATCH.data]: data });
        void retrying(this.context, 'not_applied', put).catch(() => {});
        return { batchId, location: 'inline' };
      }
`,
      },
    ],
  },
  {
    name: 'no-own-entry-check',
    why: 'A repeated request is not held against the tail: what was applied and not answered is applied again.',
    edits: [{ file: COMMITS, from: `    { if: 'lacks', name: HEAD.tail, value: commit.packed },\n`, to: '' }],
  },
  {
    name: 'observed-fence-ignored',
    why: 'A request may be applied although the tail has moved past what was observed, where its first try went.',
    edits: [{ file: COMMITS, from: `    { if: 'at_most', name: HEAD.firstEntry, value: observedEntry },\n`, to: '' }],
  },
  {
    name: 'retry-under-fresh-batch-id',
    why: 'After an unknown outcome the same records are written and committed again under another batch id.',
    edits: [
      {
        file: COMMITTER,
        from: `        .then((data) => this.commits.commitBatch(batch, data))
`,
        to: `        .then((data) => this.commits.commitBatch(batch, data))
        .catch(() => this.putInline(batch).then((data) => this.commits.commitBatch(batch, data)))
`,
      },
    ],
  },
  {
    name: 'node-of-varying-length',
    why: 'A mover takes all entries it sees, so two movers write different nodes under one sequence.',
    edits: [
      {
        file: HEADS,
        from: 'head.tail.slice(0, TAIL_NODE_ENTRIES)',
        to: 'head.tail.slice(0, Math.max(TAIL_NODE_ENTRIES, head.tail.length - 1))',
      },
    ],
  },
  {
    name: 'acknowledge-before-commit',
    why: 'The append is answered with the offsets that it should get, before it has them.',
    edits: [
      {
        file: COMMITS,
        from: `      const result = await this.commit(queue, items, head, plan.commit, deadlineMs);
`,
        to: `      const hoped = [...plan.commit.recordsBySlot.keys()].map((slot) => [slot, partitionState(head, slot).nextOffset]);
      this.acknowledge(batch, plan.commit, new Map(hoped as [number, number][]), head);
      const result = await this.commit(queue, items, head, plan.commit, deadlineMs);
`,
      },
    ],
  },
  {
    name: 'end-from-memory',
    why: 'A read trusts the head that it saw a short while ago for the end of the partition.',
    edits: [
      {
        file: 'shared/broker/read/view-partitions.ts',
        from: '(headNumber) => readHead(stores.items, { topicId, headNumber })',
        to: `async (headNumber) => {
    const remembered = (context as { heads?: Map<string, { head: Head; atMs: number }> }).heads ?? new Map();
    (context as { heads?: Map<string, { head: Head; atMs: number }> }).heads = remembered;
    const kept = remembered.get(topicId + headNumber);
    const isFresh = kept !== undefined && context.clock.nowMs() - kept.atMs < 1_000;
    const head = isFresh ? kept.head : await readHead(stores.items, { topicId, headNumber });
    if (!isFresh) remembered.set(topicId + headNumber, { head, atMs: context.clock.nowMs() });
    return head;
  }`,
      },
    ],
  },
  {
    name: 'once-keys-of-the-wrong-entries',
    why: 'A tail move takes away the once keys of one entry more than it moves.',
    edits: [
      {
        file: HEADS,
        from: 'const keys = onceKeysOf(head, moving.length);',
        to: 'const keys = onceKeysOf(head, moving.length + 1);',
      },
    ],
  },
  {
    name: 'no-fence-keys-left',
    why: 'The first batch of a newer epoch leaves nothing that shuts out the older ones.',
    edits: [{ file: PLAN, from: 'if (producerEpoch > (state?.epoch ?? 0)) {', to: 'if (producerEpoch < 0) {' }],
  },
  {
    name: 'fence-not-asked-for',
    why: 'A batch does not ask whether a newer epoch has written.',
    edits: [
      {
        file: PLAN,
        from: 'unitDemand.push(onceKey, ...fenceKeysOf(producerId, producerEpoch));',
        to: 'unitDemand.push(onceKey);',
      },
    ],
  },
  {
    name: 'no-once-key-of-a-batch',
    why: 'A batch of an idempotent producer neither leaves nor asks for its once key.',
    edits: [
      {
        file: PLAN,
        from: `        unitLeave.push(onceKey);
        unitDemand.push(onceKey, ...fenceKeysOf(producerId, producerEpoch));`,
        to: '        unitDemand.push(...fenceKeysOf(producerId, producerEpoch));',
      },
    ],
  },
  {
    name: 'no-key-of-a-first-batch',
    why: 'Two first batches of a producer that race are accepted in either order.',
    edits: [{ file: PLAN, from: 'if (!state?.slots.has(part.slot)) {', to: 'if (part.slot < 0) {' }],
  },
  {
    name: 'producer-state-behind-the-head',
    why: 'The state of producers is taken for that of the observed head without what went into tail nodes in between.',
    edits: [
      {
        file: PRODUCERS,
        from: 'for (const part of await movedParts(items, name, this.asOf, head.firstEntry)) this.applyKnown(part);',
        to: '',
      },
    ],
  },
  {
    name: 'producer-state-past-the-head',
    why: 'The state of a producer is read past the observed head and taken for its: batches come in twice and push others out.',
    edits: [
      {
        file: PRODUCERS,
        from: 'import { type HeadName, nodesBetween }',
        to: 'import { type HeadName, nodesBetween, readHead }',
      },
      {
        file: PRODUCERS,
        from: 'const parts = [...(await movedParts(items, name, from, head.firstEntry)), ...placeTail(head)];',
        to: `const past = await readHead(items, name);
    const parts = [...(await movedParts(items, name, from, past.firstEntry)), ...placeTail(past)];`,
      },
    ],
  },
  {
    name: 'one-batch-of-an-entry',
    why: 'Of several batches that one entry holds of a producer only the first is taken in.',
    edits: [
      {
        file: PRODUCERS,
        from: '{ ...known, state: applyPart(known.state, placed) }',
        to: '{ loadedAsOf: placed.sequence + 1, state: applyPart(known.state, placed) }',
      },
    ],
  },
  {
    name: 'sequence-moved-before-the-node',
    why: 'The head lets go of entries before the tail node that holds them is written: a crash in between loses them.',
    edits: [
      { file: COMMITS, from: '    await items.put(nodeKey(queue.name, sequence), node);\n', to: '' },
      {
        file: COMMITS,
        from: `    queue.see(headFromAttributes(result.attributes, head), sentAtMs);
    const end`,
        to: `    queue.see(headFromAttributes(result.attributes, head), sentAtMs);
    await items.put(nodeKey(queue.name, sequence), node);
    const end`,
      },
    ],
  },
  {
    name: 'tail-moved-without-condition',
    why: 'Two movers both take eight entries off the tail, of which only one has written a node.',
    edits: [
      {
        file: COMMITS,
        from: "items.update(key, updates, [{ if: 'equals', name: HEAD.firstEntry, value: sequence }]);",
        to: 'items.update(key, updates, []);',
      },
    ],
  },
  {
    name: 'refusal-from-memory',
    why: 'An append is refused by what the process remembers of the head, which may have gone on.',
    edits: [{ file: COMMITS, from: 'if (!isFresh && hasRefusals(plan)) {', to: 'if (isFresh && !isFresh) {' }],
  },
  {
    name: 'expected-offset-not-demanded',
    why: 'The expected offset is compared with what was observed, and not asked for in the commit.',
    edits: [
      {
        file: COMMITS,
        from: `  for (const [slot, value] of commit.expected) conditions.push({ if: 'equals', name: HEAD.next(slot), value });\n`,
        to: '',
      },
    ],
  },
  {
    name: 'unknown-taken-for-refused',
    why: 'An append whose fate is not known is answered as if it had not been applied.',
    edits: [
      {
        file: 'shared/broker/retry.ts',
        from: `if (outcome === 'as_it_says' && error.outcome === 'unknown') known = 'unknown';`,
        to: '',
      },
    ],
  },
  {
    name: 'key-looked-for-too-late',
    why: 'A retry under an idempotency key does not look at the tail nodes since its first try.',
    edits: [
      {
        file: COMMITS,
        from: 'nodesBetween(items, name, idempotency.observedEntry, head.firstEntry, ask)',
        to: 'nodesBetween(items, name, head.firstEntry, head.firstEntry, ask)',
      },
    ],
  },
  {
    name: 'heads-left-open',
    why: 'A topic is deleted without closing its heads: who remembers it goes on appending to it.',
    edits: [
      {
        file: 'shared/broker/topics/put-topic.ts',
        from: `  await eachHead(marked, (headNumber) =>
    items.update(headKey(topic.topicId, headNumber), [{ do: 'set', name: HEAD.closed, value: 1 }]),
  );
`,
        to: '',
      },
    ],
  },
  {
    name: 'topic-brought-back',
    why: 'The item of a topic is gone once it is deleted: a request to make the topic that arrives late brings it back.',
    edits: [
      {
        file: 'shared/broker/topics/put-topic.ts',
        from: `  await items.update(
    topicKey(topic.name),
    [{ do: 'set', name: TOPIC.deletedAtMs, value: context.clock.nowMs() }],
    [
      { if: 'equals', name: TOPIC.topicId, value: topic.topicId },
      { if: 'absent', name: TOPIC.deletedAtMs },
    ],
  );
`,
        to: `  await items.delete(topicKey(topic.name), [{ if: 'equals', name: TOPIC.topicId, value: topic.topicId }]);
`,
      },
    ],
  },
  {
    name: 'ends-of-a-deleted-topic',
    why: 'The ends of partitions are returned from closed heads, because the topic is still cached.',
    edits: [
      {
        file: 'shared/broker/topics/put-topic.ts',
        from: 'if (heads.some((head) => head.closed)) {',
        to: 'if (heads.length === 0) {',
      },
    ],
  },
  {
    name: 'keyed-append-goes-over',
    why: 'An append under a key goes over to a topic that is made under the same name meanwhile, where no retry finds it.',
    edits: [
      {
        file: 'shared/broker/append/append-batches.ts',
        from: 'if (identity !== undefined && topic.topicId !== identity.topicId) throw deletedMeanwhile(given.topic);',
        to: '',
      },
    ],
    isRare: true,
  },
];
