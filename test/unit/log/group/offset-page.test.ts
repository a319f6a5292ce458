import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../../shared/log/bytes.ts';
import { packSlot, type SlotContent, unpackSlot } from '../../../../shared/log/group/offset-page.ts';
import { itIsPacked } from '../../../support/packed-format.ts';

const count = fc.maxSafeNat();
const name = fc.string({ unit: 'grapheme', maxLength: 20 });
const slot = fc.record({
  owner: fc.option(
    fc.oneof(
      fc.record({ memberKey: name.map((id) => `i:${id}`), memberId: name.map((id) => `x${id}`), memberEpoch: count }),
      fc.tuple(name, count).map(([id, memberEpoch]) => ({ memberKey: `m:${id}`, memberId: id, memberEpoch })),
    ),
    { nil: undefined },
  ),
  fence: count,
  committed: fc.option(
    fc.record({ offset: count, leaderEpoch: fc.integer({ min: -1 }), committedAtMs: count, metadata: name }),
    { nil: undefined },
  ),
});

describe('the slot of a partition in a group', () => {
  itIsPacked({ arbitrary: slot, pack: (value) => packSlot(value as SlotContent), unpack: unpackSlot });

  it('is packed as docs/format.md says', () => {
    const committed = { offset: 300, leaderEpoch: -1, committedAtMs: 1_000, metadata: 'x' };
    const packed = (content: SlotContent): string => toHex(packSlot(content));
    expect(packed({ owner: undefined, fence: 0, committed: undefined })).toBe('010000');
    expect(packed({ owner: { memberKey: 'm:a', memberId: 'a', memberEpoch: 2 }, fence: 7, committed: undefined })).toBe(
      '010107036d3a610002',
    );
    expect(packed({ owner: { memberKey: 'i:b', memberId: 'a', memberEpoch: 2 }, fence: 7, committed })).toBe(
      '01030703693a62016102ac0201e8070178',
    );
  });
});
