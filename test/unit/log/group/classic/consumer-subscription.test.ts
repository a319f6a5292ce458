import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  assignmentOfPartitions,
  partitionsOfAssignment,
} from '../../../../../shared/log/group/classic/consumer-assignment.ts';
import { consumerSubscription } from '../../../../../shared/log/group/classic/consumer-subscription.ts';
import { SUBSCRIBED_TOPICS_MAX } from '../../../../../shared/log/limits.ts';
import { assignmentOf, subscriptionBytes } from '../../../../support/classic-world.ts';

const of = (metadata: Uint8Array, protocolType = 'consumer') =>
  consumerSubscription(protocolType, [{ name: 'range', metadata }]);

describe('the subscription of a classic consumer', () => {
  it('is read in all versions', () => {
    const owned = ['b/3', 'b/0', 'a/1'];
    const partitions = [
      { topic: 'b', partitions: [0, 3] },
      { topic: 'a', partitions: [1] },
    ];
    const read = (version: number) => of(subscriptionBytes(['b', 'a'], { owned, version, rack: 'here' }));
    expect(read(0)).toEqual({ version: 0, topics: ['b', 'a'], owned: [], rack: undefined });
    expect(read(1)).toEqual({ version: 1, topics: ['b', 'a'], owned: partitions, rack: undefined });
    expect(read(2)).toEqual({ version: 2, topics: ['b', 'a'], owned: partitions, rack: undefined });
    expect(read(3)).toEqual({ version: 3, topics: ['b', 'a'], owned: partitions, rack: 'here' });
    expect(read(7)).toMatchObject({ version: 7, owned: partitions, rack: 'here' });
    expect(of(subscriptionBytes(['a']))).toEqual({ version: 3, topics: ['a'], owned: [], rack: undefined });
  });

  it('is that of the protocol that the member prefers', () => {
    const protocols = ['a', 'b'].map((topic) => ({ name: topic, metadata: subscriptionBytes([topic]) }));
    expect(consumerSubscription('consumer', protocols)?.topics).toEqual(['a']);
    expect(consumerSubscription('consumer', [])).toBeUndefined();
  });

  it('may leave out what the member owns', () => {
    const version0 = subscriptionBytes(['a'], { version: 0 });
    expect(of(new Uint8Array([0, 1, ...version0.subarray(2)]))).toMatchObject({ version: 1, topics: ['a'], owned: [] });
  });

  it('names each topic once, and none that cannot exist', () => {
    expect(of(subscriptionBytes(['a', 'b', 'a', 'not a topic', '']))?.topics).toEqual(['a', 'b']);
    const names = Array.from({ length: SUBSCRIBED_TOPICS_MAX + 1 }, (_, i) => `t${i}`);
    expect(of(subscriptionBytes(names.slice(1)))?.topics).toHaveLength(SUBSCRIBED_TOPICS_MAX);
    expect(of(subscriptionBytes(names))).toBeUndefined();
  });

  it('is none of another protocol type or form', () => {
    const whole = subscriptionBytes(['orders'], { owned: ['orders/1'] });
    expect(of(whole, 'connect')).toBeUndefined();
    expect(of(subscriptionBytes(['a'], { version: -1 }))).toBeUndefined();
    expect(of(new Uint8Array())).toBeUndefined();
    for (const length of [1, 5, 9, 20, 30]) expect(of(whole.subarray(0, length))).toBeUndefined();
    expect(of(new Uint8Array([0, 1, 0x7f, 0xff, 0xff, 0xff]))).toBeUndefined();
  });

  it('never throws', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void of(bytes)));
  });
});

describe('an assignment', () => {
  it('is written as clients read it, in a version that they know', () => {
    const partitions = [{ topic: 'b', partitions: [0, 3] }];
    for (const version of [0, 1, 2, 3])
      expect(assignmentOfPartitions(version, partitions)).toEqual(assignmentOf({ b: [0, 3] }, { version }));
    expect(assignmentOfPartitions(9, partitions)).toEqual(assignmentOf({ b: [0, 3] }, { version: 3 }));
    expect(partitionsOfAssignment(assignmentOfPartitions(1, []))).toEqual([]);
  });
});
