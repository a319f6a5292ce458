import { createRequire } from 'node:module';
import crc from 'crc-32/crc32c.js';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { crc32c, preferNative } from '../../../../shared/log/batch/crc32c.ts';

const script = (bytes: Uint8Array): number => crc.buf(bytes, 0) >>> 0;
const native = (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: (bytes: Uint8Array) => number }).crc32c;
const MANY = new Uint8Array(2_000).map((_, i) => i);
const FEW = MANY.subarray(0, 100);

describe('CRC-32C', () => {
  it('is the same from native code and from JavaScript, wherever the bytes begin', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 5_000, size: 'max' }), fc.nat(64), (bytes, start) => {
        const part = bytes.subarray(start);
        expect([crc32c(part), native(part)]).toEqual([script(part), script(part)]);
      }),
    );
  });

  it('comes from native code for many bytes, and from JavaScript for few', () => {
    const loaded = vi.fn(native);
    const preferred = preferNative(script, () => loaded);
    loaded.mockClear();
    expect(preferred(FEW)).toBe(script(FEW));
    expect(loaded).not.toHaveBeenCalled();
    expect(preferred(MANY)).toBe(script(MANY));
    expect(loaded).toHaveBeenCalledOnce();
  });

  it.each([
    ['is not installed', () => createRequire(import.meta.url)('@node-rs/no-such-package')],
    ['is wrong', () => () => 1],
    [
      'fails',
      () => () => {
        throw new Error('illegal instruction');
      },
    ],
  ])('comes from JavaScript where native code %s', (_, load) => {
    expect(preferNative(script, load)).toBe(script);
  });
});
