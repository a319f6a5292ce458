import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkMembers,
  eachElement,
  eachMember,
  hasLoneSurrogate,
  valueAt,
} from '../../../../shared/http/records/json-text.ts';

const blanks = fc.string({ unit: fc.constantFrom(' ', '\n', '\t', '\r'), maxLength: 3 });
const strings = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 8 }),
  fc.string({ unit: fc.constantFrom('\\', '"', '{', '}', '[', ']', ',', ':', ' ', 'a', '\ud83d\ude00'), maxLength: 8 }),
);

/** JSON as text, with and without blanks, of the same value. */
interface Written {
  readonly spaced: string;
  readonly tight: string;
  readonly depth: number;
  readonly repeats: boolean;
}

const { written } = fc.letrec<{ written: Written; leaf: Written; list: Written; object: Written }>((tie) => ({
  written: fc.oneof({ maxDepth: 4 }, tie('leaf'), tie('list'), tie('object')),
  leaf: fc
    .oneof(
      strings.map((text) => JSON.stringify(text)),
      fc.constantFrom('0', '-0', '1.0', '1e400', '12345678901234567890', 'true', 'false', 'null', '"\\u0041\\n"'),
    )
    .map((text) => ({ spaced: text, tight: text, depth: 0, repeats: false })),
  list: fc.array(fc.tuple(blanks, tie('written'), blanks), { maxLength: 4 }).map((items) => ({
    spaced: `[${items.map(([before, item, after]) => before + item.spaced + after).join(',')}]`,
    tight: `[${items.map(([, item]) => item.tight).join(',')}]`,
    depth: 1 + Math.max(0, ...items.map(([, item]) => item.depth)),
    repeats: items.some(([, item]) => item.repeats),
  })),
  object: fc.array(fc.tuple(blanks, strings, blanks, tie('written'), blanks), { maxLength: 4 }).map((members) => ({
    spaced: `{${members.map(([a, name, b, item, c]) => `${a}${JSON.stringify(name)}${b}:${b}${item.spaced}${c}`).join(',')}}`,
    tight: `{${members.map(([, name, , item]) => `${JSON.stringify(name)}:${item.tight}`).join(',')}}`,
    depth: 1 + Math.max(0, ...members.map(([, , , item]) => item.depth)),
    repeats:
      new Set(members.map(([, name]) => name)).size < members.length || members.some(([, , , item]) => item.repeats),
  })),
}));

describe('the text of values', () => {
  it('is found, without blanks between tokens, wherever it stands', () => {
    fc.assert(
      fc.property(written, blanks, fc.constantFrom('', ',', ']', '}', ' '), (value, before, after) => {
        const json = `${before}${value.spaced}${after}`;
        expect(valueAt(json, 0)).toEqual({
          text: value.tight,
          end: before.length + value.spaced.length,
          depth: value.depth,
        });
      }),
      { numRuns: 1_000 },
    );
  });

  it('is found of every member and element, with its decoded name', () => {
    fc.assert(
      fc.property(written, (value) => {
        const parsed: unknown = JSON.parse(value.spaced);
        if (typeof parsed !== 'object' || parsed === null || value.repeats) return;
        const found: [string, unknown][] = [];
        const take = (name: string, at: number): number => {
          const { text, end } = valueAt(value.spaced, at);
          found.push([name, JSON.parse(text)]);
          return end;
        };
        let index = 0;
        const end = Array.isArray(parsed)
          ? eachElement(value.spaced, 0, (at) => take(String(index++), at))
          : eachMember(value.spaced, 0, () => 'it', take);
        expect(end).toBe(value.spaced.length);
        expect(found.map(([name]) => name).sort()).toEqual(Object.keys(parsed).sort());
        for (const [name, member] of Object.entries(parsed)) expect(new Map(found).get(name)).toEqual(member);
      }),
      { numRuns: 1_000 },
    );
  });

  it('has no name twice in an object at any depth, or that is an error', () => {
    fc.assert(
      fc.property(written, (value) => {
        if (value.repeats) expect(() => checkMembers(value.spaced)).toThrow('more than once');
        else checkMembers(value.spaced);
      }),
      { numRuns: 2_000 },
    );
    expect(() => checkMembers('{"a":[{"b":1,"\\u0062":2}]}')).toThrow('b is given more than once');
    checkMembers('{"a":"a","b":["a","a",{"a":":"}]}');
  });

  it('is found at any depth', () => {
    const json = '['.repeat(100_000) + ']'.repeat(100_000);
    expect(valueAt(json, 0)).toEqual({ text: json, end: json.length, depth: 100_000 });
  });
});

describe('half a surrogate pair', () => {
  it.each([
    ['"\\ud800"', true],
    ['"\\udc00"', true],
    ['"\\uD83D\\uDE00"', false],
    ['"\\uDE00\\uD83D"', true],
    ['"\\ud83d\\ud83d\\ude00"', true],
    ['"\\ud83dx\\ude00"', true],
    ['"\\\\ud800"', false],
    ['"\\\\\\ud800"', true],
    ['"\\\\\\\\ud800"', false],
    ['"\\ud7ff\\ue000"', false],
    ['{"a":"\\ud800","a":"x"}', true],
  ])('in %s: %s', (json, expected) => {
    expect(hasLoneSurrogate(json)).toBe(expected);
  });

  it('is told where a string or a name of the value has one', () => {
    const units = fc.constantFrom('\\ud83d', '\\ude00', '\\\\', 'u', 'd800', '\\u0041', '\\n');
    fc.assert(
      fc.property(fc.array(units, { maxLength: 8 }), (parts) => {
        const json = `"${parts.join('')}"`;
        expect(hasLoneSurrogate(json)).toBe(!(JSON.parse(json) as string).isWellFormed());
      }),
      { numRuns: 2_000 },
    );
  });
});
