import { invalidField } from '../../../log/errors.ts';
import { ASSIGNOR_NAMES, type AssignorName } from '../../../log/group/assignor.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { MemberClient } from '../../../log/group/member.ts';
import type { PartitionSet } from '../../../log/group/partition-set.ts';
import { checkSubscription, type Subscription } from '../../../log/group/subscription.ts';
import {
  REBALANCE_TIMEOUT_MS_DEFAULT,
  REBALANCE_TIMEOUT_MS_MAX,
  SESSION_TIMEOUT_MS_DEFAULT,
  SESSION_TIMEOUT_MS_MAX,
  SESSION_TIMEOUT_MS_MIN,
} from '../../../log/limits.ts';
import { bounded } from '../../read/read.ts';
import { checkTopicPattern } from './topic-pattern.ts';

export interface HeartbeatRequest {
  readonly group: string;
  readonly memberId: string;
  /** As the last answer gave it; 0 to join. */
  readonly memberEpoch: number;
  /** Makes the member a static one: another member may follow it under the same instance id. */
  readonly instanceId?: string | undefined;
  /** What the member wants to read. Needed to join; otherwise `undefined` leaves it as it is. */
  readonly subscription?: Subscription | undefined;
  /** The part of the subscription that stays as it is, whatever `subscription` says of it. Not of a member that joins. */
  readonly keeps?: 'topics' | 'pattern' | undefined;
  /** The member may subscribe to nothing. It belongs to the group, and reads nothing until it changes that. */
  readonly mayReadNothing?: boolean | undefined;
  /** How the group's partitions are distributed; the group uses what most of its members ask for. */
  readonly assignor?: AssignorName | undefined;
  /** The member is gone if it sends no heartbeat for this long. Taken when it joins. */
  readonly sessionTimeoutMs?: number | undefined;
  /** The member is gone if it does not let go of a partition within this time. Taken when it joins. */
  readonly rebalanceTimeoutMs?: number | undefined;
  /**
   * The partitions that the member has, also those that it was told to let go of and still reads. `undefined`: all that it
   * was ever told of.
   */
  readonly owned?: PartitionSet | undefined;
  readonly client?: MemberClient | undefined;
}

/** A checked request of a member that joins. */
export interface JoinRequest {
  readonly group: string;
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly subscription: Subscription;
  readonly assignor: AssignorName | undefined;
  readonly sessionTimeoutMs: number;
  readonly rebalanceTimeoutMs: number;
  readonly client: MemberClient;
}

const CLIENT_TEXT_LENGTH_MAX = 256;
const EPOCH_MAX = 2 ** 31 - 1;

/** @throws EventLogError `invalid_request` naming the field */
export async function checkHeartbeat(request: HeartbeatRequest): Promise<void> {
  const { group, memberId, memberEpoch, instanceId, subscription, assignor, client = {} } = request;
  checkGroupName(group, 'group');
  checkGroupName(memberId, 'memberId');
  if (instanceId !== undefined) checkGroupName(instanceId, 'instanceId');
  bounded('memberEpoch', memberEpoch, 0, EPOCH_MAX);
  if (subscription !== undefined) checkSubscription(subscription, { mayBeEmpty: request.mayReadNothing });
  else if (memberEpoch === 0)
    throw invalidField('topics', 'A member that joins must say what it subscribes to: `topics`, or `topicPattern`.');
  if (assignor !== undefined && !ASSIGNOR_NAMES.includes(assignor))
    throw invalidField('assignor', `The assignors are ${ASSIGNOR_NAMES.join(' and ')}, not '${assignor}'.`);
  if (request.sessionTimeoutMs !== undefined)
    bounded('sessionTimeoutMs', request.sessionTimeoutMs, SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX);
  if (request.rebalanceTimeoutMs !== undefined)
    bounded('rebalanceTimeoutMs', request.rebalanceTimeoutMs, SESSION_TIMEOUT_MS_MIN, REBALANCE_TIMEOUT_MS_MAX);
  for (const [field, text] of Object.entries(client)) {
    if (text !== undefined && text.length > CLIENT_TEXT_LENGTH_MAX)
      throw invalidField(field, `${field} can have at most ${CLIENT_TEXT_LENGTH_MAX} characters.`);
  }
  if (subscription?.pattern !== undefined) await checkTopicPattern(subscription.pattern);
}

/** The request must have passed `checkHeartbeat`, with a subscription. */
export function joinRequest(request: HeartbeatRequest, subscription: Subscription): JoinRequest {
  return {
    group: request.group,
    memberId: request.memberId,
    instanceId: request.instanceId,
    subscription,
    assignor: request.assignor,
    sessionTimeoutMs: request.sessionTimeoutMs ?? SESSION_TIMEOUT_MS_DEFAULT,
    rebalanceTimeoutMs: request.rebalanceTimeoutMs ?? REBALANCE_TIMEOUT_MS_DEFAULT,
    client: request.client ?? {},
  };
}
