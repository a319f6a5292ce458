import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBase64, fromBase64Url, toBase64, toBase64Url } from '../../../../shared/http/records/base64.ts';

describe('base64url', () => {
  it('is what Node writes, comes back, and has one text for some bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = toBase64Url(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64url'));
        expect(fromBase64Url(text)).toEqual(new Uint8Array(bytes));
      }),
    );
    for (const text of ['AA==', 'AA+A', 'AA/A', 'A', 'AB', 'AA AA']) expect(fromBase64Url(text), text).toBeUndefined();
  });
});

describe('base64', () => {
  it('is what Node writes, and comes back', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = toBase64(bytes);
        expect(text).toBe(Buffer.from(bytes).toString('base64'));
        expect(fromBase64(text)).toEqual(new Uint8Array(bytes));
      }),
    );
  });

  it('has one text for some bytes: whatever is read is written again the same', () => {
    const characters = fc.constantFrom(...'ABZaz019+/=-_ \n\u00e9\u{1f600}');
    fc.assert(
      fc.property(fc.string({ unit: characters, maxLength: 12 }), (text) => {
        const bytes = fromBase64(text);
        if (bytes !== undefined) expect(toBase64(bytes)).toBe(text);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    'A',
    'AA',
    'AAA',
    'AB==',
    'AAB=',
    '=',
    '====',
    'A===',
    'AA=A',
    'AAA-',
    'AA A',
    'AAAA\n',
    'AAAé',
    'A=AA',
    'AAAA=',
  ])('refuses %j', (text) => {
    expect(fromBase64(text)).toBeUndefined();
  });

  it('takes nothing as nothing', () => {
    expect(fromBase64('')).toEqual(new Uint8Array(0));
    expect(toBase64(new Uint8Array(0))).toBe('');
  });
});
