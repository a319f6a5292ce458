import { describe, expect, it } from 'vitest';
import { broken, history, logOf, readRecord, sentRecord } from './made/history-builder.ts';

/** R9, and the one moment of an atomic append. */

const in1 = (value: string) => sentRecord(value, { partition: 1 });
const atomic = { atomic: true };

describe('what is seen of a partition’s end', () => {
  it('does not go back', () => {
    const seen = (first: number, second: number) =>
      history().append(1, ['a', 'b']).end(2).saw(2, first).end(3).saw(3, second);
    expect(broken(seen(1, 2), logOf(['a', 'b']))).toEqual([]);
    expect(broken(seen(1, 1), logOf(['a', 'b']))).toEqual([]);
    expect(broken(seen(2, 1), logOf(['a', 'b']))).toEqual(['R9']);
    const meanwhile = history().append(1, ['a', 'b']).end(2).end(3).saw(2, 2).saw(3, 1);
    expect(broken(meanwhile, logOf(['a', 'b']))).toEqual([]);
  });

  it('is in no order among those who see the same', () => {
    const nested = history().append(1, ['a']).end(2).end(3).saw(3, 1).end(4).saw(4, 1).saw(2, 1);
    expect(broken(nested, logOf(['a']))).toEqual([]);
    const after = history().append(1, ['a']).end(4).end(2).saw(2, 1).end(3).saw(3, 1).saw(4, 1);
    expect(broken(after, logOf(['a']))).toEqual([]);
  });

  it('does not count what was appended later', () => {
    const appendedLater = (end: number) => history().end(2).saw(2, end).append(1, ['a']).appended(1, 0);
    expect(broken(appendedLater(0), logOf(['a']))).toEqual([]);
    expect(broken(appendedLater(1), logOf(['a']))).toEqual(['R9']);
    const meanwhile = history().end(2).append(1, ['a']).saw(2, 1).appended(1, 0);
    expect(broken(meanwhile, logOf(['a']))).toEqual([]);
  });

  it('counts what was acknowledged before', () => {
    const appendedBefore = (end: number) => history().append(1, ['a']).appended(1, 0).end(2).saw(2, end);
    expect(broken(appendedBefore(1), logOf(['a']))).toEqual([]);
    expect(broken(appendedBefore(0), logOf(['a']))).toEqual(['R9']);
    expect(broken(appendedBefore(2), logOf(['a']))).toEqual(['R9']);
  });

  it('is seen by a read too, also by one that failed, and by a refusal', () => {
    const read = history().append(1, ['a', 'b']).end(2).saw(2, 2).read(3, 0);
    expect(broken(read.gave(3, ['a'], { highWatermark: 1 }), logOf(['a', 'b']))).toEqual(['R9']);
    const refused = (nextOffset: number) => {
      const story = history().append(1, ['a', 'b']).end(2).saw(2, 2);
      return story.append(3, ['c'], { expectedOffset: 0 }).ended(3, 'fail', nextOffset);
    };
    expect(broken(refused(2), logOf(['a', 'b']))).toEqual([]);
    expect(broken(refused(1), logOf(['a', 'b']))).toEqual(['R9']);
    const outOfRange = history().append(1, ['a', 'b']).end(2).saw(2, 2).read(3, 5);
    const facts = { op: 3, process: 'p3', time: 0, topic: 't' };
    outOfRange.events.push({ ...facts, type: 'fail', f: 'read', error: 'offset_out_of_range', highWatermark: 1 });
    expect(broken(outOfRange, logOf(['a', 'b']))).toEqual(['R9']);
  });

  it('is not what a refused append expected', () => {
    const refused = (expectedOffset: number) => history().append(1, ['a'], { expectedOffset }).ended(1, 'fail', 0);
    expect(broken(refused(1), logOf([]))).toEqual([]);
    expect(broken(refused(0), logOf([]))).toEqual(['R9']);
  });

  it('is known to be another partition’s where the refused append named one', () => {
    const refused = history()
      .append(1, ['a'])
      .appended(1, 0)
      .append(2, [in1('b')], { expectedOffset: 3 });
    expect(broken(refused.ended(2, 'fail', 0), logOf(['a'], []))).toEqual([]);
    const unnamed = history()
      .append(1, ['a'])
      .appended(1, 0)
      .append(2, [{ value: 'b' }], { expectedOffset: 3 });
    expect(broken(unnamed.ended(2, 'fail', 5), logOf(['a'], []))).toEqual([]);
  });

  it('is not amid the records of one commit', () => {
    for (const asked of [atomic, { idempotencyKey: 'k' }, { expectedOffset: 1 }]) {
      const seen = (end: number) => history().append(1, ['x']).append(2, ['a', 'b'], asked).end(3).saw(3, end);
      for (const end of [0, 1, 3]) expect(broken(seen(end), logOf(['x', 'a', 'b']))).toEqual([]);
      expect(broken(seen(2), logOf(['x', 'a', 'b']))).toEqual(['R9']);
    }
    const batches = history().append(1, ['a', 'b']).end(3).saw(3, 1);
    expect(broken(batches, logOf(['a', 'b']))).toEqual([]);
  });
});

