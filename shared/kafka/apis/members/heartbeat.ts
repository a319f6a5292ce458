import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { HEARTBEAT } from '../../protocol/messages/members/heartbeat.ts';
import { answering, checkGroupRight } from '../group-errors.ts';

/** A member of a classic group is alive. */
export const heartbeat = handler(HEARTBEAT, [{ action: 'consume', on: 'group' }], (call, request) =>
  answering<ResponseOf<typeof HEARTBEAT>>(
    async () => {
      checkGroupRight(call, 'consume', request.groupId);
      await call.gateway.broker.heartbeatClassicGroup({
        group: request.groupId,
        memberId: request.memberId,
        instanceId: request.groupInstanceId ?? undefined,
        generation: request.generationId,
      });
      return { errorCode: KAFKA_ERRORS.NONE };
    },
    (errorCode) => ({ errorCode }),
  ),
);
