import { describe, expect, it } from 'vitest';
import { broken, type HistoryBuilder, history, logOf, readRecord, sentRecord } from './made/history-builder.ts';

/** Topics that were deleted, and made again or not. */

/** The first life had `a` and `b`, both settled. */
const first = () => history().append(1, ['a', 'b']).appended(1, 0);
const again = (how: (story: HistoryBuilder) => HistoryBuilder = (story) => story) => how(first().delete(2)).deleted(2);

describe('a deletion', () => {
  it('ends what was acknowledged before it', () => {
    expect(broken(again(), undefined)).toEqual([]);
    expect(broken(again(), logOf([]))).toEqual([]);
    expect(broken(again(), logOf(['a', 'b']))).toEqual(['deletion']);
    expect(broken(again().read(3, 0).gave(3, []), logOf([]))).toEqual([]);
    expect(broken(again().read(3, 0).gave(3, ['a', 'b']), undefined)).toEqual(['R10', 'R9']);
  });

  it('proves nothing if it failed, and nothing for certain if it has no end', () => {
    const ended = (type: 'ok' | 'fail' | 'info') => first().delete(2).deleted(2, type);
    expect(broken(ended('fail'), logOf(['a', 'b']))).toEqual([]);
    expect(broken(ended('fail'), logOf([]))).toEqual(['R1']);
    for (const story of [ended('info'), first().delete(2)]) {
      expect(broken(story, logOf(['a', 'b']))).toEqual([]);
      expect(broken(story, logOf([]))).toEqual([]);
      expect(broken(story, undefined)).toEqual([]);
    }
  });

  it('may leave what was not settled when it began', () => {
    const keyed = { idempotencyKey: 'k' };
    const unsure = history().append(1, ['a']).ended(1, 'info').delete(2).deleted(2);
    expect(broken(unsure, logOf(['a']))).toEqual([]);
    const meanwhile = history().append(1, ['a']).delete(2).appended(1, 0).deleted(2);
    expect(broken(meanwhile, logOf(['a']))).toEqual([]);
    const anotherTry = history().append(1, ['a'], keyed).ended(1, 'info').append(2, ['a'], keyed).appended(2, 0);
    expect(broken(anotherTry.delete(3).deleted(3), logOf(['a']))).toEqual([]);
    const bothTries = history().append(1, ['a'], keyed).appended(1, 0).append(2, ['a'], keyed);
    bothTries.appended(2, 0, { duplicate: true }).delete(3).deleted(3);
    expect(broken(bothTries, logOf(['a']))).toEqual(['deletion']);
    const after = history().append(1, ['a'], keyed).ended(1, 'info').delete(2).deleted(2);
    expect(broken(after.append(3, ['a'], keyed).appended(3, 0), logOf(['a']))).toEqual([]);
  });

  it('ends what was acknowledged before it while another one takes longer', () => {
    const within = () => history().delete(2).append(1, ['a']).appended(1, 0).delete(3).deleted(3);
    expect(broken(within().read(4, 0).gave(4, ['a']).deleted(2), undefined)).toEqual(['deletion']);
    expect(broken(within().deleted(2), logOf(['a']))).toEqual(['deletion']);
    const withinTwo = history().delete(5).delete(2).append(1, ['a']).appended(1, 0).delete(3).deleted(3).read(4, 0);
    expect(broken(withinTwo.gave(4, ['a']).deleted(2).deleted(5), undefined)).toEqual(['deletion']);
    const both = history().delete(2).append(1, ['a']).appended(1, 0).deleted(2);
    expect(broken(both, logOf(['a']))).toEqual([]);
  });

  it('lets reads that began before its end see what it ends, but none after', () => {
    const during = first().delete(2).read(3, 0).gave(3, ['a', 'b']).deleted(2);
    expect(broken(during, logOf([]))).toEqual([]);
    const begun = first().delete(2).read(3, 0).deleted(2).gave(3, ['a', 'b']);
    expect(broken(begun, logOf([]))).toEqual([]);
    const after = again().delete(4).read(3, 0).gave(3, ['a', 'b']).deleted(4);
    expect(broken(after, logOf([]))).toEqual(['deletion']);
    const unsettled = history().append(1, ['a']).delete(2).deleted(2).delete(4).read(3, 0).gave(3, ['a']);
    expect(broken(unsettled.deleted(4), logOf([]))).toEqual([]);
  });
});

