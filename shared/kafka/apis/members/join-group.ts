import { EventLogError, invalidField } from '../../../log/errors.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { JOIN_GROUP } from '../../protocol/messages/members/join-group.ts';
import { checkGroupRight, groupError } from '../group-errors.ts';

/** From these versions on clients know more. */
const MEMBER_ID_REQUIRED_FROM = 4;
const REBALANCE_TIMEOUT_FROM = 1;
const NULL_PROTOCOL_FROM = 7;
const SKIP_ASSIGNMENT_FROM = 9;

type Response = ResponseOf<typeof JOIN_GROUP>;

/** A member joins a classic group. Waits until all have joined. */
export const joinGroup = handler(JOIN_GROUP, [{ action: 'consume', on: 'group' }], async (call, request) => {
  try {
    checkGroupRight(call, 'consume', request.groupId);
    return await join(call, request);
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const given = error.code === 'member_id_required' ? String(error.details.memberId) : request.memberId;
    return {
      errorCode: groupError(error),
      protocolName: call.version < NULL_PROTOCOL_FROM ? '' : null,
      leader: '',
      memberId: given,
      members: [],
    };
  }
});

async function join(
  { gateway, version, clientId, clientHost, signal }: Call,
  request: RequestOf<typeof JOIN_GROUP>,
): Promise<Response> {
  const { groupId, sessionTimeoutMs, rebalanceTimeoutMs, memberId, groupInstanceId, protocolType, protocols } = request;
  const { groupMinSessionTimeoutMs: sessionTimeoutMsMin } = gateway.settings;
  if (sessionTimeoutMs < sessionTimeoutMsMin)
    throw invalidField('sessionTimeoutMs', `A session is at least ${sessionTimeoutMsMin} ms here.`);
  const joined = await gateway.broker.joinClassicGroup({
    group: groupId,
    memberId,
    instanceId: groupInstanceId ?? undefined,
    protocolType,
    protocols: protocols.map(({ name, metadata }) => ({ name, metadata })),
    sessionTimeoutMs,
    // Before it was sent, the session was also the time to join again.
    rebalanceTimeoutMs: version < REBALANCE_TIMEOUT_FROM ? sessionTimeoutMs : rebalanceTimeoutMs,
    requiresMemberId: version >= MEMBER_ID_REQUIRED_FROM,
    supportsSkippingAssignment: version >= SKIP_ASSIGNMENT_FROM,
    clientId,
    clientHost,
    signal,
  });
  return {
    errorCode: KAFKA_ERRORS.NONE,
    generationId: joined.generation,
    protocolType: joined.protocolType,
    protocolName: joined.protocol,
    leader: joined.leader,
    skipAssignment: joined.skipAssignment,
    memberId: joined.memberId,
    members: joined.members.map((member) => ({
      memberId: member.memberId,
      groupInstanceId: member.instanceId ?? null,
      metadata: member.metadata,
    })),
  };
}
