import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../../shared/log/bytes.ts';
import type { Segment } from '../../../../shared/log/segment/segment.ts';
import { packIndex, type SegmentIndex, unpackIndex } from '../../../../shared/log/segment/segment-index.ts';
import {
  packSegmentList,
  packSegmentPage,
  type SegmentList,
  unpackSegmentList,
  unpackSegmentPage,
} from '../../../../shared/log/segment/segment-list.ts';

/** See `formats.test.ts`. In JSON, set hashes and bytes are in hex. */
function golden<Value>(file: string): readonly { readonly hex: string; readonly value: Value }[] {
  const text = readFileSync(new URL(`../../../fixtures/formats/${file}`, import.meta.url), 'utf8');
  const revive = (name: string, value: unknown): unknown => {
    if (name === 'setHash') return BigInt(`0x${value}`);
    return name === 'writer' ? fromHex(value as string) : value;
  };
  return (JSON.parse(text, revive) as { cases: { hex: string; value: Value }[] }).cases;
}

describe('golden bytes', () => {
  it.each(golden<SegmentIndex>('segment-index-v1.json'))('index and footer $hex', ({ hex, value }) => {
    expect(unpackIndex(fromHex(hex))).toEqual(value);
    expect(toHex(packIndex(value))).toBe(hex);
  });

  it.each(golden<SegmentList>('segment-list-v1.json'))('segment list $hex', ({ hex, value }) => {
    expect(unpackSegmentList(fromHex(hex))).toEqual(value);
    expect(toHex(packSegmentList(value))).toBe(hex);
  });

  it.each(golden<Segment[]>('segment-page-v1.json'))('page $hex', ({ hex, value }) => {
    expect(unpackSegmentPage(fromHex(hex))).toEqual(value);
    expect(toHex(packSegmentPage(value))).toBe(hex);
  });
});
