import { PAGE_LIMIT_MAX } from '../../log/limits.ts';
import { TOPIC, TOPICS } from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { topicFromAttributes } from '../memory/topic-cache.ts';
import { encodePageToken, type Page, type PageRequest, pageLimit, queryPage } from '../page.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import { describeAs, type TopicDescription } from './describe.ts';

export interface ListTopicsRequest extends PageRequest {
  /** Whether to list a topic. The names of all other topics are also kept out of page tokens. Default: all are listed. */
  readonly visible?: ((name: string) => boolean) | undefined;
}

/**
 * Lists topics in the byte order of their names. 1 Query a page; with `visible`, as many as are needed to find a page of
 * visible topics. @throws EventLogError `invalid_request`
 */
export async function listTopics(
  context: BrokerContext,
  request: ListTopicsRequest = {},
): Promise<Page<TopicDescription>> {
  if (request.visible !== undefined) return listVisibleTopics(context, request, request.visible);
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  return queryPage(items, TOPICS, request, (name, attributes) =>
    attributes[TOPIC.deleting] === undefined ? describeAs(topicFromAttributes(name, attributes)) : undefined,
  );
}

/** Collects a page of visible topics from pages of all topics. The token is the name of the page's last, visible topic. */
async function listVisibleTopics(
  context: BrokerContext,
  request: PageRequest,
  visible: (name: string) => boolean,
): Promise<Page<TopicDescription>> {
  const limit = pageLimit(request.limit);
  const found: TopicDescription[] = [];
  let pageToken = request.pageToken;
  do {
    const page = await listTopics(context, { limit: PAGE_LIMIT_MAX, pageToken });
    for (const topic of page.items) {
      if (!visible(topic.name)) continue;
      if (found.length === limit) return { items: found, nextPageToken: encodePageToken(found.at(-1)?.name ?? '') };
      found.push(topic);
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
  return { items: found };
}
