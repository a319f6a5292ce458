import { type PartitionSet, partitionSet } from './partition-set.ts';
export interface TargetMember {
  readonly key: string;
  readonly subscriptionHash: number;
  readonly topicsHash: number;
}
export interface TargetAssignment {
  readonly members: readonly TargetMember[];
  readonly topics: ReadonlyMap<string, Int32Array>;
}
export function packTarget(t: TargetAssignment): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ m: t.members, t: [...t.topics].map(([k, v]) => [k, [...v]]) }));
}
export function unpackTarget(b: Uint8Array): TargetAssignment {
  const j = JSON.parse(new TextDecoder().decode(b));
  return { members: j.m, topics: new Map(j.t.map(([k, v]: [string, number[]]) => [k, Int32Array.from(v)])) };
}
export function shareOf(t: TargetAssignment, key: string): PartitionSet | undefined {
  const i = t.members.findIndex((m) => m.key === key);
  if (i < 0) return undefined;
  return partitionSet(
    [...t.topics].flatMap(([id, o]) => [...o.entries()].filter(([, x]) => x === i).map(([p]) => [id, p] as const)),
  );
}
