import { PAGE_LIMIT_MAX } from '../../log/limits.ts';
import { GROUPS } from '../../storage/group-keys.ts';
import type { BrokerContext } from '../context.ts';
import { encodePageToken, type Page, type PageRequest, pageLimit, queryPage } from '../page.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';

export interface ListGroupsRequest extends PageRequest {
  /** Whether to list a group. The ids of all other groups are also kept out of page tokens. Default: all are listed. */
  readonly visible?: ((group: string) => boolean) | undefined;
}

export interface ListedGroup {
  readonly group: string;
}

/**
 * Lists groups in the byte order of their ids. A group whose deletion was interrupted is listed until the sweep finishes it.
 * 1 Query a page; with `visible`, as many as are needed to find a page of visible groups. @throws EventLogError `invalid_request`
 */
export async function listGroups(context: BrokerContext, request: ListGroupsRequest = {}): Promise<Page<ListedGroup>> {
  const { visible } = request;
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  if (visible === undefined) return queryPage(items, GROUPS, request, (group) => ({ group }));
  const limit = pageLimit(request.limit);
  const found: ListedGroup[] = [];
  let pageToken = request.pageToken;
  do {
    const page: Page<ListedGroup> = await listGroups(context, { limit: PAGE_LIMIT_MAX, pageToken });
    for (const listed of page.items) {
      if (!visible(listed.group)) continue;
      if (found.length === limit) return { items: found, nextPageToken: encodePageToken(found.at(-1)?.group ?? '') };
      found.push(listed);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
  return { items: found };
}
