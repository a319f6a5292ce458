import { EventLogError } from '../../../../log/errors.ts';
import { CLASSIC_MEMBER } from '../../../../storage/group-keys.ts';
import type { Attributes } from '../../../../storage/ports.ts';

/** The errors of classic groups, in one voice. Kafka's clients act on the code alone. */

interface OfMember {
  readonly group: string;
  readonly memberId: string;
}

export function unknownClassicMember({ group, memberId }: OfMember): EventLogError {
  return new EventLogError(
    'unknown_member',
    `Group '${group}' has no member '${memberId}': its session has ended, or it has left. Drop its partitions, and join without a member id.`,
    { details: { group, memberId } },
  );
}

/** Why a request of a member was refused, by the item that it met. */
export function refusal(
  group: string,
  memberId: string,
  instanceId: string | undefined,
  met: Attributes | undefined,
): EventLogError {
  const isThere = met !== undefined && met[CLASSIC_MEMBER.gone] === undefined;
  // A member by KIP-848 has ended this one, and has its instance id.
  const isFollowed = met !== undefined && met[CLASSIC_MEMBER.memberId] !== memberId;
  if (instanceId !== undefined && (isThere || isFollowed)) return fencedInstance(group, instanceId);
  return unknownClassicMember({ group, memberId });
}

export function fencedInstance(group: string, instanceId: string): EventLogError {
  return new EventLogError(
    'fenced_instance_id',
    `Another member of group '${group}' uses the instance id '${instanceId}' now. Stop this one.`,
    { details: { group, instanceId } },
  );
}

export function illegalGeneration(group: string, generation: number, present: number): EventLogError {
  return new EventLogError(
    'illegal_generation',
    `Group '${group}' is in generation ${present}, not ${generation}. Drop the partitions, and join again.`,
    { details: { group, generation, present } },
  );
}

export function rebalanceInProgress(group: string): EventLogError {
  return new EventLogError('rebalance_in_progress', `The members of group '${group}' join again. Join, too.`, {
    details: { group },
  });
}

export function inconsistentProtocol(group: string): EventLogError {
  return new EventLogError(
    'inconsistent_group_protocol',
    `Group '${group}' has members that support no protocol of this one, or have another protocol type. Use the same assignor as they do.`,
    { details: { group } },
  );
}

export function memberIdRequired(group: string, memberId: string): EventLogError {
  return new EventLogError('member_id_required', `Join group '${group}' under the member id '${memberId}'.`, {
    details: { group, memberId },
  });
}

export function groupFull(group: string): EventLogError {
  return new EventLogError('group_full', `Group '${group}' has no room for another member.`, { details: { group } });
}

export function groupTypeMismatch(group: string, used: 'classic' | 'consumer'): EventLogError {
  const protocol = used === 'classic' ? "Kafka's classic protocol" : "Kafka's protocol of KIP-848 or HTTP";
  return new EventLogError(
    'group_type_mismatch',
    `The members of group '${group}' use ${protocol}. Use it too, or another group; or wait until they have left.`,
    { details: { group, used } },
  );
}

export function waitEnded(group: string): EventLogError {
  return new EventLogError('shutting_down', `The wait for group '${group}' was ended. Send the request again.`);
}

export function tooManyChanges(group: string): EventLogError {
  return new EventLogError('throttled', `Other requests change group '${group}' at the same time.`);
}
