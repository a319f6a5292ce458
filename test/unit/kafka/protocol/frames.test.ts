import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameLengthError, FrameReader } from '../../../../shared/kafka/protocol/frames.ts';

function framed(content: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(4 + content.length);
  frame.writeInt32BE(content.length);
  frame.set(content, 4);
  return new Uint8Array(frame);
}

describe('frames', () => {
  it('are the same however their bytes are split', () => {
    const contents = fc.array(fc.uint8Array({ minLength: 1, maxLength: 3_000 }), { maxLength: 6 });
    fc.assert(
      fc.property(
        contents,
        fc.infiniteStream(fc.integer({ min: 1, max: 1_500 })),
        fc.boolean(),
        (given, sizes, small) => {
          const all = Buffer.concat(given.map(framed));
          const reader = new FrameReader(10_000);
          const read: Uint8Array[] = [];
          for (let at = 0; at < all.length; ) {
            const size = small ? 1 : (sizes.next().value as number);
            reader.push(new Uint8Array(all.subarray(at, at + size)));
            at += size;
            for (let frame = reader.next(); frame !== undefined; frame = reader.next()) read.push(frame);
          }
          expect(read.map((frame) => Buffer.from(frame).toString('hex'))).toEqual(
            given.map((content) => Buffer.from(content).toString('hex')),
          );
          expect(reader.isInFrame).toBe(false);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keep the order of many single bytes', () => {
    const content = Uint8Array.from({ length: 5_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
    const reader = new FrameReader(10_000);
    for (const byte of framed(content)) {
      expect(reader.next()).toBeUndefined();
      reader.push(Uint8Array.of(byte));
    }
    expect(reader.next()).toEqual(content);
    expect(reader.next()).toBeUndefined();
  });

  it.each([0, -1, 101, 0x7fffffff, -0x80000000])('have no length %i', (length) => {
    const reader = new FrameReader(100);
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(length);
    reader.push(new Uint8Array(bytes));
    expect(() => reader.next()).toThrow(FrameLengthError);
  });

  it('that come as single bytes take little more memory than their bytes', () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const reader = new FrameReader(1_000_000);
    reader.push(framed(new Uint8Array(1_000_000)).subarray(0, 4));
    expect(reader.next()).toBeUndefined();
    gc();
    const before = process.memoryUsage();
    for (let i = 0; i < 500_000; i++) reader.push(new Uint8Array(1));
    gc();
    const after = process.memoryUsage();
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(10_000_000);
    expect(reader.announced).toBe(1_000_000);
  });
});
