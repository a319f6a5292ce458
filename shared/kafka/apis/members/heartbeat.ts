import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { HEARTBEAT } from '../../protocol/messages/members/heartbeat.ts';
import { answering } from '../group-errors.ts';

/** A member of a classic group is alive. */
export const heartbeat = handler(HEARTBEAT, ({ gateway: { broker } }, request) =>
  answering<ResponseOf<typeof HEARTBEAT>>(
    async () => {
      await broker.heartbeatClassicGroup({
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
