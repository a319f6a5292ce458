import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { leaderOf } from '../../nodes/leaders.ts';
import { FIND_COORDINATOR } from '../../protocol/messages/members/find-coordinator.ts';

const GROUP = 0;
const TRANSACTION = 1;

/**
 * The gateway that clients are sent to for a group or a transactional id. Any could serve it; one for all members lets them
 * hear of each other at once.
 */
export const findCoordinator = handler(
  FIND_COORDINATOR,
  [
    { action: 'any', on: 'group' },
    { action: 'any', on: 'transactional id' },
  ],
  async ({ gateway, rights }, { key, keyType, coordinatorKeys }) => {
    const isKnown = keyType === GROUP || keyType === TRANSACTION;
    const coordinatorOf = (of: string) => {
      const refused = (errorCode: number, errorMessage: string) => ({
        nodeId: -1,
        host: '',
        port: -1,
        errorCode,
        errorMessage,
      });
      if (!isKnown) return refused(KAFKA_ERRORS.INVALID_REQUEST, `There are no coordinators of the type ${keyType}.`);
      if (keyType === GROUP && !rights.onGroup('any', of))
        return refused(KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED, 'There is no right to this group.');
      if (keyType === TRANSACTION && !rights.onTransactionalId('any', of))
        return refused(
          KAFKA_ERRORS.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
          'There is no right to this transactional id.',
        );
      const { nodeId, host, port } = leaderOf(gateway, of, 0);
      return { nodeId, host, port, errorCode: KAFKA_ERRORS.NONE, errorMessage: null };
    };
    return {
      ...coordinatorOf(key),
      coordinators: coordinatorKeys.map((each) => ({ key: each, ...coordinatorOf(each) })),
    };
  },
);
