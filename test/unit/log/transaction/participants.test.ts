import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../../shared/log/bytes.ts';
import { ITEM_BYTES_MAX } from '../../../../shared/log/limits.ts';
import {
  addParticipants,
  missingParticipants,
  packParticipants,
  participantCount,
  unpackParticipants,
} from '../../../../shared/log/transaction/participants.ts';
import {
  NO_PARTICIPANTS,
  PARTICIPANTS_MAX,
  type Participants,
} from '../../../../shared/log/transaction/transaction.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const name = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
const numbers = fc.array(fc.maxSafeNat(), { minLength: 1, maxLength: 5 });
/** As they come back: by topic, and by group. */
const participants: fc.Arbitrary<Participants> = fc
  .record({
    topics: fc.uniqueArray(fc.record({ topicId: name, topic: name, numbers }), {
      selector: (one) => one.topicId,
      maxLength: 4,
    }),
    paged: fc.uniqueArray(
      fc.record({
        group: name,
        topics: fc.uniqueArray(fc.record({ topicId: name, numbers }), {
          selector: (one) => one.topicId,
          minLength: 1,
          maxLength: 3,
        }),
      }),
      { selector: (one) => one.group, maxLength: 3 },
    ),
    groups: fc.array(name, { maxLength: 3 }),
  })
  .map(({ topics, paged, groups }) => ({
    heads: topics.flatMap((one) =>
      one.numbers.map((headNumber) => ({ topicId: one.topicId, topic: one.topic, headNumber })),
    ),
    pages: paged.flatMap(({ group, topics: ofGroup }) =>
      ofGroup.flatMap((one) => one.numbers.map((page) => ({ group, topicId: one.topicId, page }))),
    ),
    groups,
  }));

describe('participants of a transaction', () => {
  itIsPacked({
    arbitrary: participants,
    pack: (value) => packParticipants(value as Participants),
    unpack: unpackParticipants,
    cutsMax: 40,
  });

  it('are packed as docs/format.md says', () => {
    expect(toHex(packParticipants(NO_PARTICIPANTS))).toBe('01000000');
    const head = (topicId: string, topic: string, headNumber: number) => ({ topicId, topic, headNumber });
    expect(
      toHex(
        packParticipants({
          heads: [head('a', 'x', 0), head('b', 'yz', 7), head('a', 'x', 300)],
          pages: [
            { group: 'g', topicId: 'a', page: 1 },
            { group: 'g', topicId: 'a', page: 2 },
          ],
          groups: ['g', 'é'],
        }),
      ),
    ).toBe(
      ['01', '02', '0161', '0178', '02', '00', 'ac02', '0162', '02797a', '01', '07']
        .concat(['01', '0167', '01', '0161', '02', '01', '02'])
        .concat(['02', '0167', '02c3a9'])
        .join(''),
    );
  });

  it('of one topic take at most 22 bytes each, and the most that a transaction can have fit an item', () => {
    const heads = Array.from({ length: 100 }, (_, headNumber) => ({
      topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
      topic: 'orders',
      headNumber: headNumber + 600,
    }));
    expect(packParticipants({ ...NO_PARTICIPANTS, heads }).length).toBeLessThan(22 * 100);
    const worst = Array.from({ length: PARTICIPANTS_MAX }, (_, i) => ({
      topicId: String(i).padStart(22, '0'),
      topic: 'x'.repeat(249),
      headNumber: 624,
    }));
    const pages = Array.from({ length: PARTICIPANTS_MAX }, (_, i) => ({
      group: String(i).padStart(255, '0'),
      topicId: 'AAAAAAAAAAAAAAAAAAAAAA',
      page: 624,
    }));
    for (const most of [
      { ...NO_PARTICIPANTS, heads: worst },
      { ...NO_PARTICIPANTS, pages },
    ])
      expect(packParticipants(most).length).toBeLessThan(ITEM_BYTES_MAX - 10_000);
  });

  it('are added once each', () => {
    fc.assert(
      fc.property(participants, participants, (known, wanted) => {
        const missing = missingParticipants(known, wanted);
        const all = addParticipants(known, missing);
        expect(participantCount(missingParticipants(all, wanted))).toBe(0);
        expect(participantCount(missingParticipants(all, known))).toBe(0);
        expect(participantCount(missingParticipants(known, missing))).toBe(participantCount(missing));
        expect(missingParticipants(NO_PARTICIPANTS, missing)).toEqual(missing);
      }),
    );
    const head = { topicId: 'a', topic: 'a', headNumber: 1 };
    expect(missingParticipants(NO_PARTICIPANTS, { ...NO_PARTICIPANTS, heads: [head, { ...head }] }).heads).toEqual([
      head,
    ]);
  });
});
