import type { JoinedMember } from '../../../shared/broker/groups/classic/join-classic-group.ts';
import { consumerSubscription } from '../../../shared/log/group/classic/consumer-subscription.ts';
import { assignmentOf } from '../../support/classic-world.ts';

interface Assigned {
  readonly memberId: string;
  readonly assignment: Uint8Array;
}

/**
 * What the leader of a classic group assigns: evenly, and to each member first what it owns. Cooperative members get no partition in
 * the round in which another one still owns it.
 */
export function assignAsLeader(members: readonly JoinedMember[], partitions: readonly string[]): Assigned[] {
  const wanted = members.map(({ metadata }) => consumerSubscription('consumer', [{ name: '', metadata }]));
  const owned = wanted.map(
    (each) => new Set((each?.owned ?? []).flatMap((of) => of.partitions.map((number) => `${of.topic}/${number}`))),
  );
  const shares = members.map((): string[] => []);
  const most = Math.ceil(partitions.length / members.length);
  const left: string[] = [];
  for (const partition of partitions) {
    const keeper = owned.findIndex((has, i) => has.has(partition) && (shares[i]?.length ?? 0) < most);
    if (keeper >= 0 && wants(keeper, partition)) shares[keeper]?.push(partition);
    else left.push(partition);
  }
  for (const partition of left) {
    const able = members.map((_, i) => i).filter((i) => wants(i, partition));
    const [least] = able.sort((a, b) => (shares[a]?.length ?? 0) - (shares[b]?.length ?? 0));
    const isFree = !owned.some((has, i) => i !== least && has.has(partition));
    if (least !== undefined && isFree) shares[least]?.push(partition);
  }
  return members.map(({ memberId }, i) => {
    const byTopic = Map.groupBy(shares[i] ?? [], (name) => name.split('/')[0] as string);
    const numbers = [...byTopic].map(([topic, names]) => [topic, names.map((name) => Number(name.split('/')[1]))]);
    return { memberId, assignment: assignmentOf(Object.fromEntries(numbers)) };
  });

  function wants(i: number, partition: string): boolean {
    return wanted[i]?.topics.includes(partition.split('/')[0] as string) ?? false;
  }
}
