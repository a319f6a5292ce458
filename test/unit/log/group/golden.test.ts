import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromHex, toHex } from '../../../../shared/log/bytes.ts';
import { packPartitions, unpackPartitions } from '../../../../shared/log/group/partition-set.ts';
import { packSubscription, type Subscription, unpackSubscription } from '../../../../shared/log/group/subscription.ts';
import { packTarget, type TargetMember, unpackTarget } from '../../../../shared/log/group/target.ts';

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

  it.each(golden<Subscription>('subscription-v1.json'))('subscription $hex', ({ hex, value }) => {
    expect(unpackSubscription(fromHex(hex))).toEqual(value);
    expect(toHex(packSubscription(value))).toBe(hex);
  });

  type TargetJson = { readonly members: readonly TargetMember[]; readonly topics: PartitionsJson };
  it.each(golden<TargetJson>('target-v1.json'))('target $hex', ({ hex, value: { members, topics } }) => {
    const target = {
      members,
      topics: new Map(Object.entries(topics).map(([topicId, owners]) => [topicId, Int32Array.from(owners)])),
    };
    expect(unpackTarget(fromHex(hex))).toEqual(target);
    expect(toHex(packTarget(target))).toBe(hex);
  });
});
