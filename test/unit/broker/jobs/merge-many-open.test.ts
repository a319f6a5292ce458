import { beforeEach, describe, expect, it } from 'vitest';
import { appendBatches } from '../../../../shared/broker/append/append-batches.ts';
import type { HeadName } from '../../../../shared/broker/heads/items.ts';
import { nodeKey, readHead } from '../../../../shared/broker/heads/items.ts';
import { expireHead } from '../../../../shared/broker/jobs/expire/expire-head.ts';
import { mergeHead } from '../../../../shared/broker/jobs/merge/merge-head.ts';
import { sweepHead } from '../../../../shared/broker/jobs/sweep/sweep-head.ts';
import { putTopic } from '../../../../shared/broker/topics/put-topic.ts';
import { encodeBatch } from '../../../../shared/log/batch/record-batch.ts';
import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import type { Topic } from '../../../../shared/log/topic/topic.ts';
import { beforeRequests } from '../../../support/maintained-log.ts';
import { bytes, memoryStores } from '../../../support/memory-broker.ts';
import { appendBatch, type LogProcess, logProcess, mark, readValues } from '../../../support/transactional-log.ts';

const HOUR_MS = 3_600_000;
const PARTITIONS = 3;
/** More than a head can hold, so that it refers to its newest node for them; they fill whole nodes. */
const OPEN = 5 * TAIL_NODE_ENTRIES;
const PRODUCERS = Array.from({ length: OPEN }, (_, i) => 100 + i);

describe('a head whose many open transactions have all ended in its tail', () => {
  let stores: ReturnType<typeof memoryStores>;
  let topic: Topic;
  let name: HeadName;

  beforeEach(async () => {
    stores = memoryStores();
    const writer = logProcess(stores);
    await putTopic(writer.context, { name: 't', partitions: PARTITIONS });
    topic = await writer.context.topics.get('t');
    name = { topicId: topic.topicId, headNumber: 0 };
    for (const producerId of PRODUCERS) await append(writer, producerId, 0, 1);
    await Promise.all(
      PRODUCERS.map((producerId) =>
        mark(writer, topic, 0, { producerId, producerEpoch: 1, transaction: 1, outcome: 'committed' }),
      ),
    );
    await writer.groupCommit.idle();
    expect(await readHead(stores.items, name)).toMatchObject({ openBeforeTail: 'in_node', firstEntry: OPEN });
  });

  async function append(writer: LogProcess, producerId: number, sequence: number, transaction?: number): Promise<void> {
    const batch = {
      partition: producerId % PARTITIONS,
      producerId,
      baseSequence: sequence,
      values: ['v'],
      transaction,
    };
    expect(await appendBatch(writer, batch)).toMatchObject({ ok: true });
    await writer.groupCommit.idle();
  }

  /** What the jobs do while nobody appends; the grace of a merged node ends meanwhile. */
  async function pass(hours: number): Promise<void> {
    for (let i = 0; i < hours; i++) {
      await stores.clock.advance(HOUR_MS);
      await mergeHead(logProcess(stores).context, topic, 0);
      await sweepHead(logProcess(stores).context, topic, 0);
    }
  }

  it('keeps the node that it refers to, and can be read and written by processes that come later', async () => {
    await pass(4);
    const later = logProcess(stores);
    for (const isolation of ['read_committed', 'read_uncommitted'] as const)
      for (let partition = 0; partition < PARTITIONS; partition++)
        expect(await readValues(later, partition, isolation)).toHaveLength(
          PRODUCERS.filter((producerId) => producerId % PARTITIONS === partition).length,
        );
    await append(later, 999, 0, 1);
    await expireHead(later.context, topic, 0);
  });

  it('has that node merged when the tail was moved again', async () => {
    await pass(1);
    expect((await mergeHead(logProcess(stores).context, topic, 0, { force: true })).list.mergedEntry).toBe(
      OPEN - TAIL_NODE_ENTRIES,
    );
    const later = logProcess(stores);
    for (let i = 0; i < TAIL_NODE_ENTRIES; i++) await append(later, 999, i);
    const { list } = await mergeHead(later.context, topic, 0, { force: true });
    expect(list.mergedEntry).toBeGreaterThanOrEqual(OPEN);
    expect((await readHead(stores.items, name)).openBeforeTail).toEqual([]);
  });

  it('is not moved again and again where its node is missing', async () => {
    await stores.items.delete(nodeKey(name, OPEN - TAIL_NODE_ENTRIES));
    let queries = 0;
    const counting = beforeRequests(stores, async (request) => {
      if (request === 'query' && ++queries > 100) throw new Error('asked 100 times');
    });
    const { context, groupCommit } = logProcess(counting);
    for (let i = 0; i < TAIL_NODE_ENTRIES; i++) {
      const record = { key: null, value: bytes('v'), headers: [], timestampMs: 1_000 };
      await appendBatches(context, groupCommit, {
        batches: [{ topic: 't', partition: 0, batch: encodeBatch([record]) }],
      });
      await groupCommit.idle();
    }
    expect(queries).toBeLessThan(100);
  });
});
