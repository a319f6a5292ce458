import { beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from '../../../../../shared/broker/broker.ts';
import type { JoinClassicRequest } from '../../../../../shared/broker/groups/classic/join-classic-group.ts';
import { GROUP, joinRequest, settle } from '../../../../support/classic-world.ts';
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

const join = (memberId: string, more: Partial<JoinClassicRequest> = {}, at = broker) =>
  at.joinClassicGroup(joinRequest(memberId, more));
const beat = (memberId: string, generation: number, instanceId?: string) =>
  codeOf(broker.heartbeatClassicGroup({ group: GROUP, memberId, generation, instanceId }));
const groupNow = () => clock.run(broker.describeClassicGroup(GROUP));

describe('the first round of a group', () => {
  it('waits for the initial delay, so that members that come meanwhile are in it', async () => {
    const startMs = clock.nowMs();
    const first = join('a');
    await clock.advance(1_000);
    const second = join('b', {}, other);
    const [a, b] = await clock.run(Promise.all([first, second]));
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(3_000);
    expect(clock.nowMs() - startMs).toBeLessThan(3_500);
    expect(a).toMatchObject({ memberId: 'a', leader: 'a', protocol: 'range', protocolType: 'consumer' });
    expect(b).toMatchObject({ memberId: 'b', leader: 'a', generation: a.generation, members: [] });
    expect(a.members.map(({ memberId }) => memberId)).toEqual(['a', 'b']);
    expect(a.members[1]?.metadata).toEqual(bytes('metadata'));
  });

  it('does not wait without a delay', async () => {
    const quick = memoryBroker(stores, { initialRebalanceDelayMs: 0 });
    const startMs = clock.nowMs();
    await clock.run(quick.joinClassicGroup(joinRequest('a')));
    expect(clock.nowMs() - startMs).toBeLessThan(300);
  });

  it('waits no longer than the rebalance timeout', async () => {
    const startMs = clock.nowMs();
    await clock.run(join('a', { rebalanceTimeoutMs: 1_000 }));
    expect(clock.nowMs() - startMs).toBeLessThan(1_500);
  });

  it('gives a member id first, without storing anything', async () => {
    const error = await join('', { requiresMemberId: true, clientId: 'my app' }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      code: 'member_id_required',
      details: { memberId: expect.stringMatching(/^my_app-/) },
    });
    expect(await clock.run(broker.listGroups())).toEqual({ items: [] });
    const { memberId } = (error as { details: { memberId: string } }).details;
    expect(await clock.run(join(memberId, { requiresMemberId: true }))).toMatchObject({ memberId, leader: memberId });
  });

  it('gives a member id at once to old clients', async () => {
    const { memberId, leader } = await clock.run(join('', { clientId: 'old' }));
    expect(memberId).toMatch(/^old-[0-9a-f]{8}-[0-9a-f]{4}-/);
    expect(leader).toBe(memberId);
  });

  it('is cancelled by its signal', async () => {
    const abort = new AbortController();
    const waiting = codeOf(join('a', { signal: abort.signal }));
    await clock.advance(500);
    abort.abort();
    expect(await waiting).toBe('shutting_down');
    expect(clock.sleeping).toBe(0);
  });
});

