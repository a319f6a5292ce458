import { REBALANCE_TIMEOUT_MS_MAX } from '../../limits.ts';
import { CLOCK_MARGIN_MS } from '../member.ts';

/**
 * What the members of a classic group share (docs/design/0011). Each transition leaves one exact state: the epoch, the phase
 * and the round together never come twice, because a round begins with a higher number and ends with a higher epoch.
 */
export interface ClassicGroup {
  /** `none`: there is no such group, or it was deleted. `consumer`: its members use KIP-848 or HTTP. */
  readonly type: 'none' | 'consumer' | 'classic';
  /** The generation. It goes on over both types of groups, so no fence of a partition comes twice. */
  readonly epoch: number;
  readonly phase: ClassicPhase;
  /** Rises whenever members begin to join. */
  readonly round: number;
  /** `joining`: the round ends then at the latest. `syncing`: the leader must have assigned by then. */
  readonly deadlineMs: number;
  /** The first round of an empty group, which waits until its deadline so that more members can come. */
  readonly isInitialRound: boolean;
  /** The key of the leader in this generation. */
  readonly leader: string | undefined;
  readonly protocol: string | undefined;
  /** Of the present generation, or of the last one with members. */
  readonly protocolType: string | undefined;
  /** The members of this generation. */
  readonly roster: StoredParts | undefined;
  /** What the leader has assigned. Only in `stable`. */
  readonly assignment: StoredParts | undefined;
  /** The longest one of this generation's members. */
  readonly rebalanceTimeoutMs: number;
  /** The number of members of this generation. */
  readonly memberCount: number;
  /** Of a group of KIP-848: members by the classic protocol belong to it, or did a moment ago. */
  readonly hasClassicMembers: boolean;
  /** The mark of a deletion, as it is stored. */
  readonly deleted: number | undefined;
}

/** `empty`: no generation. `joining`: members join. `syncing`: the leader assigns. `stable`: members read. */
export type ClassicPhase = 'empty' | 'joining' | 'syncing' | 'stable';

export interface StoredParts {
  readonly name: string;
  readonly parts: number;
}

/** Whether the present time is past the deadline of the phase. */
export function isDue({ deadlineMs }: ClassicGroup, nowMs: number): boolean {
  // A time far ahead comes from a wrong clock. One that is a little ahead has set the longest timeout that there is.
  return nowMs >= deadlineMs || deadlineMs - nowMs > REBALANCE_TIMEOUT_MS_MAX + CLOCK_MARGIN_MS;
}

/** Whether a generation is there: its roster says who belongs to it. */
export function hasGeneration({ type, phase }: ClassicGroup): boolean {
  return type === 'classic' && (phase === 'syncing' || phase === 'stable');
}

/** The group when members begin to join. */
export function beginRound(
  group: ClassicGroup,
  nowMs: number,
  {
    rebalanceTimeoutMs,
    initialDelayMs,
    hasMembers = false,
  }: {
    readonly rebalanceTimeoutMs: number;
    readonly initialDelayMs: number;
    /** The group is of KIP-848 and has members by the classic protocol: they must have time to join. */
    readonly hasMembers?: boolean;
  },
): ClassicGroup {
  const isInitialRound = !hasGeneration(group) && !hasMembers;
  const longestMs = Math.max(rebalanceTimeoutMs, hasGeneration(group) ? group.rebalanceTimeoutMs : 0);
  return {
    ...group,
    type: 'classic',
    phase: 'joining',
    round: group.round + 1,
    deadlineMs: nowMs + (isInitialRound ? Math.min(initialDelayMs, longestMs) : longestMs),
    isInitialRound,
    rebalanceTimeoutMs: longestMs,
    hasClassicMembers: false,
    deleted: undefined,
  };
}

/**
 * The group when it becomes one of KIP-848: its members by the classic protocol are served as members of that. Its epoch goes
 * on, so no fence of a partition and no generation of a member comes twice.
 */
export function becomeConsumerGroup(group: ClassicGroup, hasClassicMembers: boolean): ClassicGroup {
  return {
    ...group,
    type: 'consumer',
    epoch: group.epoch + 1,
    phase: 'empty',
    isInitialRound: false,
    leader: undefined,
    protocol: undefined,
    protocolType: undefined,
    roster: undefined,
    assignment: undefined,
    memberCount: 0,
    hasClassicMembers,
  };
}

/** The group when its leader has assigned. */
export function finishSync(group: ClassicGroup, assignment: StoredParts): ClassicGroup {
  return { ...group, phase: 'stable', assignment };
}
