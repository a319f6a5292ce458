import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { DELETE_GROUPS } from '../../protocol/messages/groups/delete-groups.ts';
import { answering } from '../group-errors.ts';

type Result = ResponseOf<typeof DELETE_GROUPS>['results'][number];

/** Deletes groups that have no members, each by itself. */
export const deleteGroups = handler(
  DELETE_GROUPS,
  [{ action: 'admin', on: 'group' }],
  async ({ gateway: { broker }, rights }, { groupsNames }) => {
    const results: Result[] = [];
    // A group that is named twice is answered once.
    for (const groupId of new Set(groupsNames))
      results.push(
        await answering<Result>(
          async () => {
            if (!rights.onGroup('admin', groupId))
              return { groupId, errorCode: KAFKA_ERRORS.GROUP_AUTHORIZATION_FAILED };
            await broker.deleteGroup(groupId);
            return { groupId, errorCode: KAFKA_ERRORS.NONE };
          },
          (errorCode) => ({ groupId, errorCode }),
        ),
      );
    return { results };
  },
);
