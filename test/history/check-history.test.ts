import { describe, expect, it } from 'vitest';
import { checkHistory } from './check-history.ts';
import type { FinalLog, RecordFate } from './history.ts';
import { broken, history, logOf, readRecord, sentRecord } from './made/history-builder.ts';

/**
 * For every rule a history that breaks it alone, beside the nearest ones that don't. Reads, the order of what was seen,
 * and deleted topics are in the files of those checks.
 */

const at = (partition: number, offset: number): RecordFate => ({ type: 'ok', partition, offset, duplicate: false });
const failed: RecordFate = { type: 'fail', error: 'throttled' };
const unknown: RecordFate = { type: 'info', error: 'storage_unavailable' };
const in1 = (value: string) => sentRecord(value, { partition: 1 });

describe('R1: an acknowledged record', () => {
  it('is not lost', () => {
    const story = history().append(1, ['a', 'b']).appended(1, 0);
    expect(broken(story, logOf(['a', 'b']))).toEqual([]);
    expect(broken(story, logOf(['a']))).toEqual(['R1']);
    expect(broken(story, undefined)).toEqual(['R1']);
    expect(broken(history().append(1, ['a', 'b']).ended(1, 'info'), logOf(['a']))).toEqual([]);
    expect(broken(history().append(1, ['a', 'b']).fates(1, at(0, 0), unknown), logOf(['a']))).toEqual([]);
    expect(broken(history().append(1, ['a', 'b']).fates(1, unknown, at(0, 0)), logOf(['a']))).toEqual(['R1']);
  });

  it('is not lost either where it was not told where it is', () => {
    const story = history().append(1, ['a']).ended(1, 'ok');
    expect(broken(story, logOf(['a']))).toEqual([]);
    expect(broken(story, logOf([]))).toEqual(['R1']);
  });

  it('is at the offset and in the partition that were told', () => {
    const story = history().append(1, ['a']).append(2, ['b']).appended(1, 0).appended(2, 1);
    expect(broken(story, logOf(['a', 'b']))).toEqual([]);
    expect(broken(story, logOf(['b', 'a']))).toEqual(['R1']);
    const anywhere = sentRecord('a');
    delete (anywhere as { partition?: number }).partition;
    const told = history().append(1, [anywhere]).appended(1, 0, { partition: 1 });
    expect(broken(told, logOf([], ['a']))).toEqual([]);
    expect(broken(told, logOf(['a'], []))).toEqual(['R1']);
  });

  it('is in the partition that was asked for', () => {
    expect(
      broken(
        history()
          .append(1, [in1('a')])
          .ended(1, 'info'),
        logOf([], ['a']),
      ),
    ).toEqual([]);
    expect(
      broken(
        history()
          .append(1, [in1('a')])
          .ended(1, 'info'),
        logOf(['a'], []),
      ),
    ).toEqual(['R1']);
  });

  it('has its key, headers and timestamp', () => {
    const story = history().append(1, ['a']).appended(1, 0);
    const final = (more: Partial<ReturnType<typeof readRecord>>): FinalLog =>
      new Map([[0, [readRecord('a', 0, more)]]]);
    expect(broken(story, final({}))).toEqual([]);
    expect(broken(story, final({ key: 'other' }))).toEqual(['R1']);
    expect(broken(story, final({ headers: { of: 'b' } }))).toEqual(['R1']);
    expect(broken(story, final({ headers: {} }))).toEqual(['R1']);
    expect(broken(story, final({ headers: { of: 'a', more: '' } }))).toEqual(['R1']);
    expect(broken(story, final({ headers: { other: 'a' } }))).toEqual(['R1']);
    expect(broken(story, final({ timestampMs: 1_001 }))).toEqual(['R1']);
  });

  it('has no key or header where none was given, and any timestamp', () => {
    const story = history()
      .append(1, [{ value: 'a' }])
      .appended(1, 0);
    expect(broken(story, new Map([[0, [{ value: 'a', offset: 0, timestampMs: 5, headers: {} }]]]))).toEqual([]);
    expect(broken(story, new Map([[0, [{ value: 'a', offset: 0, timestampMs: 5, key: '' }]]]))).toEqual(['R1']);
    expect(broken(story, new Map([[0, [{ value: 'a', offset: 0, headers: { a: '' } }]]]))).toEqual(['R1']);
  });
});

