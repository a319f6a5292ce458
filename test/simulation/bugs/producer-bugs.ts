import type { PlantedBug } from './planted-bug.ts';

const PLAN = 'shared/log/head/plan-commit.ts';
const DECIDE = 'shared/log/head/producer.ts';
const PRODUCERS = 'shared/broker/heads/producers.ts';
const YOUNG = 'shared/broker/memory/young-producers.ts';

/** Of idempotent producers: what a head knows of them, and what keeps out their other tries and older epochs. */
export const PRODUCER_BUGS: readonly PlantedBug[] = [
  {
    name: 'no-fence-keys-left',
    why: 'The first batch of a newer epoch leaves nothing that shuts out the older ones.',
    edits: [{ file: PLAN, from: 'if (producerEpoch > epoch) adds', to: 'if (producerEpoch < 0) adds' }],
  },
  {
    name: 'fence-not-asked-for',
    why: 'A batch does not ask whether a newer epoch has written.',
    edits: [{ file: PLAN, from: 'adds.demandAbsent.push(...fenceKeysOf(slot, producerId, producerEpoch));', to: '' }],
  },
  {
    name: 'fence-of-a-whole-head',
    why: 'The first batch of a newer epoch shuts out the older ones of all partitions that the head decides.',
    edits: [
      { file: PLAN, from: '...fenceKeysOf(slot, producerId', to: '...fenceKeysOf(0, producerId' },
      { file: PLAN, from: '...fenceKeysBelow(slot, producerId', to: '...fenceKeysBelow(0, producerId' },
    ],
  },
  {
    name: 'epoch-of-a-whole-head',
    why: 'A batch is refused for a newer epoch that has written to another partition of the head.',
    edits: [
      {
        file: DECIDE,
        from: "if (slot !== undefined && batch.producerEpoch < slot.epoch) return { type: 'fenced', currentEpoch: slot.epoch };",
        to: "if (slot !== undefined && [...state.slots.values()].some((each) => batch.producerEpoch < (each?.epoch ?? 0))) return { type: 'fenced', currentEpoch: slot.epoch };",
      },
    ],
  },
  {
    name: 'no-once-key-of-a-batch',
    why: 'A batch of an idempotent producer neither leaves nor asks for its once key.',
    edits: [{ file: PLAN, from: 'leaveOnce(batchOnceKey(slot, producerId, producerEpoch, baseSequence));', to: '' }],
  },
  {
    name: 'no-key-of-a-first-batch',
    why: 'Two first batches of a producer that race are accepted in either order.',
    edits: [{ file: PLAN, from: 'if (known === undefined) leaveOnce(', to: 'if (slot < 0) leaveOnce(' }],
  },
  {
    name: 'young-id-begins-anywhere',
    why: 'A batch of a new producer that overtakes its first one is accepted, which is then out of order for ever.',
    edits: [{ file: DECIDE, from: 'return mustBeginAtZero ? beginsAtZero(batch) : {', to: 'return {' }],
  },
  {
    name: 'every-id-counts-as-young',
    why: 'A producer that a partition has forgotten must begin at 0.',
    edits: [{ file: YOUNG, from: 'return producerId >= this.#firstYoungId;', to: 'return producerId >= 0;' }],
  },
  {
    name: 'young-ids-of-the-wrong-day',
    why: 'The ids of today do not count as young until tomorrow.',
    edits: [{ file: YOUNG, from: 'count(COUNTER.firstOfDayBefore)', to: 'count(COUNTER.next)' }],
  },
  {
    name: 'offset-compared-before-duplicates',
    why: 'A retry of a conditional append that was applied is refused for its expected offset.',
    edits: [
      {
        file: PLAN,
        from: 'let state: ProducerState | undefined;',
        to: 'if (expectedOffset !== undefined && expectedOffset < nextOffset) return failed(offsetMismatch(partition, expectedOffset, nextOffset)); let state;',
      },
    ],
  },
  {
    name: 'producer-state-behind-the-head',
    why: 'The state of producers is taken for that of the observed head without what went into tail nodes in between.',
    edits: [
      {
        file: PRODUCERS,
        from: 'for (const event of events) this.applyKnown(event);',
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
        from: 'const events = [...moved, ...eventsOfTail(head)];',
        to: 'const past = await readHead(items, name); const events = [...(await movedEvents(items, name, from, past.firstEntry)), ...eventsOfTail(past)];',
      },
    ],
  },
  {
    name: 'one-batch-of-an-entry',
    why: 'Of several batches that one entry holds of a producer only the first is taken in.',
    edits: [
      {
        file: PRODUCERS,
        from: '{ ...known, state: applyEvent(known.state, event) }',
        to: '{ loadedAsOf: event.entryNumber + 1, state: applyEvent(known.state, event) }',
      },
    ],
  },
  {
    name: 'checkpoint-past-its-entries',
    why: 'A producer is written down as of eight entries more than were taken in.',
    edits: [
      {
        file: PRODUCERS,
        from: '[PRODUCER.belowEntry]: belowEntry,',
        to: '[PRODUCER.belowEntry]: belowEntry + TAIL_NODE_ENTRIES,',
      },
    ],
  },
  {
    name: 'checkpoint-before-the-producers',
    why: 'The checkpoint is written before the producers that it stands for: a crash in between forgets them.',
    edits: [
      {
        file: PRODUCERS,
        from: 'const byProducer = new Map<number, ProducerEvent[]>();',
        to: "await items.update(checkpointKey(name.topicId, name.headNumber), [{ do: 'set', name: CHECKPOINT.belowEntry, value: belowEntry }]); const byProducer = new Map();",
      },
    ],
  },
];
