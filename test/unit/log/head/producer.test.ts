import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NO_SEQUENCE } from '../../../../shared/log/batch/write-batch.ts';
import {
  addSequence,
  applyBatch,
  decideProducer,
  type ProducedBatch,
  type ProducerDecision,
  type ProducerState,
  producedBatch,
} from '../../../../shared/log/head/producer.ts';
import { SEQUENCE_MAX } from '../../../../shared/log/limits.ts';

const batch = (slot: number, producerEpoch: number, baseSequence: number, records: number): ProducedBatch => ({
  slot,
  producerEpoch,
  baseSequence,
  records,
});

/** Batches of one record each or as given, one after the other from offset 0. */
function stateAfter(batches: readonly ProducedBatch[], first?: ProducerState): ProducerState | undefined {
  let offset = 0;
  let state = first;
  for (const appended of batches) {
    state = applyBatch(state, appended, offset);
    offset += appended.records;
  }
  return state;
}

const seven = stateAfter([0, 10, 20, 30, 40, 50, 60].map((sequence) => batch(0, 3, sequence, 10)));
const wrapped = stateAfter([batch(0, 0, SEQUENCE_MAX - 4, 3)]);
const wrappedExactly = stateAfter([batch(0, 0, SEQUENCE_MAX - 9, 10)]);
const across = stateAfter([batch(0, 0, SEQUENCE_MAX - 1, 10)]);

const unnumbered = batch(0, 3, NO_SEQUENCE, 5);

const accepted: ProducerDecision = { type: 'accepted' };
const outOfOrder = (expectedSequence: number): ProducerDecision => ({ type: 'out_of_order', expectedSequence });
const duplicate = (baseOffset: number): ProducerDecision => ({ type: 'duplicate', baseOffset });
const fenced = (currentEpoch: number): ProducerDecision => ({ type: 'fenced', currentEpoch });

const cases: [what: string, state: ProducerState | undefined, batch: ProducedBatch, ProducerDecision, young?: true][] =
  [
    ['an unknown producer may begin at 0', undefined, batch(0, 0, 0, 1), accepted],
    [
      'an unknown producer of an old id can begin anywhere, as its state may have expired',
      undefined,
      batch(0, 4, 77, 1),
      accepted,
    ],
    ['an unknown producer of a young id begins at 0', undefined, batch(0, 4, 0, 1), accepted, true],
    ['a batch of a young id that overtook its first one waits', undefined, batch(0, 4, 77, 1), outOfOrder(0), true],
    ['a young id begins at 0 in each slot', seven, batch(5, 3, 70, 1), outOfOrder(0), true],
    ['a young id goes on in a slot that knows it', seven, batch(0, 3, 70, 1), accepted, true],
    ['a batch without a sequence', seven, batch(0, 3, NO_SEQUENCE, 5), accepted],
    ['one of a young id in a slot that does not know it', undefined, batch(0, 0, NO_SEQUENCE, 5), accepted, true],
    ['one of an older epoch', seven, batch(0, 2, NO_SEQUENCE, 5), fenced(3)],
    ['another one of as many records', stateAfter([unnumbered], seven), unnumbered, accepted],
    ['the next sequence after one without', stateAfter([unnumbered], seven), batch(0, 3, 70, 5), accepted],
    ['the first sequence after one without', stateAfter([unnumbered]), batch(0, 3, 0, 5), accepted],
    ['the next sequence', seven, batch(0, 3, 70, 5), accepted],
    ['the last batch again', seven, batch(0, 3, 60, 10), duplicate(60)],
    ['the fifth last batch again', seven, batch(0, 3, 20, 10), duplicate(20)],
    ['the sixth last batch again', seven, batch(0, 3, 10, 10), outOfOrder(70)],
    ['a duplicate by its sequence, but of other length', seven, batch(0, 3, 60, 9), outOfOrder(70)],
    ['a gap', seven, batch(0, 3, 71, 1), outOfOrder(70)],
    ['an overlap', seven, batch(0, 3, 65, 10), outOfOrder(70)],
    ['sequence 0 again in the same epoch', seven, batch(0, 3, 0, 10), outOfOrder(70)],
    ['an older epoch', seven, batch(0, 2, 70, 1), fenced(3)],
    ['an older epoch in a slot that has seen no newer one', seven, batch(5, 2, 0, 1), accepted],
    ['a newer epoch from 0', seven, batch(0, 4, 0, 1), accepted],
    ['a newer epoch that goes on', seven, batch(0, 4, 70, 1), outOfOrder(0)],
    ['another slot in the same epoch', seven, batch(5, 3, 12, 1), accepted],
    ['another slot in a newer epoch', seven, batch(5, 30_000, 12, 1), accepted],
    ['sequences up to 2^31 − 1', wrapped, batch(0, 0, SEQUENCE_MAX - 1, 2), accepted],
    ['sequences go from 2^31 − 1 to 0', wrappedExactly, batch(0, 0, 0, 1), accepted],
    ['and not to 2^31', wrappedExactly, batch(0, 0, 1, 1), outOfOrder(0)],
    ['a batch across the end', across, batch(0, 0, 8, 1), accepted],
    ['a batch across the end again', across, batch(0, 0, SEQUENCE_MAX - 1, 10), duplicate(0)],
  ];