describe('R2: a record', () => {
  it('that failed is not in the final log, unless another try may have appended it', () => {
    expect(broken(history().append(1, ['a']).ended(1, 'fail'), logOf([]))).toEqual([]);
    expect(broken(history().append(1, ['a']).ended(1, 'fail'), logOf(['a']))).toEqual(['R2']);
    expect(broken(history().append(1, ['a', 'b']).fates(1, at(0, 0), failed), logOf(['a', 'b']))).toEqual(['R2']);
    expect(broken(history().append(1, ['a', 'b']).fates(1, at(0, 0), unknown), logOf(['a', 'b']))).toEqual([]);
    expect(broken(history().append(1, ['a']), logOf(['a']))).toEqual([]);
    const keyed = { idempotencyKey: 'k' };
    const twice = history().append(1, ['a'], keyed).append(2, ['a'], keyed).ended(1, 'info').ended(2, 'fail');
    expect(broken(twice, logOf(['a']))).toEqual([]);
  });

  it('that no one sent, or sent to another topic, is not there', () => {
    expect(broken(history(), logOf(['a']))).toEqual(['R2']);
    expect(broken(history().append(1, ['a'], { topic: 'u' }).ended(1, 'info'), logOf(['a']))).toEqual(['R2']);
  });

  it('that failed, or that no one sent, is not read either', () => {
    const story = history().append(1, ['a']).ended(1, 'fail').append(2, ['b']).appended(2, 0).read(3, 0);
    expect(broken(story.gave(3, ['b']), logOf(['b']))).toEqual([]);
    const failedRead = history().append(1, ['a']).ended(1, 'fail').append(2, ['b']).ended(2, 'info').read(3, 0);
    expect(broken(failedRead.gave(3, ['a']), logOf(['b']))).toEqual(['R2']);
    const inventedRead = history().append(2, ['b']).ended(2, 'info').read(3, 0);
    expect(broken(inventedRead.gave(3, ['a']), logOf(['b']))).toEqual(['R2']);
  });
});

describe('R3: offsets', () => {
  const story = history().append(1, ['a', 'b']).ended(1, 'info');

  it('begin at 0 and have no gap', () => {
    expect(broken(story, logOf(['a', 'b']))).toEqual([]);
    expect(broken(story, new Map([[0, [readRecord('a', 0), readRecord('b', 2)]]]))).toEqual(['R3']);
    expect(broken(story, new Map([[0, [readRecord('a', 1), readRecord('b', 2)]]]))).toEqual(['R3']);
    expect(broken(story, new Map([[0, [readRecord('a', 0), readRecord('b', 0)]]]))).toEqual(['R3']);
    const seen = history().append(1, ['a']).appended(1, 0).append(2, ['b']).appended(2, 2).read(3, 2).gave(3, ['b']);
    expect(broken(seen, new Map([[0, [readRecord('a', 0), readRecord('b', 2)]]]))).toEqual(['R3']);
  });

  it('can be read from 0 on', () => {
    const read = history().append(1, ['a']).appended(1, 0).read(2, 0);
    expect(broken(read.gave(2, ['a'], { logStartOffset: 1 }), logOf(['a']))).toEqual(['R3']);
  });
});

