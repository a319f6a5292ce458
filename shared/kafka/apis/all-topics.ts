import type { TopicDescription } from '../../broker/topics/describe.ts';
import { PAGE_LIMIT_MAX } from '../../log/limits.ts';
import type { Gateway } from '../gateway.ts';

/** All topics, in the order of their names. 1 Query for every 1,000. */
export async function* allTopics({ broker }: Gateway): AsyncGenerator<TopicDescription> {
  let pageToken: string | undefined;
  do {
    const page = await broker.listTopics({ limit: PAGE_LIMIT_MAX, pageToken });
    yield* page.items;
    pageToken = page.nextPageToken;
  } while (pageToken !== undefined);
}
