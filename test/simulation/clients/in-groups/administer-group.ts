import type { EventLogError } from '../../../../shared/log/errors.ts';
import { toRecord } from '../../../history/history-records.ts';
import { GROUP } from '../../world/watch/group-watch.ts';
import type { Reply } from '../../world/world.ts';
import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { briefTopic, GROWING_TOPIC, STEADY_TOPIC } from './group-topics.ts';
import { GROUP_KEYS } from './live-in-group.ts';
import { expectGroupError, groupWatchOf } from './member-life.ts';

const GROWN_MAX = 20;
const BRIEF_PARTITIONS = 2;
const TRIES = 8;
const SWEEPS = 4;
const SWEPT_EVERY_MS = 12_000;
const ASKED_EVERY_MS = 3_000;
/** What a group says that has members, or none; and a topic that has grown further since it was described. */
const REFUSALS = ['group_not_empty', 'unknown_group', 'topic_conflict'];

/** Everything beside members that changes a group: its topics grow, come and go; it is deleted, reset and swept. */
async function administer(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  let partitions = 0;
  let briefs = 0;
  for (let i = 0; i < operations * 4 && !world.fates.healed; i++) {
    await client.sleep(chance.next() ** 2 * 10_000);
    const what = chance.below(10);
    if (what === 0) partitions = await grow(client, partitions);
    else if (what === 1) client.tracks(comeAndGo(client, briefTopic(briefs++)));
    else if (what < 4) await removeGroup(client);
    else if (what < 7) await reset(client);
    else await sweep(client);
  }
  await client.tracked();
}

async function grow(client: Client, least: number): Promise<number> {
  const described = await client.send((broker) => broker.describeTopic(GROWING_TOPIC));
  if (!answered(client, described)) return least;
  const partitions = Math.min(GROWN_MAX, Math.max(least, described.value.partitions) + 1 + client.chance.below(3));
  const grown = await client.send((broker) => broker.putTopic({ name: GROWING_TOPIC, partitions }));
  if (answered(client, grown)) client.mark('topic of a group grew');
  return partitions;
}

async function comeAndGo(client: Client, name: string): Promise<void> {
  const put = await client.send((broker) => broker.putTopic({ name, partitions: BRIEF_PARTITIONS }));
  if (answered(client, put)) {
    const records = [toRecord({ value: 'brief', key: 'k', headers: {} })];
    answered(client, await client.send((broker) => broker.appendRecords({ topic: name, records })));
  }
  await client.sleep(client.chance.next() * 15_000);
  const topicId = client.world.watch.topicId(name);
  if (topicId === undefined) return;
  groupWatchOf(client).topicIsGone(topicId);
  answered(client, await client.send((broker) => broker.deleteTopic(name)));
}

/** Over and over, so that it meets the moment in which the last member has gone, or the first one comes. */
async function removeGroup(client: Client): Promise<void> {
  for (let tries = 0; tries < TRIES && !client.world.fates.healed; tries++) {
    const reply = await client.send((broker) => broker.deleteGroup(GROUP));
    if (answered(client, reply)) client.mark('group deleted');
    else if (reply.type === 'error' && reply.error.code === 'group_not_empty') client.mark('group not empty');
    if (reply.type === 'answer' && client.chance.chance(0.5)) return;
    await client.sleep(client.chance.next() ** 2 * ASKED_EVERY_MS);
  }
}

/** The first sweep notes that a group has no members; a later one deletes what has expired since. */
async function sweep(client: Client): Promise<void> {
  for (let sweeps = 0; sweeps < SWEEPS && !client.world.fates.healed; sweeps++) {
    const reply = await client.send((broker) => broker.sweepGroups());
    if (answered(client, reply) && reply.value.offsetsExpired > 0) client.mark('offsets swept');
    await client.sleep(client.chance.next() * SWEPT_EVERY_MS);
  }
}

async function reset(client: Client): Promise<void> {
  const topics = [{ topic: client.chance.pick([GROWING_TOPIC, STEADY_TOPIC]) }];
  const to = client.chance.pick([{ to: 'earliest' }, { to: 'latest' }, { offset: 1 }] as const);
  for (let tries = 0; tries < TRIES && !client.world.fates.healed; tries++) {
    const reply = await client.send((broker) => broker.resetOffsets({ group: GROUP, topics, reset: to }));
    if (answered(client, reply)) {
      client.mark('offsets reset');
      return;
    }
    await client.sleep(client.chance.next() ** 2 * ASKED_EVERY_MS);
  }
}

/** Whether there is an answer; an error that nothing accounts for is a bug. */
function answered<T>(client: Client, reply: Reply<T>): reply is Extract<Reply<T>, { type: 'answer' }> {
  if (reply.type === 'error') refused(client, reply.error);
  return reply.type === 'answer';
}

function refused(client: Client, error: EventLogError): void {
  expectGroupError(client, error, ...REFUSALS);
}

export const ADMINISTER_GROUP: Workload = {
  name: 'administer-group',
  weight: 1,
  keys: GROUP_KEYS,
  run: administer,
};