describe('R4: order', () => {
  it('is broken alone where atomic appends stand in pieces', () => {
    const [first, second] = [
      ['a', 'b', in1('z')],
      ['c', in1('y')],
    ];
    const story = history()
      .append(1, first ?? [], { atomic: true })
      .append(2, second ?? [], { atomic: true });
    expect(broken(story, logOf(['a', 'b', 'c'], ['z', 'y']))).toEqual([]);
    expect(broken(story, logOf(['a', 'c', 'b'], ['z', 'y']))).toEqual(['R4']);
  });

  it('is that of the request in each partition', () => {
    const plain = history()
      .append(1, ['a', in1('b'), 'c'])
      .ended(1, 'info')
      .append(2, ['x'])
      .ended(2, 'info');
    expect(broken(plain, logOf(['a', 'c', 'x'], ['b']))).toEqual([]);
    expect(broken(plain, logOf(['a', 'x', 'c'], ['b']))).toEqual([]);
    expect(broken(plain, logOf(['c', 'a', 'x'], ['b']))).toEqual(['R4']);
  });

  it('has nothing between the records of one commit', () => {
    for (const asked of [{ atomic: true }, { idempotencyKey: 'k' }, { expectedOffset: 0 }]) {
      const story = history().append(1, ['a', 'b'], asked).ended(1, 'info').append(2, ['x']).ended(2, 'info');
      expect(broken(story, logOf(['a', 'b', 'x']))).toEqual([]);
      expect(broken(story, logOf(['a', 'x', 'b']))).toEqual(['R4']);
    }
    const producer = { producer: { id: 1, epoch: 0, sequence: 0 } };
    const batches = history().append(1, ['a', 'b'], producer).ended(1, 'info').append(2, ['x']).ended(2, 'info');
    expect(broken(batches, logOf(['a', 'x', 'b']))).toEqual([]);
  });

  it('is that of time, where one was acknowledged before the other began', () => {
    const after = history().append(1, ['a']).appended(1, 1).append(2, ['b']).appended(2, 0);
    expect(broken(after, logOf(['b', 'a']))).toEqual(['R4']);
    const late = history().append(1, ['a']).appended(1, 1).append(2, ['b']).ended(2, 'info');
    expect(broken(late, logOf(['b', 'a']))).toEqual(['R4']);
    const meanwhile = history().append(2, ['b']).append(1, ['a']).appended(1, 1).appended(2, 0);
    expect(broken(meanwhile, logOf(['b', 'a']))).toEqual([]);
    const elsewhere = history()
      .append(1, ['a'])
      .appended(1, 0)
      .append(2, [in1('b')])
      .appended(2, 0, { partition: 1 });
    expect(broken(elsewhere, logOf(['a'], ['b']))).toEqual([]);
  });

  it('counts from the first try that may have appended to the first acknowledgement', () => {
    const keyed = { idempotencyKey: 'k' };
    const first = history().append(1, ['a'], keyed).ended(1, 'info').append(2, ['x']).appended(2, 1);
    expect(broken(first.append(3, ['a'], keyed).appended(3, 0, { duplicate: true }), logOf(['a', 'x']))).toEqual([]);
    const refused = history().append(1, ['a'], keyed).ended(1, 'fail').append(2, ['x']).appended(2, 1);
    expect(broken(refused.append(3, ['a'], keyed).appended(3, 0), logOf(['a', 'x']))).toEqual(['R4']);
    const asNew = history().append(1, ['a'], keyed).ended(1, 'info').append(2, ['x']).appended(2, 1);
    expect(broken(asNew.append(3, ['a'], keyed).appended(3, 0), logOf(['a', 'x']))).toEqual(['R4']);
    const twice = history().append(1, ['a'], keyed).append(2, ['a'], keyed).appended(2, 1).append(3, ['x']);
    expect(broken(twice.appended(3, 0).appended(1, 1, { duplicate: true }), logOf(['x', 'a']))).toEqual(['R4']);
  });

  it('is that of a producer’s sequences', () => {
    const by = (sequence: number, epoch = 0) => ({ producer: { id: 7, epoch, sequence } });
    const two = history().append(1, ['a', 'b'], by(5)).ended(1, 'info').append(2, ['c'], by(7)).ended(2, 'info');
    expect(broken(two, logOf(['a', 'b', 'c']))).toEqual([]);
    expect(broken(two, logOf(['c', 'a', 'b']))).toEqual(['R4']);
    expect(broken(two, logOf(['a', 'c']))).toEqual(['R4']);
    const gap = history().append(1, ['a'], by(0)).ended(1, 'info').append(2, ['b'], by(2)).ended(2, 'info');
    expect(broken(gap, logOf(['a', 'b']))).toEqual(['R4']);
    const anew = history().append(1, ['a'], by(3)).ended(1, 'info').append(2, ['b'], by(0, 1)).ended(2, 'info');
    expect(broken(anew, logOf(['a', 'b']))).toEqual([]);
    const notAnew = history().append(1, ['a'], by(3)).ended(1, 'info').append(2, ['b'], by(4, 1)).ended(2, 'info');
    expect(broken(notAnew, logOf(['a', 'b']))).toEqual(['R4']);
    const wrapped = history().append(1, ['a', 'b'], by(2_147_483_647)).append(2, ['c'], by(1));
    expect(broken(wrapped, logOf(['a', 'b', 'c']))).toEqual([]);
  });
});