describe('an idempotent producer', () => {
  it.each(cases)('%s', (_what, state, given, expected, young) => {
    expect(decideProducer(state, given, young ?? false)).toEqual(expected);
  });

  it('begins at 0 again in the slot where its epoch rises', () => {
    const risen = applyBatch(seven, batch(0, 4, 0, 2), 100);
    expect(decideProducer(risen, batch(0, 4, 0, 2), false)).toEqual(duplicate(100));
    expect(decideProducer(risen, batch(0, 4, 60, 10), false)).toEqual(outOfOrder(2));
    expect(decideProducer(risen, batch(0, 3, 60, 10), false)).toEqual(fenced(4));
  });

  it('goes on under its old epoch in other slots, its retries too, when its epoch rises in one', () => {
    const elsewhere = applyBatch(stateAfter([batch(1, 3, 0, 1)], seven), batch(2, 9, 0, 1), 5);
    expect(decideProducer(elsewhere, batch(0, 3, 60, 10), false)).toEqual(duplicate(60));
    expect(decideProducer(elsewhere, batch(0, 3, 70, 1), false)).toEqual(accepted);
    expect(decideProducer(elsewhere, batch(0, 9, 70, 1), false)).toEqual(outOfOrder(0));
    expect(decideProducer(elsewhere, batch(0, 9, 0, 1), false)).toEqual(accepted);
    expect(decideProducer(elsewhere, batch(2, 3, 70, 1), false)).toEqual(fenced(9));
  });

  it('whose batches all follow each other is never refused, and any of the last five is a duplicate', () => {
    const lengths = fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(lengths, fc.nat(SEQUENCE_MAX), (counts, first) => {
        let state: ProducerState | undefined;
        let sequence = first;
        let offset = 0;
        const appended: { given: ProducedBatch; offset: number }[] = [];
        for (const records of counts) {
          const given = batch(2, 1, sequence, records);
          expect(decideProducer(state, given, false)).toEqual(accepted);
          state = applyBatch(state, given, offset);
          appended.push({ given, offset });
          sequence = addSequence(sequence, records);
          offset += records;
          expect(sequence >= 0 && sequence <= SEQUENCE_MAX).toBe(true);
        }
        for (const { given, offset: at } of appended.slice(-5))
          expect(decideProducer(state, given, false)).toEqual(duplicate(at));
        for (const { given } of appended.slice(0, -5))
          expect(decideProducer(state, given, false).type).toBe('out_of_order');
      }),
    );
  });
});

it('what a part of an entry says of its producer', () => {
  const part = { slot: 3, records: 4, position: 0, bytes: 100, maxTimestampMs: 0 };
  expect(producedBatch(part)).toBeUndefined();
  const producer = { producerId: 9, producerEpoch: 2, baseSequence: 11 };
  expect(producedBatch({ ...part, producer })).toEqual(batch(3, 2, 11, 4));
});
