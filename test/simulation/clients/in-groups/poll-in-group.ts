import { GROUP, type Place } from '../../world/watch/group-watch.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { drawSubscription } from './group-topics.ts';
import { GROUP_KEYS } from './live-in-group.ts';
import { expectGroupError, groupWatchOf, sessionMs } from './member-life.ts';

/** A poll waits for the partitions of a new member. */
const SETTLE_MS = 30_000;
const MAX_RECORDS = 3;

/**
 * A member that does everything in one call, now and then. It commits what the last answer gave out. What it believes to own is
 * not judged against others: a poll whose answer was lost may still be running, and lets go for the same member.
 */
async function poll(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  const watch = groupWatchOf(client);
  const subscription = drawSubscription(client);
  let after: string | undefined;
  for (let i = 0; i < operations * 6 && !world.fates.healed; i++) {
    await client.sleep(chance.next() ** 3 * 2 * sessionMs(client));
    const request = {
      group: GROUP,
      memberId: client.name,
      subscription,
      leaseMs: sessionMs(client),
      maxRecords: 1 + chance.below(MAX_RECORDS),
      ...(after === undefined ? {} : { after }),
    };
    const reply = await client.send((broker) => broker.pollGroup(request), undefined, SETTLE_MS);
    if (reply.type === 'error') expectGroupError(client, reply.error);
    if (reply.type !== 'answer') continue;
    const { token, assignment, partitions, commits } = reply.value;
    after = token;
    client.mark(commits.some(({ outcome }) => !outcome.ok) ? 'poll lost a partition' : 'polled');
    const isAssigned = new Set(assignment.flatMap((each) => each.partitions.map((one) => `${each.topic}/${one}`)));
    const ids = new Map(assignment.map(({ topic, topicId }) => [topic, topicId]));
    for (const { topic, partition, offset, nextOffset } of partitions) {
      const topicId = ids.get(topic);
      if (topicId === undefined || !isAssigned.has(`${topic}/${partition}`)) {
        client.surprise(`a poll gave out records of ${topic}/${partition}, which is not the member's`);
        continue;
      }
      const place: Place = `${topicId}/${partition}`;
      watch.read(place, offset, nextOffset);
    }
    if (after !== undefined && chance.chance(0.2)) {
      const extended = after;
      const answer = await client.send((broker) => broker.extendLease({ group: GROUP, token: extended }));
      if (answer.type === 'error') expectGroupError(client, answer.error, 'unknown_member', 'fenced_member_epoch');
      else if (answer.type === 'answer') client.mark('lease extended');
    }
    // Another process of the same program, which has not been told of the token.
    if (chance.chance(0.1)) after = undefined;
  }
}

export const POLL_IN_GROUP: Workload = { name: 'poll-in-group', weight: 1, keys: GROUP_KEYS, run: poll };