describe('R5: once', () => {
  const keyed = { idempotencyKey: 'k' };

  it('is each record in the final log', () => {
    const story = history().append(1, ['a'], keyed).ended(1, 'info').append(2, ['a'], keyed).appended(2, 0);
    expect(broken(story, logOf(['a']))).toEqual([]);
    expect(broken(story, logOf(['a', 'a']))).toEqual(['R5']);
    expect(broken(story, logOf(['a'], ['a']))).toContain('R5');
  });

  it('is the offset that all tries are told', () => {
    const twice = (offset: number) =>
      history().append(1, ['a'], keyed).append(2, ['a'], keyed).appended(1, 0).appended(2, offset, { duplicate: true });
    expect(broken(twice(0), logOf(['a']))).toEqual([]);
    expect(broken(twice(1), logOf(['a']))).toEqual(['R5']);
    const apart = history()
      .append(1, [{ value: 'a' }], keyed)
      .append(2, [{ value: 'a' }], keyed)
      .appended(1, 0);
    apart.appended(2, 0, { partition: 1, duplicate: true });
    expect(broken(apart, new Map([[0, [{ value: 'a', offset: 0 }]]]))).toEqual(['R5']);
  });

  it('is an append at the offset that it expected', () => {
    const story = (expectedOffset: number) => history().append(1, ['a']).append(2, ['b'], { expectedOffset });
    expect(broken(story(1).appended(2, 1), logOf(['a', 'b']))).toEqual([]);
    expect(broken(story(0).appended(2, 1), logOf(['a', 'b']))).toEqual(['R5']);
    expect(broken(story(0).ended(2, 'info'), logOf(['a', 'b']))).toEqual(['R5']);
    const again = history().append(1, ['a']).appended(1, 0).append(2, ['b'], { expectedOffset: 0 }).ended(2, 'fail', 1);
    expect(broken(again.append(3, ['b'], { expectedOffset: 1 }).appended(3, 1), logOf(['a', 'b']))).toEqual([]);
  });
});

describe('R6: a producer epoch', () => {
  const by = (epoch: number, sequence = 0) => ({ producer: { id: 7, epoch, sequence } });
  const two = () => history().append(1, ['a'], by(1)).ended(1, 'info').append(2, ['b'], by(2)).ended(2, 'info');

  it('does not go back in a partition', () => {
    expect(broken(two(), logOf(['a', 'b']))).toEqual([]);
    expect(broken(two(), logOf(['b', 'a']))).toEqual(['R6']);
    const others = history()
      .append(1, ['a'], by(1))
      .append(2, ['b'], { producer: { id: 8, epoch: 0, sequence: 0 } });
    expect(broken(others, logOf(['a', 'b']))).toEqual([]);
  });

  it('is shut out of a partition by a newer one there, and of no other partition', () => {
    const newer = () => history().append(1, ['a'], by(2)).appended(1, 0);
    expect(broken(newer().append(2, ['b'], by(1)).ended(2, 'fail'), logOf(['a']))).toEqual([]);
    expect(broken(newer().append(2, ['b'], by(1)).ended(2, 'info'), logOf(['b', 'a']))).toContain('R4');
    expect(broken(newer().append(2, ['b'], by(1)).appended(2, 1), logOf(['a', 'b']))).toEqual(['R6']);
    const elsewhere = newer()
      .append(2, [in1('b')], by(1))
      .appended(2, 0, { partition: 1 });
    expect(broken(elsewhere, logOf(['a'], ['b']))).toEqual([]);
  });

  it('may be told of what it wrote before a newer one, but not write it then', () => {
    const before = () => history().append(1, ['b'], by(1)).ended(1, 'info').append(2, ['a'], by(2)).appended(2, 1);
    const again = (duplicate: boolean) => before().append(3, ['b'], by(1)).appended(3, 0, { duplicate });
    expect(broken(again(true), logOf(['b', 'a']))).toEqual([]);
    expect(broken(again(false), logOf(['b', 'a']))).toEqual(['R4']);
  });
});

