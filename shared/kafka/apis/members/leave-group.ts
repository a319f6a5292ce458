import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { LEAVE_GROUP } from '../../protocol/messages/members/leave-group.ts';
import { answering, checkGroupRight, groupError } from '../group-errors.ts';

/** From this version on several members leave at once. */
const MEMBERS_FROM = 3;

/** Members leave a classic group, or are removed from it. */
export const leaveGroup = handler(LEAVE_GROUP, [{ action: 'consume', on: 'group' }], (call, request) =>
  answering<ResponseOf<typeof LEAVE_GROUP>>(
    async () => {
      const { gateway, version } = call;
      checkGroupRight(call, 'consume', request.groupId);
      const leaving =
        version < MEMBERS_FROM ? [{ memberId: request.memberId, groupInstanceId: null }] : request.members;
      const outcomes = await gateway.broker.leaveClassicGroup({
        group: request.groupId,
        members: leaving.map(({ memberId, groupInstanceId }) => ({
          memberId,
          instanceId: groupInstanceId ?? undefined,
        })),
      });
      const errors = outcomes.map(
        (outcome): KafkaErrorNumber => (outcome.ok ? KAFKA_ERRORS.NONE : groupError(outcome.error)),
      );
      if (version < MEMBERS_FROM) return { errorCode: errors[0] as KafkaErrorNumber, members: [] };
      const members = leaving.map((member, i) => ({ ...member, errorCode: errors[i] as KafkaErrorNumber }));
      return { errorCode: KAFKA_ERRORS.NONE, members };
    },
    (errorCode) => ({ errorCode, members: [] }),
  ),
);
