import { equalBytes } from '../../bytes.ts';
import { type ClassicGroup, hasGeneration } from './classic-group.ts';
import type { ClassicMember } from './classic-member.ts';
import type { Roster } from './generation.ts';
import { type ClassicProtocol, metadataOf, sameProtocols } from './protocols.ts';

/** What a request to join asks for, as far as the decision needs it. */
export interface Joining {
  readonly key: string;
  readonly memberId: string;
  readonly protocolType: string;
  readonly protocols: readonly ClassicProtocol[];
}

export type JoinDecision =
  /** The member belongs to the present generation already, and nothing has changed. The answer says so. */
  | { readonly type: 'answer' }
  /** The member joins this round. It is under way, or begins with this member. */
  | { readonly type: 'join'; readonly round: number };

/**
 * What a join does, as Kafka's coordinator decides it. `known`: the member of this key, if there is one that is not gone.
 * `roster`: that of the present generation.
 */
export function decideJoin(
  group: ClassicGroup,
  roster: Roster | undefined,
  known: ClassicMember | undefined,
  joining: Joining,
): JoinDecision {
  if (group.type === 'classic' && group.phase === 'joining') return { type: 'join', round: group.round };
  const next: JoinDecision = { type: 'join', round: group.round + 1 };
  if (!hasGeneration(group) || known === undefined) return next;
  // What it said when it joined a round that has not begun is not what this generation knows.
  const listed = roster?.members.find(({ key }) => key === joining.key);
  if (listed === undefined || known.round > group.round) return next;
  if (known.protocolType !== joining.protocolType) return next;
  const isReplacing = known.memberId !== joining.memberId;
  // A leader that joins again asks for a new assignment: the topics of its group have changed, for example.
  if (group.phase === 'stable' && group.leader === joining.key && !isReplacing) return next;
  if (isReplacing || listed.memberId !== joining.memberId) {
    // Another process of a static member takes the place of the former one, if the leader would not assign otherwise.
    const metadata = metadataOf(joining.protocols, group.protocol ?? '');
    const isSame = metadata !== undefined && equalBytes(metadata, listed.metadata);
    return group.phase === 'stable' && isSame ? { type: 'answer' } : next;
  }
  return sameProtocols(known.protocols, joining.protocols) ? { type: 'answer' } : next;
}
