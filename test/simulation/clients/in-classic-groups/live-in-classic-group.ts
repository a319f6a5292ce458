import { GROUP } from '../../world/watch/group-watch.ts';
import type { Client } from '../client.ts';
import { GROWING_TOPIC } from '../in-groups/group-topics.ts';
import { GROUP_KEYS } from '../in-groups/live-in-group.ts';
import { expectGroupError, sessionMs } from '../in-groups/member-life.ts';
import type { Workload } from '../workload.ts';
import { ClassicLife, classicWatchOf } from './classic-life.ts';

/** Lives of one consumer, some of them under the member id of the one before. */
async function live(client: Client, lives: number, instances: readonly string[]): Promise<void> {
  const { chance, world } = client;
  const absence = chance.pick([1, 2, 5]) * sessionMs(client);
  let memberId = '';
  for (let life = 0; life < lives; life++) {
    const instanceId = instances.length === 0 ? undefined : chance.pick(instances);
    const member = new ClassicLife(client, { user: `${client.name} ${life}`, memberId, instanceId });
    await member.run();
    // Also where it was ended, or where another life has another instance id: then it is refused.
    memberId = chance.chance(0.3) ? member.memberId : '';
    if (world.fates.healed) break;
    await client.sleep(chance.next() ** 2 * absence);
  }
  await client.tracked();
}

/** A member that stays until the run is judged, and joins again if it is ended. */
export async function stayInClassicGroup(client: Client): Promise<void> {
  const watch = classicWatchOf(client);
  for (let life = 0; !watch.isJudged && !watch.dead.has(client.name); life++)
    await new ClassicLife(client, { user: `${client.name} ${life}`, memberId: '', isSteady: true }).run();
  await client.tracked();
}

export const LIVE_IN_CLASSIC_GROUP: Workload = {
  name: 'live-in-classic-group',
  weight: 4,
  keys: GROUP_KEYS,
  run: (client, lives) => live(client, lives, []),
};

/** Of two instance ids, which several may want at once. */
export const LIVE_AS_STATIC_CLASSIC: Workload = {
  name: 'live-as-static-classic',
  weight: 2,
  keys: GROUP_KEYS,
  run: (client, lives) => live(client, lives, ['i0', 'i1']),
};

const GROWN_MAX = 20;
const TRIES = 8;

/** A topic grows, and the group is deleted when nobody is a member. */
async function administer(client: Client, operations: number): Promise<void> {
  const { chance, world } = client;
  for (let i = 0; i < operations * 3 && !world.fates.healed; i++) {
    await client.sleep(chance.next() ** 2 * 10_000);
    if (chance.chance(0.3)) {
      const described = await client.send((broker) => broker.describeTopic(GROWING_TOPIC));
      if (described.type !== 'answer') continue;
      const partitions = Math.min(GROWN_MAX, described.value.partitions + 1 + chance.below(3));
      const grown = await client.send((broker) => broker.putTopic({ name: GROWING_TOPIC, partitions }));
      if (grown.type === 'answer') client.mark('topic of a classic group grew');
      continue;
    }
    for (let tries = 0; tries < TRIES && !world.fates.healed; tries++) {
      const reply = await client.send((broker) => broker.deleteGroup(GROUP));
      if (reply.type === 'answer') client.mark('classic group deleted by request');
      if (reply.type === 'error') expectGroupError(client, reply.error, 'group_not_empty', 'unknown_group');
      if (reply.type === 'answer') break;
      await client.sleep(chance.next() ** 2 * 3_000);
    }
  }
}

export const ADMINISTER_CLASSIC_GROUP: Workload = {
  name: 'administer-classic-group',
  weight: 1,
  keys: GROUP_KEYS,
  run: administer,
};
