import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { eventId, parseEventId } from '../../../../shared/http/read/event-id.ts';
import { toBase64Url } from '../../../../shared/http/records/base64.ts';
import { FOLLOWED_PARTITIONS_MAX, OFFSET_MAX } from '../../../../shared/log/limits.ts';

const TOPIC_ID = 'q83vASNFZ4mrze8BI0VniQ';

/** Next offsets of consecutive partitions. */
function positionsFrom(first: number, offsets: readonly number[]): Map<number, number> {
  return new Map(offsets.map((offset, i) => [first + i, offset]));
}

describe('the id of an event', () => {
  it('gives back the positions and the beginning of the topic id, whatever the offsets are', () => {
    const offset = fc.oneof(
      fc.nat(300),
      fc.maxSafeNat(),
      fc.constantFrom(0, 255, 256, 2 ** 32 - 1, 2 ** 32, OFFSET_MAX),
    );
    const first = fc.oneof(fc.constant(0), fc.nat(2_147_483_647));
    fc.assert(
      fc.property(first, fc.array(offset, { minLength: 1, maxLength: 40 }), (partition, offsets) => {
        const positions = positionsFrom(partition, offsets);
        const id = eventId(TOPIC_ID, positions);
        expect(id).toMatch(/^[A-Za-z0-9_.-]+$/);
        expect(parseEventId(id)).toEqual({ life: TOPIC_ID.slice(0, 8), offsets: positions });
      }),
    );
  });

  // Clients keep ids, so what an earlier server gave out must still be understood.
  it.each([
    ['q83vASNF.AAABKg', positionsFrom(0, [42])],
    ['q83vASNF.AQACBA0A', positionsFrom(0, [17, 4])],
    [
      'q83vASNF.AAfoBwA',
      positionsFrom(
        7,
        Array.from({ length: 1_000 }, () => 0),
      ),
    ],
    ['q83vASNF.BwACAAAAAAAAAAAf________', positionsFrom(0, [0, OFFSET_MAX])],
    ['q83vASNF.AwcCgKCUpY0dAAAAARFw', positionsFrom(7, [1_000_000_000_000, 1_000_000_070_000])],
  ])('%s has the meaning that it was given', (id, positions) => {
    expect(parseEventId(id)?.offsets).toEqual(positions);
    expect(eventId(TOPIC_ID, positions)).toBe(id);
  });

  it.each([
    ['offsets within 10^12', 999_999_999_999, 6_700],
    ['offsets within 2^48', 2 ** 48 - 1, 8_040],
    ['any offsets', OFFSET_MAX, 9_370],
  ])('of 1,000 partitions with %s is short enough', (_what, highest, length) => {
    const offsets = Array.from({ length: FOLLOWED_PARTITIONS_MAX }, (_, i) =>
      i === 999 ? highest : Math.floor(highest / 1_000) * i,
    );
    expect(eventId(TOPIC_ID, positionsFrom(0, offsets)).length).toBeLessThanOrEqual(length);
    expect(eventId(TOPIC_ID, positionsFrom(2_147_482_000, offsets)).length).toBeLessThanOrEqual(length);
  });

  it.each([
    ['empty text', ''],
    ['offsets written by hand', '0:17,1:4'],
    ['no positions', 'q83vASNF.'],
    ['a short life', 'q83vASN.AAABKg'],
    ['padding', 'q83vASNF.AAABKg=='],
    ['plain base64', 'q83vASNF.AAAB+/'],
    ['bytes that are cut short', 'q83vASNF.AQACBA0'],
    ['bytes left over', 'q83vASNF.AAABKgA'],
    ['only a width', 'q83vASNF.AQ'],
    ['a width of 8', `q83vASNF.${toBase64Url(Uint8Array.of(8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1))}`],
    ['a count of a million with no bytes', `q83vASNF.${toBase64Url(Uint8Array.of(0, 0, 0xc0, 0x84, 0x3d, 0))}`],
    ['an offset beyond 2^53 - 1', `q83vASNF.${toBase64Url(Uint8Array.of(7, 0, 1, 0, 0x20, 0, 0, 0, 0, 0, 0))}`],
  ])('is not %s', (_what, text) => {
    expect(parseEventId(text)).toBeUndefined();
  });

  it('is never understood from other text, and never throws', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        const parsed = parseEventId(`q83vASNF.${toBase64Url(bytes)}`);
        for (const [partition, offset] of parsed?.offsets ?? []) {
          expect(Number.isSafeInteger(partition) && Number.isSafeInteger(offset) && offset <= OFFSET_MAX).toBe(true);
        }
      }),
    );
  });
});