describe('the last life of a topic', () => {
  it('keeps what was asked and acknowledged in it', () => {
    const story = again().append(3, ['c']).appended(3, 0);
    expect(broken(story, logOf(['c']))).toEqual([]);
    expect(broken(story, logOf([]))).toEqual(['R1']);
    expect(broken(story, undefined)).toEqual(['R1']);
    const unsure = again((each) => each.append(3, ['c'])).appended(3, 0);
    expect(broken(unsure, logOf([]))).toEqual([]);
  });

  it('keeps the order of time', () => {
    const story = again().append(3, ['c']).appended(3, 1).append(4, ['d']).appended(4, 0);
    expect(broken(story, logOf(['d', 'c']))).toEqual(['R4']);
    const unsure = again((each) => each.append(3, ['c']))
      .appended(3, 1)
      .append(4, ['d'])
      .appended(4, 0);
    expect(broken(unsure, logOf(['d', 'c']))).toEqual([]);
  });

  it('is seen by whoever asks in it', () => {
    const story = (end: number) => again().append(3, ['c']).appended(3, 0).end(4).saw(4, end);
    expect(broken(story(1), logOf(['c']))).toEqual([]);
    expect(broken(story(2), logOf(['c']))).toEqual(['R9']);
    expect(broken(story(0), logOf(['c']))).toEqual(['R9']);
    const unsure = again((each) => each.end(4))
      .saw(4, 2)
      .append(3, ['c'])
      .appended(3, 0);
    expect(broken(unsure, logOf(['c']))).toEqual([]);
  });

  it('has offsets and producers of its own', () => {
    const by = (epoch: number) => ({ producer: { id: 7, epoch, sequence: 0 } });
    const anew = history().append(1, ['a'], by(2)).appended(1, 0).delete(2).deleted(2).append(3, ['b'], by(1));
    expect(broken(anew.appended(3, 0), logOf(['b']))).toEqual([]);
    const fenced = again().append(3, ['x'], by(2)).appended(3, 0).append(4, ['c'], by(1)).ended(4, 'info');
    expect(broken(fenced, logOf(['x', 'c']))).toEqual(['R6']);
    const keyed = { idempotencyKey: 'k' };
    const twice = history().append(1, ['a'], keyed).appended(1, 3).delete(2).deleted(2).append(3, ['a'], keyed);
    expect(broken(twice.appended(3, 0), logOf(['a']))).toEqual([]);
    const all = [sentRecord('a'), sentRecord('b', { partition: 1 })];
    const atomic = history()
      .append(1, all, { ...keyed, atomic: true })
      .ended(1, 'info')
      .read(4, 0)
      .gave(4, ['a']);
    atomic
      .delete(2)
      .deleted(2)
      .append(3, all, { ...keyed, atomic: true })
      .ended(3, 'info');
    expect(broken(atomic, logOf(['a'], ['b']))).toEqual([]);
  });

  it('tells who appended a record anew', () => {
    const keyed = { idempotencyKey: 'k' };
    const story = history().append(1, ['a'], keyed).ended(1, 'info').append(3, ['a'], keyed).appended(3, 0);
    // The first try may have got through to the new topic, before `x`.
    story.delete(4).deleted(4).append(5, ['x']).appended(5, 1);
    expect(broken(story, logOf(['a', 'x']))).toEqual([]);
  });
});

