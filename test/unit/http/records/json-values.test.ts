import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Encoding } from '../../../../shared/http/records/contract.ts';
import { valueAt } from '../../../../shared/http/records/json-text.ts';
import {
  bytesOfJson,
  bytesOfText,
  jsonOfKey,
  jsonOfRecord,
  jsonOfValue,
  recordHasText,
} from '../../../../shared/http/records/json-values.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
const stored = (json: string): Uint8Array | null => bytesOfJson(JSON.parse(json), 'value', () => valueAt(json, 0));

function errorOf(json: string): EventLogError {
  try {
    stored(json);
  } catch (error) {
    if (error instanceof EventLogError) return error;
  }
  throw new Error(`${json} was taken`);
}

describe('JSON to bytes', () => {
  it.each([
    ['"text"', 'text'],
    ['""', ''],
    ['"\\ud83d\\ude00é"', '😀é'],
    ['7', '7'],
    ['7.10', '7.10'],
    ['-0', '-0'],
    ['12345678901234567890', '12345678901234567890'],
    ['true', 'true'],
    ['false', 'false'],
    ['{"a": 1.0, "a": 2,\n "2":3, "1": 4}', '{"a":1.0,"a":2,"2":3,"1":4}'],
    ['[ ]', '[]'],
    ['{"$base64": "AA==", "more": 1}', '{"$base64":"AA==","more":1}'],
    ['{"a":{"$base64": "AA=="}}', '{"a":{"$base64":"AA=="}}'],
    ['{"__proto__": 1}', '{"__proto__":1}'],
  ])('%s is stored as %s', (json, text) => {
    expect(new TextDecoder().decode(stored(json) as Uint8Array)).toBe(text);
  });

  it('null is null, and {"$base64"} is those bytes', () => {
    expect(stored('null')).toBeNull();
    expect(stored('{"$base64":"/wA="}')).toEqual(new Uint8Array([255, 0]));
    expect(stored('{"$base64":""}')).toEqual(new Uint8Array(0));
  });

  it.each([
    ['{"$base64":"/w"}', 'base64'],
    ['{"$base64":7}', 'base64'],
    ['{"$base64":null}', 'base64'],
    ['{"$base64":{"$base64":""}}', 'base64'],
    ['"\\ud800"', 'surrogate'],
    ['{"a":["\\udfff"]}', 'surrogate'],
    ['{"\\ud800":1}', 'surrogate'],
    ['['.repeat(65) + ']'.repeat(65), '65 deep'],
  ])('%s is refused, and the field named', (json, what) => {
    const error = errorOf(json);
    expect(error.code).toBe('invalid_request');
    expect(error.details.field).toBe('value');
    expect(error.message).toContain(what);
  });

  it('takes what is nested 64 deep', () => {
    const json = '['.repeat(64) + ']'.repeat(64);
    expect(stored(json)).toEqual(utf8(json));
    expect(jsonOfValue(utf8(json), 'auto')).toBe(json);
  });

  it('names the field of text that UTF-8 cannot hold', () => {
    expect(() => bytesOfText('\ud800', 'key')).toThrow(/^key has an unpaired surrogate/);
  });
});

