import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../../shared/log/bytes.ts';
import { packPartitions, unpackPartitions } from '../../../../shared/log/group/partition-set.ts';

/** See `formats.test.ts`. In JSON, maps are objects. */
function golden<Value>(file: string): readonly { readonly hex: string; readonly value: Value }[] {
  const text = readFileSync(new URL(`../../../fixtures/formats/${file}`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { cases: { hex: string; value: Value }[] }).cases;
}

describe('golden bytes', () => {
  type PartitionsJson = Readonly<{ [topicId: string]: readonly number[] }>;
  it.each(golden<PartitionsJson>('partition-set-v1.json'))('partitions $hex', ({ hex, value }) => {
    expect(Object.fromEntries(unpackPartitions(fromHex(hex)))).toEqual(value);
    expect(toHex(packPartitions(new Map(Object.entries(value))))).toBe(hex);
  });
});
