import type { ListedGroupState } from '../../../broker/groups/classic/list-group-states.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { ResponseOf } from '../../protocol/api.ts';
import { LIST_GROUPS } from '../../protocol/messages/groups/list-groups.ts';
import { answering } from '../group-errors.ts';
import { stateName } from './consumer-group-describe.ts';

type Response = ResponseOf<typeof LIST_GROUPS>;

/** Kafka's names for the types of groups. */
const TYPE_NAMES: Readonly<Record<ListedGroupState['type'], string>> = { classic: 'Classic', consumer: 'Consumer' };
const PAGE_LIMIT = 1_000;

/** All groups, or those in some states or of some types. */
export const listGroups = handler(
  LIST_GROUPS,
  [{ action: 'any', on: 'group' }],
  (call, { statesFilter, typesFilter }) =>
    answering<Response>(
      async () => {
        const groups: Response['groups'][number][] = [];
        for await (const { group, type, state, protocolType } of allGroups(call)) {
          if (!call.rights.onGroup('any', group)) continue;
          const listed = { groupId: group, protocolType, groupState: stateName(state), groupType: TYPE_NAMES[type] };
          if (isAmong(statesFilter, listed.groupState) && isAmong(typesFilter, listed.groupType)) groups.push(listed);
        }
        return { errorCode: KAFKA_ERRORS.NONE, groups };
      },
      (errorCode) => ({ errorCode, groups: [] }),
    ),
);

/** Filters are written in any case; none lets all pass. */
function isAmong(filter: readonly string[], name: string): boolean {
  return filter.length === 0 || filter.some((wanted) => wanted.toLowerCase() === name.toLowerCase());
}

async function* allGroups({ gateway: { broker } }: Call): AsyncGenerator<ListedGroupState> {
  let pageToken: string | undefined;
  do {
    const page = await broker.listGroupStates({ limit: PAGE_LIMIT, pageToken });
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
}
