import { expect, it } from 'vitest';
import { acknowledge, gain, giveUp, type Member, takeTarget } from '../../../../shared/log/group/member.ts';
import { NO_PARTITIONS, partitionSet } from '../../../../shared/log/group/partition-set.ts';

const set = (...partitions: readonly number[]) => partitionSet(partitions.map((each) => ['t', each] as const));

const MEMBER: Member = {
  key: 'm:a',
  memberId: 'a',
  version: 1,
  epoch: 5,
  targetEpoch: 1,
  assigned: set(0, 1, 2),
  revoking: NO_PARTITIONS,
  wanted: set(0, 1, 2),
  unclaimed: NO_PARTITIONS,
  subscription: { topics: ['t'] },
  computedFrom: undefined,
  assignor: undefined,
  seenAtMs: 1_000,
  sessionTimeoutMs: 10_000,
  rebalanceTimeoutMs: 60_000,
  releaseByMs: undefined,
  client: {},
  isAway: false,
  isGone: false,
};
const target = (epoch: number, ...share: readonly number[]) => ({
  epoch,
  share: set(...share),
  computedFrom: undefined,
});

it('must let go by a time that later losses do not put off', () => {
  const first = takeTarget(MEMBER, target(2, 0, 1), 1_000);
  expect(first).toMatchObject({ epoch: 6, assigned: set(0, 1), revoking: set(2), releaseByMs: 61_000 });
  const second = takeTarget(acknowledge(first, set(0, 1, 2)), target(3, 0), 9_000);
  expect(second).toMatchObject({ epoch: 7, revoking: set(1, 2), releaseByMs: 61_000 });
  expect(acknowledge(second, set(0))).toMatchObject({ revoking: NO_PARTITIONS, releaseByMs: undefined });
});

it('lets go of nothing that its sender does not speak of', () => {
  const losing = takeTarget(MEMBER, target(2, 0, 1), 1_000);
  expect(acknowledge(losing, undefined).revoking).toEqual(set(2));
});

it('has another epoch with each change of what it was told, and only then', () => {
  expect(takeTarget(MEMBER, target(2, 0, 1, 2, 3), 1_000)).toMatchObject({ epoch: 5, wanted: set(0, 1, 2, 3) });
  const gained = gain(MEMBER, set(3));
  expect(gained).toMatchObject({ epoch: 6, assigned: set(0, 1, 2, 3), unclaimed: set(3) });
  expect(giveUp(gained, set(3), 1_000)).toMatchObject({ epoch: 7, unclaimed: NO_PARTITIONS, revoking: set(3) });
});