describe('a round', () => {
  it('ends as soon as all members have joined, under a higher generation and with the same leader', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('b'), joinRequest('a')]));
    const generation = joined[0]?.generation as number;
    const leader = joined[0]?.leader as string;
    const startMs = clock.nowMs();
    const third = join('c', {}, other);
    await clock.advance(300);
    expect(await clock.run(beat('a', generation))).toBe('rebalance_in_progress');
    expect(await groupNow()).toMatchObject({ state: 'PreparingRebalance' });
    const [c, a, b] = await clock.run(Promise.all([third, join('a'), join('b')]));
    expect(clock.nowMs() - startMs).toBeLessThan(2_000);
    for (const each of [a, b, c]) expect(each).toMatchObject({ generation: generation + 1, leader });
    expect([a, b].filter(({ members }) => members.length === 3)).toHaveLength(1);
  });

  it('ends at the deadline without the members that have not joined, and they are members no longer', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    const startMs = clock.nowMs();
    const third = clock.run(join('c', {}, other));
    const beats = (async () => {
      const answers: unknown[] = [];
      for (let i = 0; i < 20; i++) {
        await clock.sleep(1_500);
        answers.push(await beat('a', generation));
        await codeOf(broker.heartbeatClassicGroup({ group: GROUP, memberId: 'b', generation }));
      }
      return answers;
    })();
    const c = await third;
    expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(30_000);
    expect(c).toMatchObject({ leader: 'c', generation: generation + 1 });
    expect(c.members.map(({ memberId }) => memberId)).toEqual(['c']);
    const answers = await clock.run(beats);
    expect(answers[0]).toBe('rebalance_in_progress');
    expect(await clock.run(beat('a', generation))).toBe('unknown_member');
  });

  it('does not wait for a member whose session has ended, and ends it', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    for (let i = 0; i < 5; i++) {
      await clock.advance(3_000);
      await clock.run(beat('a', generation));
    }
    const a = await clock.run(join('a'));
    expect(a).toMatchObject({ leader: 'a' });
    expect(a.members.map(({ memberId }) => memberId)).toEqual(['a']);
  });

  it('keeps the sessions of the members that wait in it', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    const waiting = join('a', { protocols: [{ name: 'range', metadata: bytes('other') }] });
    const alive = (async () => {
      for (let i = 0; i < 9; i++) {
        await clock.sleep(3_000);
        await beat('b', generation);
      }
      return join('b');
    })();
    const [a, b] = await clock.run(Promise.all([waiting, alive]));
    expect(a.generation).toBe(b.generation);
    expect(a.members.length + b.members.length).toBe(2);
  });

  it('lets nobody in who supports no protocol of the others', async () => {
    const results = await clock.run(
      Promise.all([
        codeOf(join('a', { protocols: [{ name: 'range', metadata: bytes('') }] })),
        codeOf(clock.sleep(100).then(() => join('b', { protocols: [{ name: 'sticky', metadata: bytes('') }] }))),
        codeOf(clock.sleep(200).then(() => join('c', { protocolType: 'connect' }))),
      ]),
    );
    expect(results[0]).toMatchObject({ memberId: 'a' });
    expect(results.slice(1)).toEqual(['inconsistent_group_protocol', 'inconsistent_group_protocol']);
    expect((await groupNow()).members).toHaveLength(1);
  });

  it('is not begun by a member that does not fit the others', async () => {
    await clock.run(settle(broker, [joinRequest('a')]));
    expect(await clock.run(codeOf(join('c', { protocolType: 'connect' })))).toBe('inconsistent_group_protocol');
    expect(await clock.run(codeOf(join('c', { protocols: [{ name: 'sticky', metadata: bytes('') }] })))).toBe(
      'inconsistent_group_protocol',
    );
    expect(await groupNow()).toMatchObject({ state: 'Stable' });
  });

  it('chooses the protocol that most members prefer, of those that all support', async () => {
    const protocols = (...names: string[]) => ({ protocols: names.map((name) => ({ name, metadata: bytes(name) })) });
    const results = await clock.run(
      Promise.all([
        join('a', protocols('new', 'range', 'sticky')),
        join('b', protocols('sticky', 'range')),
        join('c', protocols('sticky', 'range')),
      ]),
    );
    for (const each of results) expect(each.protocol).toBe('sticky');
    expect(results.find(({ members }) => members.length > 0)?.members[0]?.metadata).toEqual(bytes('sticky'));
  });
});

