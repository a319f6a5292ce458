import { describe, expect, it } from 'vitest';
import { broken, history, logOf } from './made/history-builder.ts';

const DAY_MS = 24 * 3_600_000;

describe('R2: an append that the log can recognise', () => {
  const by = (asked: object) => ({ expectedOffset: 0, ...asked });
  const told = (asked: object, nextOffset: number) =>
    history()
      .append(1, ['a'], by(asked))
      .ended(1, 'info')
      .append(2, ['a'], by(asked))
      .ended(2, 'fail', nextOffset)
      .append(3, ['b'])
      .appended(3, 1);

  it('is not rejected for its expected offset once it has been appended', () => {
    expect(broken(told({ producer: { id: 1, epoch: 0, sequence: 0 } }, 1), logOf(['a', 'b']))).toEqual(['R2']);
    expect(broken(told({ idempotencyKey: 'k' }, 1), logOf(['a', 'b']))).toEqual(['R2']);
    expect(broken(told({}, 1), logOf(['a', 'b']))).toEqual([]);
  });
});

describe('R5: an idempotency key', () => {
  const key = { idempotencyKey: 'k' };
  const two = (betweenMs: number) =>
    history().append(1, ['a'], key).appended(1, 0).later(betweenMs).append(2, ['b'], key);

  it('stands for one append of those that are in the log', () => {
    expect(broken(two(0).ended(2, 'info'), logOf(['a', 'b']))).toEqual(['R5']);
    expect(broken(two(0).ended(2, 'fail'), logOf(['a']))).toEqual([]);
    const corrected = history().append(1, ['a'], key).ended(1, 'fail').append(2, ['b'], key).appended(2, 0);
    expect(broken(corrected, logOf(['b']))).toEqual([]);
  });

  it('stands for another one a day later', () => {
    expect(broken(two(DAY_MS).appended(2, 1), logOf(['a', 'b']))).toEqual([]);
  });
});

describe('R4: appends that a process is given one after the other', () => {
  it('are in their order', () => {
    const two = () => history().append(1, ['a']).append(2, ['b'], { after: 1 });
    expect(broken(two().appended(1, 0).appended(2, 1), logOf(['a', 'b']))).toEqual([]);
    expect(broken(two().appended(2, 0).appended(1, 1), logOf(['b', 'a']))).toEqual(['R4']);
    const apart = history().append(1, ['a']).append(2, ['b']).appended(1, 1).appended(2, 0);
    expect(broken(apart, logOf(['b', 'a']))).toEqual([]);
  });

  it('are in their order though one between them was rejected', () => {
    const three = (last: number) =>
      history()
        .append(1, ['a'])
        .append(2, ['x'], { after: 1, expectedOffset: 7 })
        .append(3, ['c'], { after: 2 })
        .appended(1, 1 - last)
        .ended(2, 'fail', 2)
        .appended(3, last);
    expect(broken(three(0), logOf(['c', 'a']))).toContain('R4');
  });

  it('compare an expected offset with what was given before, and with nothing given later', () => {
    const overtaken = (end: number) =>
      history()
        .append(1, ['x'], { expectedOffset: 5 })
        .append(2, ['b'], { after: 1 })
        .appended(2, 0)
        .ended(1, 'fail', end);
    expect(broken(overtaken(0), logOf(['b']))).toEqual([]);
    expect(broken(overtaken(1), logOf(['b']))).toEqual(['R4']);
  });
});

describe('the settings of a topic', () => {
  const set = (op: number, config: Record<string, string>) => history().put(op, config).changed(op, 'ok');

  it('are as they were set last', () => {
    expect(broken(set(1, { a: '1' }).describe(2).described(2, { a: '1' }), undefined)).toEqual([]);
    expect(broken(set(1, { a: '1' }).describe(2).described(2, {}), undefined)).toEqual(['settings']);
    const twice = set(1, { a: '1' }).put(2, { a: '2' }).changed(2, 'ok').describe(3);
    expect(broken(twice.described(3, { a: '1' }), undefined)).toEqual(['settings']);
  });

  it('may be as they were before while they are set, and not afterwards', () => {
    const meanwhile = () => set(1, { a: '1' }).put(2, { a: '2' }).describe(3);
    expect(broken(meanwhile().described(3, { a: '1' }).changed(2, 'ok'), undefined)).toEqual([]);
    const back = meanwhile().described(3, { a: '1' }).changed(2, 'ok').describe(4).described(4, { a: '1' });
    expect(broken(back, undefined)).toEqual(['settings']);
  });

  it('are not lost when others are set at the same time', () => {
    const both = () => history().put(1, { a: '1' }).put(2, { b: '1' }).changed(1, 'ok').changed(2, 'ok').describe(3);
    expect(broken(both().described(3, { a: '1', b: '1' }), undefined)).toEqual([]);
    expect(broken(both().described(3, { b: '1' }), undefined)).toEqual(['settings']);
  });

  it('may be set by a request that no one knows the fate of, at any time', () => {
    const unsure = () =>
      history().put(1, { a: '1' }).changed(1, 'info').put(2, { a: '2' }).changed(2, 'ok').describe(3);
    expect(broken(unsure().described(3, { a: '1' }), undefined)).toEqual([]);
    expect(broken(unsure().described(3, { a: '2' }), undefined)).toEqual([]);
    expect(broken(unsure().described(3, { a: '3' }), undefined)).toEqual(['settings']);
  });

  it('include a number of partitions that never falls and that someone asked for', () => {
    const grown = () => history().put(1, {}, 2).changed(1, 'ok', {}, 2).describe(2);
    expect(broken(grown().described(2, {}, 2), undefined)).toEqual([]);
    expect(broken(grown().described(2, {}, 1), undefined)).toEqual(['settings']);
    expect(broken(grown().described(2, {}, 3), undefined)).toEqual(['settings']);
  });

  it('go with a topic that is deleted', () => {
    const gone = set(1, { a: '1' }).delete(2).deleted(2).describe(3).described(3, {});
    expect(broken(gone, undefined)).toEqual([]);
  });
});
