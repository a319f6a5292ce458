import { describe, expect, it } from 'vitest';
import type { Broker } from '../../../../shared/broker/broker.ts';
import { faultyStores } from '../../../support/faulty-stores.ts';
import {
  appendTo,
  codeOf,
  memoryBroker,
  memoryStores,
  SeededRandom,
  valuesOf,
} from '../../../support/memory-broker.ts';
import { turn } from '../../../support/simulated-clock.ts';

describe('a topic', () => {
  it('is made once, and found by whoever makes it again', async () => {
    const stores = memoryStores();
    const [a, b] = [memoryBroker(stores), memoryBroker(stores)];
    const made = await Promise.all([a, b, a, b].map((broker) => broker.putTopic({ name: 't', partitions: 3 })));
    expect(made.filter(({ created }) => created)).toHaveLength(1);
    expect(new Set(made.map(({ topic }) => topic.topicId)).size).toBe(1);
    expect(await a.describeTopic('t')).toMatchObject({ name: 't', partitions: 3, createdAtMs: stores.clock.nowMs() });
    expect(made[0]?.topic.topicId).toMatch(/^[\w-]{22}$/);
  });

  it('that another process made just now is found by its id for certain', async () => {
    const stores = memoryStores();
    const broker = memoryBroker(stores);
    await broker.topicById('none');
    const { topic } = await memoryBroker(stores).putTopic({ name: 't' });
    expect(await broker.topicById(topic.topicId)).toBeUndefined();
    const found = ['made up', topic.topicId].map((id) => broker.topicById(id, true));
    expect(await stores.clock.run(Promise.all(found))).toMatchObject([undefined, { name: 't' }]);
  });

  it('gets partitions and settings, and loses no partitions', async () => {
    const broker = memoryBroker();
    await broker.putTopic({ name: 't', partitions: 3, config: { 'retention.ms': '1000' } });
    expect(await broker.putTopic({ name: 't' })).toMatchObject({ created: false, changed: false });
    expect(await broker.putTopic({ name: 't', config: { 'retention.ms': 1_000 } })).toMatchObject({ changed: false });
    const changed = await broker.putTopic({
      name: 't',
      partitions: 5,
      config: { 'segment.ms': 7, 'retention.ms': null },
    });
    expect(changed).toMatchObject({ created: false, changed: true, topic: { partitions: 5 } });
    expect(changed.topic.config['retention.ms'].source).toBe('default');
    expect(changed.topic.config['segment.ms']).toEqual({ value: 7, source: 'topic' });
    expect(await codeOf(broker.putTopic({ name: 't', partitions: 4 }))).toBe('topic_conflict');
    expect(await codeOf(broker.putTopic({ name: 't', config: { nonsense: null } }))).toBe('invalid_request');
    expect(await codeOf(broker.putTopic({ name: 't', config: { toString: null } }))).toBe('invalid_request');
    expect(await codeOf(broker.putTopic({ name: 't', partitions: 10_001 }))).toBe('invalid_request');
    expect(await codeOf(broker.putTopic({ name: '..' }))).toBe('invalid_request');
    expect(await appendTo(broker, 't', 4, ['v'])).toBe(0);
  });

  it('is known as it was changed by the process that changed it, also while that was reading it', async () => {
    const stores = memoryStores();
    let held: (() => void) | undefined;
    const holding = new Promise<void>((resolve) => {
      held = resolve;
    });
    let holds = false;
    const items = {
      get: async (key: Parameters<typeof stores.items.get>[0]) => {
        const isHeld = holds;
        holds = false;
        const answer = await stores.items.get(key);
        if (isHeld) await holding;
        return answer;
      },
      put: stores.items.put.bind(stores.items),
      update: stores.items.update.bind(stores.items),
      delete: stores.items.delete.bind(stores.items),
      query: stores.items.query.bind(stores.items),
    };
    const broker = memoryBroker({ ...stores, items }, { topicCacheMs: 60_000 });
    await broker.putTopic({ name: 't', partitions: 1 });
    holds = true;
    const described = broker.describeTopic('t');
    await broker.putTopic({ name: 't', partitions: 2 });
    held?.();
    expect(await described).toMatchObject({ partitions: 1 });
    expect(await appendTo(broker, 't', 1, ['v'])).toBe(0);
  });

  it('is known as it is by a process that was asked for what another had changed already', async () => {
    const stores = memoryStores();
    const [a, b] = [1, 2].map(() => memoryBroker(stores, { topicCacheMs: 60_000 })) as [Broker, Broker];
    await a.putTopic({ name: 't', partitions: 1 });
    expect(await appendTo(b, 't', 0, ['v'])).toBe(0);
    await a.putTopic({ name: 't', partitions: 2 });
    expect(await b.putTopic({ name: 't', partitions: 2 })).toMatchObject({ changed: false });
    expect(await appendTo(b, 't', 1, ['v'])).toBe(0);
  });

  it('has no settings that contradict each other, whichever is set first', async () => {
    const broker = memoryBroker(memoryStores());
    const refused = { code: 'invalid_request', details: { field: 'config.min.compaction.lag.ms' } };
    const [lower, upper] = [{ 'max.compaction.lag.ms': 5 }, { 'min.compaction.lag.ms': 6 }];
    await expect(broker.putTopic({ name: 't', config: { ...lower, ...upper } })).rejects.toMatchObject(refused);
    await broker.putTopic({ name: 't', config: upper });
    await expect(broker.putTopic({ name: 't', config: lower })).rejects.toMatchObject(refused);
    await broker.putTopic({ name: 't', config: { ...lower, 'min.compaction.lag.ms': 5 } });
    await expect(broker.putTopic({ name: 't', config: upper })).rejects.toMatchObject(refused);
    await broker.putTopic({ name: 't', config: { ...upper, 'max.compaction.lag.ms': null } });
    expect((await broker.describeTopic('t')).config).toMatchObject({ 'min.compaction.lag.ms': { value: 6 } });
  });

  it('changed by several at once has all the changes', async () => {
    const stores = memoryStores();
    const brokers = Array.from({ length: 4 }, () => memoryBroker(stores));
    await (brokers[0] as Broker).putTopic({ name: 't' });
    const changes = [
      { 'segment.ms': 5 },
      { 'retention.ms': 6 },
      { 'retention.bytes': 7 },
      { 'cleanup.policy': 'compact' },
    ];
    await Promise.all(
      changes.map((config, i) =>
        (brokers[i] as Broker).putTopic({ name: 't', partitions: i + 1, config }).catch(() => {}),
      ),
    );
    const { config, partitions } = await (brokers[0] as Broker).describeTopic('t');
    expect(partitions).toBe(4);
    const set = Object.values(config).filter(({ source }) => source === 'topic').length;
    // One that came late with fewer partitions was refused as a whole.
    expect(set).toBeGreaterThanOrEqual(1);
  });

  it('is listed in the order of bytes, page by page', async () => {
    const broker = memoryBroker();
    const names = ['b', 'a', 'a.b', 'a-b', 'B', '_x', 'a_b', '10', '9'];
    for (const name of names) await broker.putTopic({ name });
    const listed: string[] = [];
    let pageToken: string | undefined;
    do {
      const page = await broker.listTopics({ limit: 2, pageToken });
      expect(page.items.length).toBeLessThanOrEqual(2);
      listed.push(...page.items.map((topic) => topic.name));
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
    expect(listed).toEqual([...names].sort());
    for (const request of [
      { limit: 0 },
      { limit: 1_001 },
      { limit: 1.5 },
      { pageToken: '' },
      { pageToken: '!' },
      { pageToken: 'a'.repeat(1_025) },
    ]) {
      expect(await codeOf(broker.listTopics(request))).toBe('invalid_request');
    }
  });

  it('are not listed from a token that holds no text', async () => {
    const pageToken = Buffer.alloc(700, 0xff).toString('base64url');
    await expect(memoryBroker().listTopics({ pageToken })).rejects.toMatchObject({
      code: 'invalid_request',
      details: { field: 'pageToken' },
    });
  });
});

describe('deleting a topic', () => {
  it('makes its name free; what is made under it again has nothing of the old records', async () => {
    const stores = memoryStores();
    const [a, b] = [memoryBroker(stores), memoryBroker(stores)];
    const first = await a.putTopic({ name: 't', partitions: 20 });
    for (let i = 0; i < 30; i++) await appendTo(b, 't', i % 20, ['old']);
    await b.idle();
    await a.deleteTopic('t');
    expect(await codeOf(a.describeTopic('t'))).toBe('unknown_topic');
    expect(await codeOf(a.deleteTopic('t'))).toBe('unknown_topic');
    // B remembers the topic still; it finds out by the closed head.
    expect(await codeOf(appendTo(b, 't', 0, ['late']))).toBe('unknown_topic');
    expect(await codeOf(valuesOf(b, 't', 0))).toBe('unknown_topic');
    expect((await a.listTopics()).items).toEqual([]);
    const second = await a.putTopic({ name: 't', partitions: 20 });
    expect(second.created).toBe(true);
    expect(second.topic.topicId).not.toBe(first.topic.topicId);
    expect(await valuesOf(b, 't', 0)).toEqual([]);
    expect(await appendTo(b, 't', 0, ['new'])).toBe(0);
    expect(await valuesOf(a, 't', 0)).toEqual(['new']);
  });

  it('and making it again: a broker that remembers the old one appends to and reads the new one', async () => {
    const stores = memoryStores();
    const [a, b, c] = [memoryBroker(stores), memoryBroker(stores), memoryBroker(stores)];
    await a.putTopic({ name: 't' });
    await appendTo(b, 't', 0, ['old']);
    expect(await valuesOf(c, 't', 0)).toEqual(['old']);
    await a.deleteTopic('t');
    await a.putTopic({ name: 't' });
    expect(await c.describePartitions('t')).toMatchObject([{ highWatermark: 0 }]);
    expect(await valuesOf(c, 't', 0)).toEqual([]);
    expect(await appendTo(b, 't', 0, ['new'])).toBe(0);
    expect(await valuesOf(c, 't', 0)).toEqual(['new']);
    await a.deleteTopic('t');
    expect(await codeOf(c.describePartitions('t'))).toBe('unknown_topic');
  });

  it('while appends run: what was acknowledged to the new topic is there, and nothing else', async () => {
    let inNewTopic = 0;
    for (let seed = 0; seed < 30; seed++) {
      const stores = memoryStores();
      const random = new SeededRandom(seed);
      const slow = faultyStores(stores, () => ({ delayMs: random.below(20) }));
      const [admin, ...writers] = Array.from({ length: 4 }, () => memoryBroker(slow)) as [Broker, ...Broker[]];
      await stores.clock.run(admin.putTopic({ name: 't', partitions: 20 }));
      let deletedAt = Number.POSITIVE_INFINITY;
      const acknowledged: { value: string; beganAt: number; partition: number; offset: number }[] = [];
      const write = async (broker: Broker, writer: number): Promise<void> => {
        for (let i = 0; i < 12; i++) {
          const beganAt = stores.clock.nowMs();
          const partition = random.below(20);
          const value = `${writer}:${i}`;
          const offset = await codeOf(appendTo(broker, 't', partition, [value]));
          if (typeof offset === 'number') acknowledged.push({ value, beganAt, partition, offset });
          else expect(offset).toBe('unknown_topic');
        }
      };
      const remake = async (): Promise<void> => {
        await stores.clock.sleep(random.below(300));
        await admin.deleteTopic('t');
        deletedAt = stores.clock.nowMs();
        await stores.clock.sleep(random.below(40));
        await admin.putTopic({ name: 't', partitions: 20 });
      };
      await stores.clock.run(Promise.all([remake(), ...writers.map(write)]));
      await stores.clock.advance(2_000);
      const left = new Map<string, string>();
      for (let partition = 0; partition < 20; partition++) {
        const values = await stores.clock.run(valuesOf(admin, 't', partition));
        values.forEach((value, offset) => {
          expect(left.has(value)).toBe(false);
          left.set(value, `${partition}/${offset}`);
        });
      }
      for (const { value, beganAt, partition, offset } of acknowledged) {
        if (beganAt <= deletedAt) continue;
        expect(left.get(value), `seed ${seed}`).toBe(`${partition}/${offset}`);
        inNewTopic++;
      }
      const known = new Set(acknowledged.map(({ value }) => value));
      for (const value of left.keys()) expect(known.has(value)).toBe(true);
    }
    expect(inNewTopic).toBeGreaterThan(100);
  });

  it('is not undone by a request to make it that arrives late', async () => {
    for (const made of ['anew', 'again']) {
      const stores = memoryStores();
      const admin = memoryBroker(stores);
      if (made === 'again') {
        await admin.putTopic({ name: 't' });
        await admin.deleteTopic('t');
      }
      let first = true;
      const late = faultyStores(stores, ({ key, method }) => {
        if (!first || key !== 'topics' || method !== 'put') return undefined;
        first = false;
        return { fault: 'late', lateMs: 600_000 };
      });
      const broker = memoryBroker(late);
      expect(await codeOf(broker.putTopic({ name: 't' }))).toBe('storage_unavailable');
      await broker.putTopic({ name: 't' });
      await admin.deleteTopic('t');
      await stores.clock.advance(600_000);
      expect(await codeOf(admin.describeTopic('t')), made).toBe('unknown_topic');
      expect((await admin.listTopics()).items).toEqual([]);
    }
  });

  it('is not undone by a change that was under way', async () => {
    const stores = memoryStores();
    const a = memoryBroker(stores);
    const { topic } = await a.putTopic({ name: 't', partitions: 20 });
    const slow = faultyStores(stores, ({ key, method }) => ({
      delayMs: method === 'put' && key === 'topics' ? 100 : 0,
    }));
    const changing = memoryBroker(slow).putTopic({ name: 't', partitions: 30 });
    await turn();
    // The topic is marked and its heads are closed; then the deletion stops.
    const broken = faultyStores(stores, ({ key }) => (key === 'garbage' ? { fault: 'throttled' } : undefined));
    expect(await codeOf(memoryBroker(broken).deleteTopic('t'))).toBe('throttled');
    const made = await stores.clock.run(changing);
    expect(made.created).toBe(true);
    expect(made.topic.topicId).not.toBe(topic.topicId);
    expect(await appendTo(a, 't', 0, ['new'])).toBe(0);
  });

  it('that stopped half-way, at any request, is finished by making the topic or by deleting it again', async () => {
    for (const finish of ['put', 'delete'] as const) {
      for (let at = 0; at < 8; at++) {
        const stores = memoryStores();
        const b = memoryBroker(stores);
        const { topic } = await b.putTopic({ name: 't', partitions: 33 });
        await appendTo(b, 't', 32, ['old']);
        let count = 0;
        const broken = faultyStores(stores, () => (count++ >= at ? { fault: 'throttled' } : undefined));
        expect(await codeOf(memoryBroker(broken).deleteTopic('t'))).toBe('throttled');
        const c = memoryBroker(stores);
        // Whatever is left of it, it is either all there or not at all.
        const listed = (await c.listTopics()).items.length;
        expect(await codeOf(c.describeTopic('t'))).toEqual(
          listed === 1 ? expect.objectContaining({ name: 't' }) : 'unknown_topic',
        );
        if (finish === 'delete') await c.deleteTopic('t');
        const made = await c.putTopic({ name: 't', partitions: 33 });
        if (finish === 'put' && listed === 1) {
          expect(made).toMatchObject({ created: false, topic: { topicId: topic.topicId } });
          continue;
        }
        expect(made.created).toBe(true);
        expect(made.topic.topicId).not.toBe(topic.topicId);
        expect(await valuesOf(c, 't', 32)).toEqual([]);
        expect(await appendTo(b, 't', 32, ['new'])).toBe(0);
        for (const headNumber of [0, 1, 2]) {
          const head = await stores.items.get({ pk: `head#${topic.topicId}#${headNumber}`, sk: '-' });
          expect(head.attributes?.x).toBe(1);
        }
      }
    }
  });
});
