import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HANDLERS } from '../../../../shared/kafka/handlers.ts';
import { api } from '../../../../shared/kafka/protocol/api.ts';
import { field, since, struct, tagged } from '../../../../shared/kafka/protocol/fields.ts';
import { MessageReader, MessageWriter } from '../../../../shared/kafka/protocol/message-bytes.ts';
import {
  array,
  bytes,
  type Codec,
  float64,
  int16,
  int32,
  int64,
  type Layout,
  nullable,
  records,
  string,
  type Type,
  uuid,
} from '../../../../shared/kafka/protocol/types.ts';
import { ByteFormatError } from '../../../../shared/log/bytes.ts';

const uuidArbitrary = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((value) => Buffer.from(value).toString('base64url'));

const PRIMITIVES: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  int8: fc.integer({ min: -128, max: 127 }),
  int16: fc.integer({ min: -32_768, max: 32_767 }),
  int32: fc.integer(),
  int64: fc.maxSafeInteger(),
  float64: fc.double({ noNaN: true }),
  bool: fc.boolean(),
  uuid: uuidArbitrary,
  string: fc.string({ unit: 'grapheme', maxLength: 200 }).filter((text) => text.isWellFormed()),
  bytes: fc.uint8Array({ maxLength: 200 }),
  records: fc.array(fc.uint8Array({ minLength: 1, maxLength: 6_000 }), { maxLength: 1 }),
};

/** A value of a layout with every field of the version. */
function valuesOf(layout: Layout, version: number): fc.Arbitrary<unknown> {
  switch (layout.kind) {
    case 'primitive':
      return PRIMITIVES[layout.name] as fc.Arbitrary<unknown>;
    case 'array':
      return fc.array(valuesOf(layout.of, version), { maxLength: 3 });
    case 'nullable':
      return version >= layout.from ? fc.option(valuesOf(layout.of, version)) : valuesOf(layout.of, version);
    case 'struct': {
      const inside = layout.fields.filter(({ from, to }) => from <= version && version <= to);
      return fc.record(Object.fromEntries(inside.map((one) => [one.name, valuesOf(one.layout, version)])));
    }
  }
}

function written(codec: Codec<unknown, unknown>, value: unknown): Uint8Array {
  const to = new MessageWriter();
  codec.write(to, value);
  const { length } = to;
  const whole = new Uint8Array(Buffer.concat(to.finish()));
  expect(length).toBe(whole.length);
  return whole;
}

const MESSAGES = [...HANDLERS.values()].flatMap(({ api: { name, versions, request, response } }) => [
  { name: `${name}Request`, versions, message: request },
  { name: `${name}Response`, versions, message: response },
]);

describe.each(MESSAGES)('$name', ({ versions: [oldest, newest], message }) => {
  it('is read as it was written, in every version', () => {
    for (let version = oldest; version <= newest; version++) {
      const codec = message.at(version) as Codec<unknown, unknown>;
      fc.assert(
        fc.property(valuesOf(message.layout, version), (value) => {
          const from = new MessageReader(written(codec, value));
          expect(codec.read(from)).toMatchObject(value as object);
          expect(from.remaining).toBe(0);
        }),
        { numRuns: 20 },
      );
    }
  });

  it('is refused wherever it is cut off', () => {
    for (const version of [oldest, newest]) {
      const codec = message.at(version) as Codec<unknown, unknown>;
      const [value] = fc.sample(valuesOf(message.layout, version), { numRuns: 1, seed: 7 });
      const whole = written(codec, value);
      for (let length = 0; length < whole.length; length++)
        expect(() => codec.read(new MessageReader(whole.subarray(0, length)))).toThrow(ByteFormatError);
    }
  });
});

const OLD = { version: 0, flexible: false, nullable: false };
const NEW = { version: 0, flexible: true, nullable: false };

function read<T>(type: Type<T>, form: typeof OLD, hex: string): T {
  return type.at(form).read(new MessageReader(new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))));
}

