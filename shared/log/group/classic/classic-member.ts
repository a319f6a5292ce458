import { CLOCK_MARGIN_MS, type MemberClient } from '../member.ts';
import type { ClassicProtocol } from './protocols.ts';

/**
 * A member of a group that uses Kafka's classic protocol (docs/design/0011). All changes are functions of the member as it
 * was read; the broker stores them on the condition that it has not changed.
 */
export interface ClassicMember {
  /** `c:` and the member id, or `d:` and the instance id of a static member. */
  readonly key: string;
  readonly memberId: string;
  /** Rises with every update. */
  readonly version: number;
  /** The last round that the member has joined. One more than the group's: that round is about to begin. */
  readonly round: number;
  /** The last generation that it got in a group of KIP-848; 0 without one. */
  readonly epoch: number;
  readonly protocolType: string;
  /** In the member's order of preference. Empty if it is gone. */
  readonly protocols: readonly ClassicProtocol[];
  /** When it became a member. The first one leads. */
  readonly memberSinceMs: number;
  readonly seenAtMs: number;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly client: MemberClient;
  readonly isGone: boolean;
}

const DYNAMIC = 'c:';
const STATIC = 'd:';

export function classicKey(memberId: string, instanceId: string | undefined): string {
  return instanceId === undefined ? DYNAMIC + memberId : STATIC + instanceId;
}

export function isClassicKey(key: string): boolean {
  return key.startsWith(DYNAMIC) || key.startsWith(STATIC);
}

/** `undefined`: the member is not a static one. */
export function instanceIdOf(key: string): string | undefined {
  return key.startsWith(STATIC) ? key.slice(STATIC.length) : undefined;
}

/** Whether the member's session has ended. */
export function isClassicOverdue({ seenAtMs, sessionTimeoutMs }: ClassicMember, nowMs: number): boolean {
  return nowMs > seenAtMs + sessionTimeoutMs + CLOCK_MARGIN_MS;
}

export function isLive(member: ClassicMember, nowMs: number): boolean {
  return !member.isGone && !isClassicOverdue(member, nowMs);
}

/** The member has left, was removed, or its session has ended. */
export function endClassic(member: ClassicMember): ClassicMember {
  return { ...member, isGone: true, protocols: [] };
}