describe('a history', () => {
  const judge = (story: { readonly events: Parameters<typeof checkHistory>[0] }) => () =>
    checkHistory(story.events, new Map());

  it('of nothing breaks nothing', () => {
    expect(broken(history(), undefined)).toEqual([]);
    expect(broken(history(), logOf([], []))).toEqual([]);
  });

  it('with many violations tells the first twenty', () => {
    const values = Array.from({ length: 100 }, (_, i) => `v${i}`);
    expect(checkHistory([], new Map([['t', logOf(values)]]))).toHaveLength(20);
    expect(checkHistory([], new Map([['t', logOf(values.slice(0, 19))]]))).toHaveLength(19);
    expect(checkHistory(history().append(1, values).appended(1, 0).events, new Map())).toHaveLength(20);
  });

  it('that makes no sense is refused', () => {
    expect(judge(history().append(1, ['a']).append(1, ['b']))).toThrow('Event 1 makes no sense: operation 1 has begun');
    expect(judge(history().ended(1, 'ok'))).toThrow('operation 1 has not begun');
    expect(judge(history().append(1, ['a']).ended(1, 'info').ended(1, 'ok'))).toThrow('operation 1 has not begun');
    expect(judge(history().append(1, ['a']).fates(1))).toThrow('0 outcomes of 1 records');
    expect(judge(history().append(1, ['a']).saw(1, 0))).toThrow('operation 1 began as append of t');
    const elsewhere = { op: 1, process: 'p', time: 0, topic: 'u', type: 'ok', f: 'append' } as const;
    const { events: begun } = history().append(1, ['a']);
    expect(judge({ events: [...begun, elsewhere] })).toThrow('operation 1 began as append of t');
    expect(judge(history().append(1, ['a', 'a']).ended(1, 'ok'))).toThrow('a value that the append has twice');
    const half = { type: 'ok', f: 'read', highWatermark: 0 } as const;
    const events = history().read(1, 0).events;
    expect(judge({ events: [...events, { op: 1, process: 'p', time: 0, topic: 't', ...half }] })).toThrow(
      'read 1 ended ok without an answer',
    );
  });

  it('has a value in one append only, and in another try of it where the log can tell that it is one', () => {
    const two = (first: object, second: object, values = ['a']) =>
      judge(history().append(1, ['a'], first).ended(1, 'info').append(2, values, second).ended(2, 'info'));
    expect(two({ idempotencyKey: 'k' }, { idempotencyKey: 'k' })).not.toThrow();
    expect(two({ expectedOffset: 3 }, { expectedOffset: 3 })).not.toThrow();
    expect(two({}, {})).toThrow('no try of operation 1');
    expect(two({ idempotencyKey: 'k' }, { idempotencyKey: 'l' })).toThrow('no try of operation 1');
    expect(two({ expectedOffset: 3 }, { expectedOffset: 4 })).toThrow('no try of operation 1');
    const by = (sequence: number, epoch = 0, id = 1) => ({ producer: { id, epoch, sequence } });
    expect(two(by(0), by(0))).not.toThrow();
    expect(two(by(0), by(1))).toThrow('no try of operation 1');
    expect(two(by(0), by(0, 1))).toThrow('no try of operation 1');
    expect(two(by(0), by(0, 0, 2))).toThrow('no try of operation 1');
    expect(two({ idempotencyKey: 'k' }, { idempotencyKey: 'k' }, ['a', 'b'])).toThrow('in another append');
    const others = history().append(1, ['a', 'b']).ended(1, 'fail').append(2, ['a', 'c']).ended(2, 'fail');
    expect(judge(others)).toThrow('in another append');
    const elsewhere = history().append(1, ['a']).ended(1, 'fail').append(2, ['a'], { topic: 'u' }).ended(2, 'fail');
    expect(judge(elsewhere)).toThrow('in another append');
    expect(two({}, {}, ['b', 'a'])).toThrow('a value that the append has twice, or that another has');
    const again = history().append(1, ['a']).ended(1, 'fail').append(2, ['a']).appended(2, 0);
    expect(broken(again, logOf(['a']))).toEqual([]);
  });
});