describe('what holds in all lives', () => {
  it('is that no record failed, was never sent, is twice or is not as it was sent', () => {
    const cut = first().append(3, ['c']).ended(3, 'fail').delete(2);
    expect(broken(cut, logOf(['a', 'b']))).toEqual([]);
    expect(broken(cut, logOf(['c']))).toEqual(['R2']);
    expect(broken(cut, logOf(['x']))).toEqual(['R2']);
    expect(broken(cut, logOf(['a', 'a']))).toEqual(['R5']);
    expect(broken(cut, new Map([[0, [readRecord('a', 0, { key: 'b' })]]]))).toEqual(['R1']);
    expect(broken(cut, new Map([[0, [readRecord('a', 1)]]]))).toEqual(['R3']);
  });

  it('holds for what is read while a deletion is under way too', () => {
    const during = (...records: Parameters<HistoryBuilder['gave']>[1]) =>
      first().append(3, ['c']).ended(3, 'fail').delete(2).read(4, 0).gave(4, records);
    expect(broken(during('a', 'b'), undefined)).toEqual([]);
    expect(broken(during('c'), undefined)).toEqual(['R2']);
    expect(broken(during('x'), undefined)).toEqual(['R2']);
    expect(broken(during(readRecord('a', 0, { key: 'b' })), undefined)).toEqual(['R1']);
    expect(broken(during('a', readRecord('b', 2)), undefined)).toEqual(['R10']);
  });
});

describe('an earlier life', () => {
  const ended = (story: HistoryBuilder) => story.delete(90).deleted(90);

  it('was read as it was acknowledged', () => {
    expect(broken(ended(first().read(3, 0).gave(3, ['a', 'b'])), undefined)).toEqual([]);
    expect(broken(ended(first().read(3, 0).gave(3, ['b', 'a'])), undefined)).toContain('R5');
    const other = first().append(4, ['c']).ended(4, 'info').read(3, 0).gave(3, ['c', 'b']);
    expect(broken(ended(other), undefined)).toEqual(['R1']);
    const apart = history()
      .append(1, ['a', 'b'])
      .append(2, [{ value: 'c' }])
      .ended(2, 'info')
      .read(3, 0)
      .gave(3, ['c']);
    apart.read(4, 0, { partition: 1 }).gave(4, ['c']);
    expect(broken(ended(apart), undefined)).toContain('R5');
    const overlapping = first().append(4, ['c']).ended(4, 'info').read(3, 0).delete(90).gave(3, ['c', 'b']).deleted(90);
    expect(broken(overlapping, undefined)).toEqual([]);
  });

  it('was read alike by all', () => {
    const unsure = () => history().append(1, ['a']).ended(1, 'info').append(2, ['b']).ended(2, 'info');
    const reads = (one: string, two: string) => unsure().read(3, 0).gave(3, [one]).read(4, 0).gave(4, [two]);
    expect(broken(ended(reads('a', 'a')), undefined)).toEqual([]);
    expect(broken(ended(reads('a', 'b')), undefined)).toEqual(['R10']);
    const anyTime = () =>
      history()
        .append(1, [{ value: 'a' }])
        .ended(1, 'info')
        .read(3, 0)
        .read(4, 0);
    const at = (timestampMs: number) => ({ value: 'a', offset: 0, timestampMs });
    expect(
      broken(
        ended(
          anyTime()
            .gave(3, [at(1)])
            .gave(4, [at(1)]),
        ),
        undefined,
      ),
    ).toEqual([]);
    expect(
      broken(
        ended(
          anyTime()
            .gave(3, [at(1)])
            .gave(4, [at(2)]),
        ),
        undefined,
      ),
    ).toEqual(['R10']);
    const between = unsure().read(3, 0).gave(3, ['a']).delete(80).deleted(80).read(4, 0).gave(4, ['b']);
    expect(broken(ended(between), undefined)).toEqual([]);
  });

  it('had an order of time', () => {
    const order = history().append(1, ['a']).appended(1, 5).append(2, ['b']).appended(2, 3);
    expect(broken(ended(order), undefined)).toEqual(['R4']);
    expect(broken(ended(first().end(3).saw(3, 2)), undefined)).toEqual([]);
    expect(broken(ended(first().end(3).saw(3, 1)), undefined)).toEqual(['R9']);
    expect(broken(ended(first().end(3).saw(3, 7)), undefined)).toEqual([]);
    expect(broken(ended(first().read(3, 0).gave(3, ['a'])), undefined)).toEqual(['R10']);
    const readFirst = history().append(1, ['a']).read(3, 0).gave(3, ['a']).appended(1, 0).end(4).saw(4, 0);
    expect(broken(ended(readFirst), undefined)).toEqual(['R9']);
    const early = history().end(3).saw(3, 1).append(1, ['a']).appended(1, 0);
    expect(broken(ended(early), undefined)).toEqual(['R9']);
  });
});
