import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { partitionsOfAssignment } from '../../../../../shared/log/group/classic/consumer-assignment.ts';
import { assignmentOf } from '../../../../support/classic-world.ts';

describe('the partitions of an assignment', () => {
  it.each([0, 1, 2, 3, 9])('are read from version %i', (version) => {
    expect(partitionsOfAssignment(assignmentOf({ b: [3, 0], a: [] }, { version }))).toEqual([
      { topic: 'b', partitions: [0, 3] },
      { topic: 'a', partitions: [] },
    ]);
  });

  it('are read if more follows, as of later versions', () => {
    const longer = new Uint8Array([...assignmentOf({ a: [1] }), 1, 2, 3]);
    expect(partitionsOfAssignment(longer)).toEqual([{ topic: 'a', partitions: [1] }]);
  });

  it('are none in bytes of another form', () => {
    const whole = assignmentOf({ orders: [1, 2] });
    expect(partitionsOfAssignment(new Uint8Array())).toEqual([]);
    expect(partitionsOfAssignment(assignmentOf({ a: [1] }, { version: -1 }))).toEqual([]);
    expect(partitionsOfAssignment(whole.subarray(0, 12))).toEqual([]);
    // A count that no memory could hold.
    expect(partitionsOfAssignment(new Uint8Array([0, 1, 0x7f, 0xff, 0xff, 0xff]))).toEqual([]);
  });

  it('never throw, and name each partition once', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        for (const { partitions } of partitionsOfAssignment(bytes))
          expect(new Set(partitions).size).toBe(partitions.length);
      }),
    );
    expect(partitionsOfAssignment(assignmentOf({ a: [1, 1, -1] }))).toEqual([{ topic: 'a', partitions: [1] }]);
  });
});