describe('bytes to JSON', () => {
  const cases: readonly (readonly [bytes: Uint8Array, Record<Encoding, string>])[] = [
    [utf8('007'), { auto: '"007"', json: '{"$base64":"MDA3"}', string: '"007"', base64: '{"$base64":"MDA3"}' }],
    [utf8('7'), { auto: '"7"', json: '7', string: '"7"', base64: '{"$base64":"Nw=="}' }],
    [utf8(''), { auto: '""', json: '{"$base64":""}', string: '""', base64: '{"$base64":""}' }],
    [
      utf8('"a"'),
      { auto: '"\\"a\\""', json: '"a"', string: '"\\"a\\""', base64: `{"$base64":"${base64(utf8('"a"'))}"}` },
    ],
    [
      utf8(' {"n":\n12345678901234567890}'),
      {
        auto: '{"n":12345678901234567890}',
        json: '{"n":12345678901234567890}',
        string: '" {\\"n\\":\\n12345678901234567890}"',
        base64: `{"$base64":"${base64(utf8(' {"n":\n12345678901234567890}'))}"}`,
      },
    ],
    [
      utf8('{"broken'),
      {
        auto: '"{\\"broken"',
        json: `{"$base64":"${base64(utf8('{"broken'))}"}`,
        string: '"{\\"broken"',
        base64: `{"$base64":"${base64(utf8('{"broken'))}"}`,
      },
    ],
    [
      new Uint8Array([255]),
      {
        auto: '{"$base64":"/w=="}',
        json: '{"$base64":"/w=="}',
        string: '{"$base64":"/w=="}',
        base64: '{"$base64":"/w=="}',
      },
    ],
  ];
  it.each(cases)('%s', (bytes, expected) => {
    for (const [encoding, json] of Object.entries(expected)) {
      expect(jsonOfValue(bytes, encoding as Encoding)).toBe(json);
    }
  });

  it.each(['{"$base64":"AA=="}', '{"$base64":7}', ' { "$base64" : null } ', '{"$base64":1,"$base64":2}'])(
    'a stored %s comes back as the base64 of its own text',
    (text) => {
      for (const encoding of ['auto', 'json'] as const) {
        const json = jsonOfValue(utf8(text), encoding);
        expect(json).toBe(`{"$base64":"${base64(utf8(text))}"}`);
        expect(stored(json)).toEqual(utf8(text));
      }
    },
  );

  it('never embeds what another parser may stumble on', () => {
    expect(jsonOfValue(utf8('{"a":"\\ud800"}'), 'auto')).toBe('"{\\"a\\":\\"\\\\ud800\\"}"');
    const deep = '['.repeat(65) + ']'.repeat(65);
    expect(jsonOfValue(utf8(deep), 'auto')).toBe(`"${deep}"`);
    expect(jsonOfValue(utf8(deep), 'json')).toBe(`{"$base64":"${base64(utf8(deep))}"}`);
  });

  it('keeps a byte order mark', () => {
    expect(JSON.parse(jsonOfValue(utf8('\ufeffa'), 'auto'))).toBe('\ufeffa');
  });

  it('leaves keys that are plain text alone with encoding=json', () => {
    expect(jsonOfKey(utf8('JFK'), 'json')).toBe('"JFK"');
  });

  it.each(['auto', 'json', 'string', 'base64'] as const)(
    'gives JSON on one line that means the same bytes again (%s)',
    (encoding) => {
      const texts = fc.oneof(
        fc.json(),
        fc.string({ unit: 'grapheme' }),
        fc.json({ maxDepth: 2 }).map((text) => `\n${text}\r\n`),
        fc.string({ unit: fc.constantFrom('{', '}', '"', '$base64', ':', '\\', 'ud800', '[', ']', ' ', '\n') }),
      );
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 30 }).map((array) => new Uint8Array(array)),
        texts.filter((text) => text.isWellFormed()).map(utf8),
      );
      fc.assert(
        fc.property(bytes, (value) => {
          const json = jsonOfValue(value, encoding);
          expect(json).not.toMatch(/[\r\n]/);
          const again = bytesOfJson(JSON.parse(json), 'value', () => valueAt(json, 0)) as Uint8Array;
          // JSON that stands for itself comes back without its blanks and, with `json`, strings as their text.
          const before = new TextDecoder().decode(value);
          if (
            encoding === 'auto' &&
            /^\s*[[{]/.test(before) &&
            !json.startsWith('"') &&
            !json.startsWith('{"$base64"')
          ) {
            expect(new TextDecoder().decode(again)).toBe(valueAt(before, 0).text);
          } else if (encoding === 'json' && !json.startsWith('{"$base64"')) {
            expect(JSON.parse(json)).toEqual(JSON.parse(before));
          } else {
            expect(again).toEqual(value);
          }
        }),
        { numRuns: 1_000 },
      );
    },
  );
});

describe('a record', () => {
  const record = {
    offset: 41,
    timestampMs: 5,
    key: utf8('k'),
    value: null,
    headers: [
      { key: 'a', value: null },
      { key: 'a', value: utf8('{"x":1}') },
      { key: '__proto__', value: new Uint8Array([255]) },
    ],
  };

  it('is one line of JSON; header values are text and never parsed', () => {
    expect(jsonOfRecord(record, 'auto', 3)).toBe(
      '{"partition":3,"offset":41,"timestamp":5,"key":"k","value":null,"headers":[{"name":"a","value":null},' +
        '{"name":"a","value":"{\\"x\\":1}"},{"name":"__proto__","value":{"$base64":"/w=="}}]}',
    );
  });

  it('has text where its key or value has it', () => {
    expect(recordHasText({ ...record, value: utf8('say hello') }, 'hello')).toBe(true);
    expect(recordHasText({ ...record, value: utf8('say hello') }, 'k')).toBe(true);
    expect(recordHasText(record, 'hello')).toBe(false);
    expect(recordHasText({ ...record, key: null }, 'k')).toBe(false);
    expect(recordHasText({ ...record, value: utf8('é') }, 'é')).toBe(true);
  });
});
