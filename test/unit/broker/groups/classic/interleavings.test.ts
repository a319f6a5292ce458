import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import { moveClassicGroup, readClassicGroup } from '../../../../../shared/broker/groups/classic/state/items.ts';
import { EventLogError } from '../../../../../shared/log/errors.ts';
import { topicKey } from '../../../../../shared/storage/keys.ts';
import { assignInTurns, assignmentOf, GROUP, joinRequest, settle } from '../../../../support/classic-world.ts';
import { happeningBefore, losingReply, slotNow, topicIdOf } from '../../../../support/group-world.ts';
import { bytes, codeOf, memoryBroker, memoryStores } from '../../../../support/memory-broker.ts';
import type { SimulatedClock } from '../../../../support/simulated-clock.ts';

let stores: ReturnType<typeof memoryStores>;
let broker: Broker;
let other: Broker;
let clock: SimulatedClock;

beforeEach(async () => {
  stores = memoryStores();
  ({ clock } = stores);
  broker = memoryBroker(stores);
  other = memoryBroker(stores);
  await clock.run(broker.putTopic({ name: 'orders', partitions: 4 }));
});

describe('a move of a group', () => {
  it.each(['epoch', 'round', 'phase'] as const)('is refused if another %s was read', async (what) => {
    await clock.run(settle(broker, [joinRequest('a')]));
    const group = await readClassicGroup(stores.items, GROUP);
    const seen = what === 'phase' ? { ...group, phase: 'syncing' as const } : { ...group, [what]: group[what] - 1 };
    const next = { ...group, phase: 'joining' as const, round: group.round + 1 };
    expect(await moveClassicGroup(stores.items, GROUP, seen, next)).toBe(false);
    expect(await moveClassicGroup(stores.items, GROUP, group, next)).toBe(true);
    // A copy that comes late.
    expect(await moveClassicGroup(stores.items, GROUP, group, next)).toBe(false);
  });
});

describe('a member that joins while another process completes the round', () => {
  it('is in the next round', async () => {
    const quick = { initialRebalanceDelayMs: 0 };
    // It stores the member and lists the others too late to complete the round itself.
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'query' && key.startsWith('member#'),
        () => clock.sleep(1_000),
      ),
    );
    let late: Promise<unknown> | undefined;
    // The members are listed, and the roster is about to be stored.
    const completing = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'putItem' && key.startsWith('target#'),
        async () => {
          late = slow.joinClassicGroup(joinRequest('b'));
          await clock.sleep(50);
        },
      ),
      quick,
    );
    const first = await clock.run(completing.joinClassicGroup(joinRequest('a')));
    expect(first.members.map(({ memberId }) => memberId)).toEqual(['a']);
    // Its own request finds that it was too late, and begins the next round.
    await clock.advance(2_000);
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({ state: 'PreparingRebalance' });
    const [again, b] = await clock.run(Promise.all([broker.joinClassicGroup(joinRequest('a')), late]));
    expect(again).toMatchObject({ generation: first.generation + 1, members: [{}, {}] });
    expect(b).toMatchObject({ memberId: 'b', generation: first.generation + 1 });
  });
});

describe('a join whose process died before the round began', () => {
  it('is not answered with the present generation when it is sent again', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const follower = joined[0]?.leader === 'a' ? 'b' : 'a';
    const request = joinRequest(follower, { protocols: [{ name: 'range', metadata: bytes('more') }] });
    const dying = memoryBroker(
      happeningBefore(
        stores,
        (sent, key) => sent === 'updateItem' && key.startsWith('group#'),
        () => new Promise(() => {}),
      ),
    );
    void dying.joinClassicGroup(request);
    await clock.advance(100);
    const again = other.joinClassicGroup(request);
    await clock.advance(300);
    expect(await clock.run(broker.describeClassicGroup(GROUP))).toMatchObject({ state: 'PreparingRebalance' });
    const leader = joinRequest(joined[0]?.leader as string);
    const [result] = await clock.run(Promise.all([again, broker.joinClassicGroup(leader)]));
    expect(result.generation).toBe((joined[0]?.generation as number) + 1);
  });
});

describe('a sync', () => {
  it('does not pass over partitions of a topic that it cannot read', async () => {
    const joined = await clock.run(broker.joinClassicGroup(joinRequest('a')));
    const failed = new EventLogError('storage_unavailable', 'There was no reply.');
    const lossy = memoryBroker(
      losingReply(stores, (request, key) => request === 'getItem' && key === topicKey('orders').pk, failed),
    );
    const { generation } = joined;
    const assignments = assignInTurns(joined, 'orders', 4);
    await clock.run(lossy.syncClassicGroup({ group: GROUP, memberId: 'a', generation, assignments }));
    const topicId = await topicIdOf(stores.items, 'orders');
    expect(await slotNow(stores.items, GROUP, topicId, 0)).toMatchObject({ fence: generation });
  });

  it('of a static member does not take partitions back that its successor has claimed', async () => {
    const first = await clock.run(broker.joinClassicGroup(joinRequest('', { instanceId: 'x' })));
    const { generation } = first;
    const sync = (memberId: string, at: Broker) =>
      at.syncClassicGroup({
        group: GROUP,
        memberId,
        instanceId: 'x',
        generation,
        assignments: [{ memberId, assignment: assignmentOf({ orders: [0] }) }],
      });
    await clock.run(sync(first.memberId, broker));
    let successor = '';
    // The predecessor has said that it is there, and is about to read the page.
    const slow = memoryBroker(
      happeningBefore(
        stores,
        (request, key) => request === 'getItem' && key.startsWith('offsets#'),
        async () => {
          const next = await other.joinClassicGroup(
            joinRequest('', { instanceId: 'x', supportsSkippingAssignment: true }),
          );
          successor = next.memberId;
          await sync(successor, other);
        },
      ),
    );
    expect(await clock.run(codeOf(sync(first.memberId, slow)))).toBe('fenced_instance_id');
    const topicId = await topicIdOf(stores.items, 'orders');
    expect(await slotNow(stores.items, GROUP, topicId, 0)).toMatchObject({ owner: { memberId: successor } });
  });
});
