import { expect, it } from 'vitest';
import { announceSelf } from '../../../shared/kafka/nodes/announce-gateway.ts';
import { leaderOf } from '../../../shared/kafka/nodes/leaders.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { ANNOUNCE_MS } from '../../../shared/log/gateways/sightings.ts';
import { GATEWAYS } from '../../../shared/storage/keys.ts';
import { type Fault, faultyStores } from '../../support/faulty-stores.ts';
import { type MemoryStores, memoryBroker, memoryStores, SeededRandom } from '../../support/memory-broker.ts';

const stores = () => memoryStores();

/** A gateway of its own process over the stores. `faultOf` decides what becomes of its requests about gateways. */
async function gatewayAt(
  shared: MemoryStores,
  port: number,
  { host = 'localhost', faultOf = () => undefined }: Options = {},
) {
  const errors: unknown[] = [];
  const faulty = faultyStores(shared, ({ key }) => (key === GATEWAYS ? { fault: faultOf() } : undefined));
  const announced = await announceSelf({
    broker: memoryBroker(faulty),
    clock: shared.clock,
    random: new SeededRandom(port),
    host,
    port,
    onError: (error) => errors.push(error),
  });
  return {
    ...announced,
    errors,
    ports: () =>
      announced
        .nodes()
        .map((node) => node.port)
        .sort(),
  };
}

interface Options {
  readonly host?: string;
  readonly faultOf?: () => Fault | undefined;
}

it('lets gateways find each other, and lose those that leave at once', async () => {
  const shared = stores();
  const first = await gatewayAt(shared, 1);
  expect(first.nodes()).toEqual([first.self]);
  const second = await gatewayAt(shared, 2);
  expect(second.ports()).toEqual([1, 2]);
  expect(first.ports()).toEqual([1]);
  await shared.clock.advance(ANNOUNCE_MS);
  expect(first.ports()).toEqual([1, 2]);
  // All clients are told the same.
  expect(first.nodes()).toEqual(second.nodes());
  expect(new Set(first.nodes().map(({ nodeId }) => nodeId)).size).toBe(2);
  const leaving = second.leave();
  await shared.clock.advance(0);
  await leaving;
  expect(second.ports()).toEqual([1]);
  await shared.clock.advance(ANNOUNCE_MS);
  expect(first.ports()).toEqual([1]);
  await shared.clock.advance(10 * ANNOUNCE_MS);
  expect(first.ports()).toEqual([1]);
  expect(first.errors).toEqual([]);
});

it('loses a gateway that died within 20 seconds', async () => {
  const shared = stores();
  const first = await gatewayAt(shared, 1);
  let isDead = false;
  await gatewayAt(shared, 2, { faultOf: () => (isDead ? 'lost_request' : undefined) });
  await shared.clock.advance(2 * ANNOUNCE_MS);
  isDead = true;
  await shared.clock.advance(2 * ANNOUNCE_MS);
  expect(first.ports()).toEqual([1, 2]);
  await shared.clock.advance(2 * ANNOUNCE_MS);
  expect(first.ports()).toEqual([1]);
  // Whoever starts now hears of it for a while, at most.
  await shared.clock.advance(60_000);
  expect((await gatewayAt(shared, 3)).ports()).toEqual([1, 3]);
});

it('keeps what it knows while the table does not answer, and tells of the error', async () => {
  const shared = stores();
  let fault: Fault | undefined;
  const first = await gatewayAt(shared, 1, { faultOf: () => fault });
  await gatewayAt(shared, 2);
  await shared.clock.advance(ANNOUNCE_MS);
  fault = 'throttled';
  await shared.clock.advance(10 * ANNOUNCE_MS);
  expect(first.ports()).toEqual([1, 2]);
  expect(first.errors.length).toBeGreaterThan(0);
  fault = undefined;
  const failures = first.errors.length;
  await shared.clock.advance(2 * ANNOUNCE_MS);
  expect(first.errors).toHaveLength(failures);
});

it('is off the list although its last announcement was slow', async () => {
  const shared = stores();
  const slow = memoryBroker(
    faultyStores(shared, ({ key, method }) => (key === GATEWAYS && method === 'put' ? { delayMs: 800 } : undefined)),
  );
  const starting = announceSelf({
    ...{ broker: slow, clock: shared.clock, random: new SeededRandom(1), host: 'localhost', port: 1 },
    onError: () => {},
  });
  await shared.clock.advance(2_000);
  const { leave } = await starting;
  // In the middle of a round.
  await shared.clock.advance(ANNOUNCE_MS - 400 + 300);
  const leaving = leave();
  await shared.clock.advance(5_000);
  await leaving;
  expect((await shared.items.query({ pk: GATEWAYS, limit: 10 })).items).toEqual([]);
});

it('finds more gateways than one query gives', async () => {
  const shared = stores();
  const broker = memoryBroker(shared);
  for (let i = 0; i < 700; i++)
    await broker.announceGateway({ id: `${i}`, host: `host${i}.example`, port: 9_092, beat: 0 });
  expect((await gatewayAt(shared, 1)).nodes()).toHaveLength(701);
});

it('fails if it cannot be put on the list at first', async () => {
  await expect(gatewayAt(stores(), 1, { faultOf: () => 'throttled' })).rejects.toThrow(EventLogError);
});

it('shows gateways behind one address as one, until the last has left', async () => {
  const shared = stores();
  const first = await gatewayAt(shared, 9_092, { host: 'balancer.example' });
  const second = await gatewayAt(shared, 9_092, { host: 'balancer.example' });
  await shared.clock.advance(ANNOUNCE_MS);
  expect(first.nodes()).toEqual([second.self]);
  for (const { leave, nodes } of [first, second]) {
    const leaving = leave();
    await shared.clock.advance(ANNOUNCE_MS);
    await leaving;
    // A client that is told of no gateway gives up.
    expect(nodes()).toEqual([first.self]);
  }
  expect((await shared.items.query({ pk: GATEWAYS, limit: 10 })).items).toEqual([]);
});

it('spreads the heads over all gateways, and moves only the share of one that goes', async () => {
  const shared = stores();
  const gateways = await Promise.all([1, 2, 3].map((port) => gatewayAt(shared, port)));
  await shared.clock.advance(ANNOUNCE_MS);
  const [first] = gateways as [(typeof gateways)[number]];
  const heads = Array.from({ length: 3_000 }, (_, i) => `topic${i}`);
  const leaders = () => heads.map((topicId) => leaderOf(first, topicId, 5).port);
  const before = leaders();
  for (const port of [1, 2, 3]) expect(before.filter((leader) => leader === port).length).toBeGreaterThan(800);
  expect(heads.map((topicId) => leaderOf(gateways[2] as typeof first, topicId, 0).port)).toEqual(before);
  const leaving = gateways[1]?.leave();
  await shared.clock.advance(ANNOUNCE_MS);
  await leaving;
  const after = leaders();
  expect(after.filter((leader, i) => leader !== before[i]).length).toBe(before.filter((port) => port === 2).length);
});
