import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_GROUPS } from '../../protocol/messages/groups/describe-groups.ts';
import { eachOnce } from '../each-once.ts';
import { checkGroupRight, groupError } from '../group-errors.ts';

type Described = ResponseOf<typeof DESCRIBE_GROUPS>['groups'][number];

/** From this version on a group that there is none of is an error; before it was a dead group. */
const NOT_FOUND_FROM = 6;
const DEAD = 'Dead';

/** Classic groups with their members. */
export const describeGroups = handler(DESCRIBE_GROUPS, [{ action: 'any', on: 'group' }], async (call, { groups }) => {
  const described: Described[] = [];
  for (const groupId of eachOnce(groups)) described.push(await describe(call, groupId));
  return { groups: described };
});

async function describe(call: Call, groupId: string): Promise<Described> {
  const missing = (errorCode: number, errorMessage: string | null, groupState: string): Described => ({
    ...{ errorCode, errorMessage, groupId, groupState, protocolType: '', protocolData: '', members: [] },
  });
  try {
    checkGroupRight(call, 'any', groupId);
    const { state, protocolType, protocol, members } = await call.gateway.broker.describeClassicGroup(groupId);
    if (state === DEAD) throw new EventLogError('unknown_group', `There is no group '${groupId}'.`);
    return {
      errorCode: KAFKA_ERRORS.NONE,
      groupId,
      groupState: state,
      protocolType,
      protocolData: protocol,
      members: members.map((member) => ({
        memberId: member.memberId,
        groupInstanceId: member.instanceId ?? null,
        clientId: member.clientId,
        clientHost: `/${member.clientHost}`,
        memberMetadata: member.metadata,
        memberAssignment: member.assignment,
      })),
    };
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    const isNoClassicGroup = error.code === 'unknown_group' || error.code === 'group_type_mismatch';
    if (!isNoClassicGroup) return missing(groupError(error), error.message, '');
    if (call.version < NOT_FOUND_FROM) return missing(KAFKA_ERRORS.NONE, null, DEAD);
    // Clients then ask whether it is a group of KIP-848.
    return missing(KAFKA_ERRORS.GROUP_ID_NOT_FOUND, error.message, DEAD);
  }
}