describe('an atomic append', () => {
  it('is there wholly or not at all', () => {
    const story = history()
      .append(1, ['a', in1('b')], atomic)
      .ended(1, 'info');
    expect(broken(story, logOf(['a'], ['b']))).toEqual([]);
    expect(broken(story, logOf([], []))).toEqual([]);
    expect(broken(story, logOf(['a'], []))).toEqual(['atomic']);
    const plain = history()
      .append(1, ['a', in1('b')])
      .ended(1, 'info');
    expect(broken(plain, logOf(['a'], []))).toEqual([]);
    const anywhere = history()
      .append(1, ['a', { value: 'b' }], atomic)
      .ended(1, 'info');
    expect(broken(anywhere, logOf(['a'], []))).toEqual(['atomic']);
    const expected = history().append(1, ['a', 'b'], { expectedOffset: 0 }).ended(1, 'info');
    expect(broken(expected, logOf(['a']))).toEqual(['atomic']);
    expect(broken(expected, logOf(['b']))).toEqual(['atomic']);
  });

  it('is so in each head where it has an idempotency key', () => {
    const in16 = sentRecord('b', { partition: 16 });
    const heads = history().append(1, ['a', in16], { idempotencyKey: 'k' }).ended(1, 'info');
    expect(broken(heads, logOf(['a']))).toEqual([]);
    expect(broken(heads, new Map([[16, [readRecord('b', 0)]]]))).toEqual([]);
    const oneHead = history()
      .append(1, ['a', in1('b')], { idempotencyKey: 'k' })
      .ended(1, 'info');
    expect(broken(oneHead, logOf(['a'], ['b']))).toEqual([]);
    expect(broken(oneHead, logOf(['a'], []))).toEqual(['atomic']);
    const chosen = history()
      .append(1, ['a', { value: 'b' }], { idempotencyKey: 'k' })
      .ended(1, 'info');
    expect(broken(chosen, logOf(['a'], []))).toEqual([]);
  });

  const two = () =>
    history()
      .append(1, ['a', in1('b')], atomic)
      .ended(1, 'info');

  it('is seen in all its partitions from one moment on', () => {
    const seen = (first: number, second: number) => two().end(2).saw(2, first).end(3, { partition: 1 }).saw(3, second);
    expect(broken(seen(1, 1), logOf(['a'], ['b']))).toEqual([]);
    expect(broken(seen(0, 1), logOf(['a'], ['b']))).toEqual([]);
    expect(broken(seen(1, 0), logOf(['a'], ['b']))).toEqual(['R9']);
    const meanwhile = two().end(2).end(3, { partition: 1 }).saw(2, 1).saw(3, 0);
    expect(broken(meanwhile, logOf(['a'], ['b']))).toEqual([]);
    const plain = history()
      .append(1, ['a', in1('b')])
      .ended(1, 'info')
      .end(2)
      .saw(2, 1)
      .end(3, { partition: 1 });
    expect(broken(plain.saw(3, 0), logOf(['a'], ['b']))).toEqual([]);
  });

  it('carries the order of one partition into another', () => {
    // `x` began when `y` had been acknowledged; and stands before the append in one partition, `y` behind it in the other.
    const story = two()
      .append(2, [in1('y')])
      .appended(2, 1, { partition: 1 })
      .append(3, ['x'])
      .appended(3, 0);
    expect(broken(story, logOf(['x', 'a'], ['b', 'y']))).toEqual(['R4']);
    const plain = history()
      .append(1, ['a', in1('b')])
      .ended(1, 'info')
      .append(2, [in1('y')]);
    plain.appended(2, 1, { partition: 1 }).append(3, ['x']).appended(3, 0);
    expect(broken(plain, logOf(['x', 'a'], ['b', 'y']))).toEqual([]);
  });

  it('stands in the same order to another one everywhere', () => {
    const story = two()
      .append(2, ['c', in1('d')], atomic)
      .ended(2, 'info');
    expect(broken(story, logOf(['a', 'c'], ['b', 'd']))).toEqual([]);
    expect(broken(story, logOf(['c', 'a'], ['d', 'b']))).toEqual([]);
    expect(broken(story, logOf(['a', 'c'], ['d', 'b']))).toEqual(['atomic']);
    const plain = two()
      .append(2, ['c', in1('d')])
      .ended(2, 'info');
    expect(broken(plain, logOf(['a', 'c'], ['d', 'b']))).toEqual([]);
  });
});
