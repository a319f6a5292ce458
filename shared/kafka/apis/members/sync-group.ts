import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { SYNC_GROUP } from '../../protocol/messages/members/sync-group.ts';
import { answering, checkGroupRight } from '../group-errors.ts';

const NO_ASSIGNMENT = new Uint8Array(0);

/** A member of a classic group gets what the leader assigns to it; the leader's request has it for all. */
export const syncGroup = handler(SYNC_GROUP, [{ action: 'consume', on: 'group' }], (call, request) =>
  answering<ResponseOf<typeof SYNC_GROUP>>(
    async () => {
      checkGroupRight(call, 'consume', request.groupId);
      const synced = await call.gateway.broker.syncClassicGroup({
        group: request.groupId,
        memberId: request.memberId,
        instanceId: request.groupInstanceId ?? undefined,
        generation: request.generationId,
        protocolType: request.protocolType ?? undefined,
        protocol: request.protocolName ?? undefined,
        assignments: request.assignments,
        signal: call.signal,
      });
      return {
        errorCode: KAFKA_ERRORS.NONE,
        protocolType: synced.protocolType,
        protocolName: synced.protocol,
        assignment: synced.assignment,
      };
    },
    (errorCode) => ({ errorCode, assignment: NO_ASSIGNMENT }),
  ),
);
