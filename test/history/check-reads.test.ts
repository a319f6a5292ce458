import { describe, expect, it } from 'vitest';
import { broken, history, logOf, readRecord } from './made/history-builder.ts';

/** R10. What a read proves of the order is in `check-order.test.ts`. */

const written = () => history().append(1, ['a', 'b', 'c']).appended(1, 0).read(2, 1);
const final = logOf(['a', 'b', 'c']);

describe('a read', () => {
  it('gives the records from where it began, without a gap', () => {
    expect(broken(written().gave(2, ['b', 'c']), final)).toEqual([]);
    expect(broken(written().gave(2, ['b'], { highWatermark: 3 }), final)).toEqual([]);
    expect(broken(written().gave(2, ['c'], { offset: 2 }), final)).toEqual(['R10']);
    expect(broken(written().gave(2, ['a', 'b', 'c'], { offset: 0 }), final)).toEqual(['R10']);
    const gap = [readRecord('b', 1), readRecord('c', 3)];
    expect(broken(written().gave(2, gap, { highWatermark: 3 }), final)).toEqual(['R10']);
  });

  it('begins anywhere where no offset was asked for', () => {
    const anywhere = () => history().append(1, ['a', 'b', 'c']).appended(1, 0).read(2);
    expect(broken(anywhere().gave(2, ['b', 'c'], { offset: 1 }), final)).toEqual([]);
    expect(broken(anywhere().gave(2, [], { offset: 3 }), final)).toEqual([]);
    const gap = [readRecord('a', 0), readRecord('c', 2)];
    expect(broken(anywhere().gave(2, gap, { nextOffset: 3 }), final)).toEqual(['R10']);
  });

  it('tells where to go on, which is behind its last record', () => {
    expect(broken(written().gave(2, ['b'], { nextOffset: 2, highWatermark: 3 }), final)).toEqual([]);
    expect(broken(written().gave(2, ['b'], { nextOffset: 3, highWatermark: 3 }), final)).toEqual(['R10']);
    expect(broken(written().gave(2, ['b', 'c'], { nextOffset: 2, highWatermark: 3 }), final)).toEqual(['R10']);
  });

  it('ends at its high watermark, and is not empty below it', () => {
    const unsure = () => history().append(1, ['a', 'b', 'c']).ended(1, 'info').read(2, 1);
    expect(broken(unsure().gave(2, ['b'], { highWatermark: 2 }), final)).toEqual([]);
    expect(broken(unsure().gave(2, ['b'], { highWatermark: 1 }), final)).toEqual(['R10']);
    expect(broken(unsure().gave(2, [], { highWatermark: 1 }), final)).toEqual([]);
    expect(broken(unsure().gave(2, [], { highWatermark: 2 }), final)).toEqual(['R10']);
  });

  it('gives what the final log has, byte for byte', () => {
    const gave = (record: ReturnType<typeof readRecord>) => written().gave(2, [record], { highWatermark: 3 });
    expect(broken(gave(readRecord('b', 1)), final)).toEqual([]);
    expect(broken(gave(readRecord('c', 1)), final)).toEqual(['R10']);
    expect(broken(gave(readRecord('b', 1, { key: 'other' })), final)).toEqual(['R1']);
    const anyTime = () =>
      history()
        .append(1, [{ value: 'a' }])
        .appended(1, 0)
        .read(2, 0);
    const at = (timestampMs: number) => ({ value: 'a', offset: 0, timestampMs });
    expect(broken(anyTime().gave(2, [at(5)]), new Map([[0, [at(5)]]]))).toEqual([]);
    expect(broken(anyTime().gave(2, [at(5)]), new Map([[0, [at(6)]]]))).toEqual(['R10']);
  });

  it('gives nothing that is gone in the end', () => {
    const story = (type: 'info' | 'fail') => history().append(1, ['a']).ended(1, type).read(2, 0).gave(2, ['a']);
    expect(broken(story('info'), logOf(['a']))).toEqual([]);
    expect(broken(story('info'), logOf([]))).toEqual(['R10', 'R9']);
    expect(broken(story('info'), undefined)).toEqual(['R10', 'R9']);
  });

  it('misses nothing that was acknowledged before it began', () => {
    const appendedBefore = (end: number) =>
      history().append(1, ['a']).appended(1, 0).read(2, 0).gave(2, ['a'].slice(0, end));
    expect(broken(appendedBefore(1), logOf(['a']))).toEqual([]);
    expect(broken(appendedBefore(0), logOf(['a']))).toEqual(['R10']);
    const meanwhile = history().append(1, ['a']).read(2, 0).appended(1, 0).gave(2, []);
    expect(broken(meanwhile, logOf(['a']))).toEqual([]);
    const unsure = history().append(1, ['a']).ended(1, 'info').read(2, 0).gave(2, []);
    expect(broken(unsure, logOf(['a']))).toEqual([]);
    const elsewhere = history().append(1, ['a']).appended(1, 0).read(2, 0, { partition: 1 }).gave(2, []);
    expect(broken(elsewhere, logOf(['a'], []))).toEqual([]);
  });
});
