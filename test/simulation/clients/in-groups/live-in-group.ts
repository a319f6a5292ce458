import type { Client } from '../client.ts';
import type { Workload } from '../workload.ts';
import { ALL_LASTING } from './group-topics.ts';
import { groupWatchOf, MemberLife, sessionMs } from './member-life.ts';

export const GROUP_KEYS = ['member#', 'offsets#', 'group#', 'target#'];

/** Lives of one member, some of them under the id of the one before. */
async function live(client: Client, lives: number, instances: readonly string[]): Promise<void> {
  const { chance, world } = client;
  // With long absences a group is without members now and then.
  const absence = chance.pick([2, 2, 6]) * sessionMs(client);
  for (let life = 0; life < lives; life++) {
    const memberId = chance.chance(0.4) ? client.name : `${client.name}-${life}`;
    const instanceId = instances.length === 0 ? undefined : chance.pick(instances);
    await new MemberLife(client, { user: `${client.name} ${life}`, memberId, instanceId }).run();
    if (world.fates.healed) break;
    await client.sleep(chance.next() ** 2 * absence);
  }
  await client.tracked();
}

export const LIVE_IN_GROUP: Workload = {
  name: 'live-in-group',
  weight: 4,
  keys: GROUP_KEYS,
  run: (client, lives) => live(client, lives, []),
};

/** Of two instance ids, which several may want at once. */
export const LIVE_AS_STATIC: Workload = {
  name: 'live-as-static',
  weight: 2,
  keys: GROUP_KEYS,
  run: (client, lives) => live(client, lives, ['i0', 'i1']),
};

/** A member that stays until the run is judged, and joins again if it is ended. */
export async function stay(client: Client): Promise<void> {
  const options = { user: client.name, memberId: client.name, isSteady: true, subscription: ALL_LASTING };
  while (!groupWatchOf(client).isJudged) await new MemberLife(client, options).run();
  await client.tracked();
}
