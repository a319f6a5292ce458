import { EventLogError } from '../../../log/errors.ts';
import type { PollPosition } from '../../../log/group/poll-token.ts';
import type { BrokerContext } from '../../context.ts';
import type { OffsetToCommit } from './commit-page.ts';

/** Whether the caller may read a topic. Absent: any. */
type MayRead = ((topic: string) => boolean) | undefined;

/**
 * What is new in the positions of a poll. A partition whose topic is gone has nothing to be committed for. The ids may come
 * from a token, which a client can make up: they cause one listing of the topics at most. See `TopicCache.byGivenId`.
 * @throws EventLogError `access_denied`
 */
export async function newOffsets(
  { topics }: BrokerContext,
  positions: readonly (Omit<PollPosition, 'offset'> & { readonly offset: number | undefined })[],
  mayRead: MayRead,
): Promise<(OffsetToCommit & { readonly offset: number })[]> {
  const { listings } = topics;
  const offsets: (OffsetToCommit & { readonly offset: number })[] = [];
  for (const { topicId, partition, offset, isNew } of positions) {
    const topic = isNew ? await topics.byGivenId(topicId, listings) : undefined;
    if (topic !== undefined) mustBeReadable(topic.name, mayRead);
    if (topic !== undefined && offset !== undefined) offsets.push({ topic: topic.name, partition, offset });
  }
  return offsets;
}

/** @throws EventLogError `access_denied` */
export function mustBeReadable(topic: string, mayRead: MayRead): void {
  if (mayRead?.(topic) ?? true) return;
  throw new EventLogError('access_denied', 'The member reads a topic on which the caller lacks the right.', {
    retry: 'never',
  });
}