describe('types', () => {
  it.each([
    ['a string', string, OLD, '0003 616263', 'abc'],
    ['a string of a flexible version', string, NEW, '04 616263', 'abc'],
    ['a null', nullable(string), OLD, 'ffff', null],
    ['a null of a flexible version', nullable(string), NEW, '00', null],
    ['an array', array(int16), OLD, '00000002 0001 ffff', [1, -1]],
    ['an array of a flexible version', array(int16), NEW, '03 0001 ffff', [1, -1]],
    ['a negative int64', int64, OLD, 'ffffffffffffffff', -1],
    ['a float64', float64, OLD, '3ff8000000000000', 1.5],
    ['a uuid', uuid, OLD, '000102030405060708090a0b0c0d0e0f', 'AAECAwQFBgcICQoLDA0ODw'],
    ['a null struct', nullable(struct({ a: int16 })), OLD, 'ff', null],
    ['a struct that may be null', nullable(struct({ a: int16 })), OLD, '01 0007', { a: 7 }],
  ] as const)('read and write %s', (_, type, form, hex, value) => {
    expect(read(type as Type<unknown>, form, hex)).toEqual(value);
    const again = written((type as Type<unknown>).at(form), value);
    expect(Buffer.from(again).toString('hex')).toBe(hex.replaceAll(' ', ''));
  });

  it.each([
    ['null where no null may be', string, OLD, 'ffff'],
    ['null where no null may be, flexible', string, NEW, '00'],
    ['a length of less than -1', nullable(string), OLD, 'fffe'],
    ['a negative count', nullable(array(int16)), OLD, 'fffffffe'],
    ['2^31 - 1 elements', array(string), OLD, '7fffffff 0000'],
    ['2^32 - 2 elements, flexible', array(string), NEW, 'ffffffff0f 00'],
    ['a varint without an end', array(string), NEW, 'ffffffffffffffffffffff'],
    ['more bytes than there are', bytes, OLD, '7fffffff 00'],
    ['a uuid that is cut off', uuid, OLD, '0001020304'],
  ] as const)('refuse %s', (_, type, form, hex) => {
    expect(() => read(type as Type<unknown>, form, hex)).toThrow(ByteFormatError);
  });

  it('refuse more elements in one message than it may have, over all its arrays', () => {
    const type = array(array(int16));
    const many = written(
      type.at(OLD),
      Array.from({ length: 3 }, () => Array(70_000).fill(1)),
    );
    expect(() => type.at(OLD).read(new MessageReader(many))).toThrow('200000 elements');
  });

  it('have no records for null', () => {
    expect(read(records, OLD, 'ffffffff')).toEqual([]);
  });

  it('hand large bytes on without a copy', () => {
    const to = new MessageWriter();
    const large = new Uint8Array(10_000);
    records.at(OLD).write(to, [large]);
    expect(to.finish()).toContain(large);
  });
});

describe('tagged fields', () => {
  const message = api({
    key: 1,
    name: 'Test',
    versions: [0, 1],
    flexible: 1,
    request: {
      plain: int32,
      later: since(1)(int32, 9),
      first: tagged(0, 1, string, ''),
      third: tagged(2, 1, array(int32), []),
      optional: field(int32, 5),
    },
    response: {},
  });
  const codec = message.request.at(1);
  const hexOf = (value: Parameters<typeof codec.write>[1]): string => {
    const to = new MessageWriter();
    codec.write(to, value);
    return Buffer.concat(to.finish()).toString('hex');
  };
  const readHex = (hex: string) =>
    codec.read(new MessageReader(new Uint8Array(Buffer.from(hex.replaceAll(' ', ''), 'hex'))));

  it('are written behind the others, only if they are not the default', () => {
    expect(hexOf({ plain: 1, first: '', third: [] })).toBe('000000010000000900000005' + '00');
    expect(hexOf({ plain: 1, third: [7] })).toBe('000000010000000900000005' + '01' + '02' + '05' + '0200000007');
  });

  it('are read in any order, and unknown ones are passed over', () => {
    const value = readHex('00000001 00000009 00000005 03 02 05 0200000007 63 02 ffff 00 02 0261');
    expect(value).toEqual({ plain: 1, later: 9, optional: 5, first: 'a', third: [7] });
  });

  it('are refused with bytes too many or too few', () => {
    expect(() => readHex('00000001 00000009 00000005 01 00 03 0261 00')).toThrow('1 bytes too many');
    expect(() => readHex('00000001 00000009 00000005 01 00 01 0261')).toThrow(ByteFormatError);
    expect(() => readHex('00000001 00000009 00000005 02 00 02 0261')).toThrow(ByteFormatError);
  });

  it('and later ones have their default in a version without them', () => {
    const old = message.request.at(0).read(new MessageReader(new Uint8Array([0, 0, 0, 1, 0, 0, 0, 5])));
    expect(old).toEqual({ plain: 1, later: 9, optional: 5, first: '', third: [] });
  });
});
