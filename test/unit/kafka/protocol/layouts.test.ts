import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { HANDLERS } from '../../../../shared/kafka/handlers.ts';
import type { FieldLayout, Layout } from '../../../../shared/kafka/protocol/types.ts';
import type { KafkaField, KafkaLayout } from '../../../fixtures/kafka/layouts.ts';

/** Our declarations of messages against Kafka's own, version by version. */

const FIXTURE = join(import.meta.dirname, '../../../fixtures/kafka/layouts.json');
const LAYOUTS = new Map(
  (JSON.parse(readFileSync(FIXTURE, 'utf8')) as KafkaLayout[]).map((layout) => [layout.name, layout]),
);

interface Described {
  readonly name: string;
  readonly type: string;
  readonly isNullable: boolean;
  readonly tag: number | undefined;
  readonly fields: readonly Described[];
}

function isIn(version: number, range: string): boolean {
  if (range === 'none') return false;
  const [from = '', to = from] = range.endsWith('+') ? [range.slice(0, -1), 'Infinity'] : range.split('-');
  return Number(from) <= version && version <= Number(to);
}

/** What Kafka has in a version; tagged fields are not in the order of the others. */
function kafkaFields(fields: readonly KafkaField[], version: number): Described[] {
  return inOrder(
    fields
      .filter(({ versions }) => isIn(version, versions))
      .map(({ name, type, nullable = 'none', tag, fields: inside = [] }) => ({
        name,
        type,
        // Reading gives no batches for null, and writing none for no batches.
        isNullable: type !== 'records' && isIn(version, nullable),
        tag,
        fields: kafkaFields(inside, version),
      })),
  );
}

function ourFields(fields: readonly FieldLayout[], version: number): Described[] {
  return inOrder(
    fields
      .filter(({ from, to }) => from <= version && version <= to)
      .map(({ name, layout, tag }) => ({ name, tag, ...described(layout, version) })),
  );
}

function described(layout: Layout, version: number): Omit<Described, 'name' | 'tag'> {
  switch (layout.kind) {
    case 'primitive':
      return { type: layout.name, isNullable: false, fields: [] };
    case 'struct':
      return { type: 'struct', isNullable: false, fields: ourFields(layout.fields, version) };
    case 'array': {
      const of = described(layout.of, version);
      return { ...of, type: `[]${of.type}`, isNullable: false };
    }
    case 'nullable':
      return { ...described(layout.of, version), isNullable: version >= layout.from };
  }
}

function inOrder(fields: readonly Described[]): Described[] {
  const tagged = fields.filter(({ tag }) => tag !== undefined).sort((a, b) => (a.tag ?? 0) - (b.tag ?? 0));
  return [...fields.filter(({ tag }) => tag === undefined), ...tagged];
}

describe.each(
  [...HANDLERS.values()].flatMap(({ api }) => [
    { name: `${api.name}Request`, api, layout: api.request.layout },
    { name: `${api.name}Response`, api, layout: api.response.layout },
  ]),
)('$name', ({ name, api, layout }) => {
  const kafka = LAYOUTS.get(name) as KafkaLayout;

  it('has versions that Kafka has, and is flexible from the same one on', () => {
    for (const version of api.versions) expect(isIn(version, kafka.versions), `version ${version}`).toBe(true);
    const flexible = kafka.flexible === 'none' ? Number.POSITIVE_INFINITY : Number(kafka.flexible.replace('+', ''));
    expect(api.flexible).toBe(flexible);
  });

  const [oldest, newest] = api.versions;
  it.each(Array.from({ length: newest - oldest + 1 }, (_, i) => oldest + i))('version %i is Kafka’s', (version) => {
    expect(described(layout, version).fields).toEqual(kafkaFields(kafka.fields, version));
  });
});
