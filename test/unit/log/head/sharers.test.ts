import { describe, expect, it } from 'vitest';
import { concatBytes } from '../../../../shared/log/bytes.ts';
import { packSharers, unpackSharers } from '../../../../shared/log/head/sharers.ts';

const SHARERS = Array.from({ length: 700 }, (_, headNumber) => ({ topicId: 'AAECAwQFBgcICQoLDA0ODw', headNumber }));

describe('the names at the beginning of a shared object', () => {
  const packed = packSharers(SHARERS);

  it('are read from them and whatever follows', () => {
    expect(unpackSharers(concatBytes([packed, new Uint8Array(100)]))).toEqual({ sharers: SHARERS });
  });

  it('say how many bytes are needed', () => {
    expect(unpackSharers(packed.subarray(0, 4_096))).toEqual({ bytesNeeded: packed.length });
    expect(unpackSharers(packed.subarray(0, packed.length - 1))).toEqual({ bytesNeeded: packed.length });
  });

  it('are refused when a bit of them has changed', () => {
    for (let at = 0; at < packed.length; at += 7) {
      const changed = packed.slice();
      changed[at] = (changed[at] as number) ^ 4;
      const padded = concatBytes([changed, new Uint8Array(64)]);
      let found: unknown;
      try {
        found = unpackSharers(padded);
      } catch (error) {
        expect(error).toMatchObject({ code: 'corrupt_data' });
        continue;
      }
      // A longer length cannot be told from names that are longer.
      expect(found).toHaveProperty('bytesNeeded');
      expect(at).toBeLessThan(4);
    }
  });

  it('are refused without their beginning', () => {
    expect(() => unpackSharers(packed.subarray(0, 7))).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
  });
});