describe('a member that joins again', () => {
  it('with nothing new is told of the present generation, unless it leads', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const [leader, follower] = joined[0]?.leader === 'a' ? ['a', 'b'] : ['b', 'a'];
    const again = await clock.run(join(follower as string));
    expect(again).toMatchObject({ generation: joined[0]?.generation, leader, members: [] });
    expect(await groupNow()).toMatchObject({ state: 'Stable' });
    const waiting = join(leader as string);
    await clock.advance(300);
    expect(await groupNow()).toMatchObject({ state: 'PreparingRebalance' });
    await clock.run(Promise.all([waiting, join(follower as string)]));
  });

  it('with other metadata begins a round', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const follower = joined[0]?.leader === 'a' ? 'b' : 'a';
    const waiting = join(follower, { protocols: [{ name: 'range', metadata: bytes('more') }] });
    await clock.advance(300);
    expect(await groupNow()).toMatchObject({ state: 'PreparingRebalance' });
    const [result] = await clock.run(Promise.all([waiting, join(joined[0]?.leader as string)]));
    expect(result.generation).toBe((joined[0]?.generation as number) + 1);
  });

  it('after its session has ended must join without its id', async () => {
    const { joined } = await clock.run(settle(broker, [joinRequest('a'), joinRequest('b')]));
    const generation = joined[0]?.generation as number;
    await clock.run(broker.leaveClassicGroup({ group: GROUP, members: [{ memberId: 'b' }] }));
    expect(await clock.run(codeOf(join('b')))).toBe('unknown_member');
    expect(await clock.run(beat('b', generation))).toBe('unknown_member');
    expect(await clock.run(beat('a', generation))).toBe('rebalance_in_progress');
  });
});

describe('requests to join', () => {
  it.each([
    ['sessionTimeoutMs', { sessionTimeoutMs: 2_999 }],
    ['sessionTimeoutMs', { sessionTimeoutMs: 1_800_001 }],
    ['rebalanceTimeoutMs', { rebalanceTimeoutMs: -1 }],
    ['protocols', { protocols: [] }],
    ['protocols', { protocols: [{ name: '', metadata: bytes('') }] }],
    [
      'protocols',
      {
        protocols: [
          { name: 'a', metadata: bytes('') },
          { name: 'a', metadata: bytes('') },
        ],
      },
    ],
    ['protocols', { protocols: [{ name: 'a', metadata: new Uint8Array(256 * 1024) }] }],
    ['protocolType', { protocolType: '' }],
    ['group', { group: '' }],
    ['instanceId', { instanceId: '' }],
  ])('are checked: %s %o', async (field, more) => {
    await expect(join('a', more)).rejects.toMatchObject({ code: 'invalid_request', details: { field } });
  });

  it('can name the largest rebalance timeout that there is', async () => {
    expect(await clock.run(join('a', { rebalanceTimeoutMs: 2 ** 31 - 1 }))).toMatchObject({ leader: 'a' });
  });

  it('with the largest rebalance timeout leave time for it, also through a process whose clock is behind', async () => {
    const more = { rebalanceTimeoutMs: 2 ** 31 - 1, sessionTimeoutMs: 60_000 };
    const { joined } = await clock.run(settle(broker, [joinRequest('a', more), joinRequest('b', more)]));
    const behind = { nowMs: () => clock.nowMs() - 1_500, sleep: clock.sleep.bind(clock) };
    const late = memoryBroker({ ...stores, clock: behind });
    const joining = [join('c', more), join('d', more, late)];
    await clock.advance(5_000);
    expect(await groupNow()).toMatchObject({ state: 'PreparingRebalance' });
    const generation = joined[0]?.generation as number;
    for (const each of ['a', 'b']) expect(await clock.run(beat(each, generation))).toBe('rebalance_in_progress');
    const all = await clock.run(Promise.all([...joining, join('a', more), join('b', more)]));
    expect(all.map((each) => each.generation)).toEqual(Array(4).fill(generation + 1));
    const leader = all.find(({ members }) => members.length > 0)?.memberId as string;
    const sync = (memberId: string, at: Broker) =>
      at.syncClassicGroup({ group: GROUP, memberId, generation: generation + 1, assignments: [] });
    const follower = sync(leader === 'd' ? 'a' : 'd', leader === 'd' ? broker : late);
    await clock.advance(5_000);
    await clock.run(sync(leader, broker));
    expect(await clock.run(follower)).toMatchObject({ protocol: 'range' });
  });
});
