import { createRequire } from 'node:module';
import { murmur2 as murmur2OfPlatformatic } from '@platformatic/kafka';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { murmur2, partitionForKey } from '../../../../shared/log/topic/partitioner.ts';

const murmur2OfKafkaJs = createRequire(import.meta.url)('kafkajs/src/producer/partitioners/default/murmur2') as (
  key: Buffer,
) => number;
const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

describe('the default partitioner', () => {
  // org.apache.kafka.common.utils.UtilsTest#testMurmur2
  it.each([
    ['21', -973932308],
    ['foobar', -790332482],
    ['a-little-bit-long-string', -985981536],
    ['a-little-bit-longer-string', -1486304829],
    ['lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8', -58897971],
    ['abc', 479470107],
  ])('hashes "%s" as Kafka does', (key, hash) => {
    expect(murmur2(utf8(key))).toBe(hash);
  });

  it('agrees with other clients on every key', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70 }), fc.integer({ min: 1, max: 10_000 }), (key, partitions) => {
        const hash = murmur2(key);
        expect(murmur2OfKafkaJs(Buffer.from(key))).toBe(hash);
        // This one answers with the sign bit dropped already.
        expect(murmur2OfPlatformatic(Buffer.from(key)) & 0x7fffffff).toBe(hash & 0x7fffffff);
        const partition = partitionForKey(key, partitions);
        expect(partition).toBe((hash & 0x7fffffff) % partitions);
        expect(partition >= 0 && partition < partitions).toBe(true);
      }),
      { numRuns: 1_000 },
    );
  });
});
