import { ByteFormatError } from '../../log/bytes.ts';
import { type MessageReader, MessageWriter } from './message-bytes.ts';
import type { Codec, Form, Type } from './types.ts';

/** A field of a struct that is not simply there in all versions, or that may be left out when it is written. */
export interface Field<Read, Written, Optional extends boolean> {
  readonly type: Type<Read, Written>;
  readonly from: number;
  readonly to: number;
  readonly tag: number | undefined;
  /** In versions without the field, and if it is left out where that is allowed. */
  readonly fallback: Read;
  readonly isOptional: Optional;
}

interface FieldMaker {
  <Read, Written>(type: Type<Read, Written>): Field<Read, Written, false>;
  <Read, Written>(type: Type<Read, Written>, fallback: Read): Field<Read, Written, true>;
}

function fieldMaker(from: number, to: number): FieldMaker {
  return <Read, Written>(type: Type<Read, Written>, ...fallback: [Read?]) =>
    ({
      type,
      from,
      to,
      tag: undefined,
      fallback: fallback.length === 0 ? type.empty : fallback[0],
      isOptional: fallback.length > 0,
    }) as unknown as Field<Read, Written, false> & Field<Read, Written, true>;
}

/** In all versions; the default makes it optional for the writer. */
export const field = fieldMaker(0, Number.POSITIVE_INFINITY);
/** From a version on. */
export const since = (version: number): FieldMaker => fieldMaker(version, Number.POSITIVE_INFINITY);
/** Up to a version, inclusive. */
export const until = (version: number): FieldMaker => fieldMaker(0, version);
/** From a version to another, inclusive. */
export const between = (from: number, to: number): FieldMaker => fieldMaker(from, to);

/** Written only if it is not the default. */
export function tagged<Read, Written>(
  tag: number,
  from: number,
  type: Type<Read, Written>,
  fallback: Read,
): Field<Read, Written, true> {
  return { type, from, to: Number.POSITIVE_INFINITY, tag, fallback, isOptional: true };
}

export type Fields = Readonly<Record<string, Type<unknown> | Field<unknown, unknown, boolean>>>;

type FieldRead<F> = F extends Type<infer R, infer _> ? R : F extends Field<infer R, infer _, boolean> ? R : never;
type FieldWritten<F> = F extends Type<infer _, infer W> ? W : F extends Field<infer _, infer W, boolean> ? W : never;
type OptionalNames<F> = { [K in keyof F]: F[K] extends Field<infer _, infer __, true> ? K : never }[keyof F];

export type ReadOf<F> = { readonly [K in keyof F]: FieldRead<F[K]> };
export type WrittenOf<F> = { readonly [K in Exclude<keyof F, OptionalNames<F>>]: FieldWritten<F[K]> } & {
  readonly [K in OptionalNames<F>]?: FieldWritten<F[K]> | undefined;
};

/** The fields in the order of the declaration; in flexible forms the tagged ones behind them, by tag. */
export function struct<F extends Fields>(fields: F): Type<ReadOf<F>, WrittenOf<F>> {
  const all = Object.entries(fields).map(([name, given]) => ({ name, ...asField(given) }));
  const empty = Object.fromEntries(all.map(({ name, fallback }) => [name, fallback])) as ReadOf<F>;
  const fieldLayouts = all.map(({ name, type, from, to, tag }) => ({ name, layout: type.layout, from, to, tag }));
  return {
    layout: { kind: 'struct', fields: fieldLayouts },
    empty,
    at(form) {
      const inside: Form = { ...form, nullable: false };
      const placed = all
        .filter(({ from, to }) => from <= form.version && form.version <= to)
        .map(({ name, type, tag, fallback }) => ({ name, tag, fallback, codec: type.at(inside) }));
      const codec = structCodec(
        empty,
        placed.filter(({ tag }) => tag === undefined),
        form.flexible ? placed.filter(({ tag }) => tag !== undefined) : undefined,
      );
      return (form.nullable ? nullableStruct(codec) : codec) as Codec<ReadOf<F>, WrittenOf<F>>;
    },
  };
}

type Values = Readonly<Record<string, unknown>>;

interface PlacedField {
  readonly name: string;
  readonly tag: number | undefined;
  readonly fallback: unknown;
  readonly codec: Codec<unknown, unknown>;
}

/** `taggedFields`: by ascending tag; `undefined` for a form without them. */
function structCodec(
  empty: Values,
  plain: readonly PlacedField[],
  taggedFields: readonly PlacedField[] | undefined,
): Codec<Values, Values> {
  return {
    read(from) {
      const values: Record<string, unknown> = { ...empty };
      for (const { name, codec } of plain) values[name] = codec.read(from);
      if (taggedFields !== undefined) readTagged(from, taggedFields, values);
      return values;
    },
    write(to, values) {
      for (const { name, codec, fallback } of plain) {
        const value = values[name];
        codec.write(to, value === undefined ? fallback : value);
      }
      if (taggedFields !== undefined) writeTagged(to, taggedFields, values);
    },
  };
}

function nullableStruct(codec: Codec<Values, Values>): Codec<Values | null, Values | null> {
  return {
    read: (from) => (from.int8() < 0 ? null : codec.read(from)),
    write(to, values) {
      to.out.uint8(values === null ? 0xff : 1);
      if (values !== null) codec.write(to, values);
    },
  };
}

/** Fields with tags that are not known are passed over: newer clients may send them. */
function readTagged(from: MessageReader, fields: readonly PlacedField[], values: Record<string, unknown>): void {
  const count = from.varuint();
  for (let i = 0; i < count; i++) {
    const tag = from.varuint();
    const part = from.part(from.varuint());
    const known = fields.find((candidate) => candidate.tag === tag);
    if (known === undefined) continue;
    values[known.name] = known.codec.read(part);
    if (part.remaining > 0) throw new ByteFormatError(`${part.remaining} bytes too many in the field of tag ${tag}`);
  }
}

function writeTagged(to: MessageWriter, fields: readonly PlacedField[], values: Values): void {
  const present = fields.filter(({ name, fallback }) => !isDefault(values[name], fallback));
  to.out.varuint(present.length);
  for (const { name, tag, codec } of present) {
    const part = new MessageWriter();
    codec.write(part, values[name]);
    to.out.varuint(tag as number);
    to.out.varuint(part.length);
    for (const chunk of part.finish()) to.bytes(chunk);
  }
}

function isDefault(value: unknown, fallback: unknown): boolean {
  return value === undefined || value === fallback || (Array.isArray(value) && value.length === 0);
}

function asField(given: Fields[string]): Field<unknown, unknown, boolean> {
  return 'type' in given ? given : field(given);
}
