import { appendBatches } from '../../shared/broker/append/append-batches.ts';
import { GroupCommit } from '../../shared/broker/append/group-commit.ts';
import { markHead } from '../../shared/broker/append/mark-head.ts';
import type { AppendOutcome } from '../../shared/broker/append/outcomes.ts';
import type { BrokerContext } from '../../shared/broker/context.ts';
import { nodesBetween, readHead } from '../../shared/broker/heads/items.ts';
import { makeContext } from '../../shared/broker/make-context.ts';
import type { Isolation } from '../../shared/broker/read/isolation.ts';
import { read } from '../../shared/broker/read/read.ts';
import { takeRecords } from '../../shared/broker/read/read-records.ts';
import { encodeBatch } from '../../shared/log/batch/record-batch.ts';
import { type PlacedPart, placeNode, placeTail } from '../../shared/log/head/head.ts';
import type { Topic } from '../../shared/log/topic/topic.ts';
import { bytes, type MemoryStores, SeededRandom, text } from './memory-broker.ts';

/** Processes that write transactions straight to heads, without a transactional id. */

export interface LogProcess {
  readonly context: BrokerContext;
  readonly groupCommit: GroupCommit;
}

let processes = 0;

export function logProcess(stores: MemoryStores): LogProcess {
  const context = makeContext({ ...stores, random: new SeededRandom(0xab0 + processes++) });
  return { context, groupCommit: new GroupCommit(context) };
}

export interface TransactionalBatch {
  readonly partition: number;
  readonly producerId: number;
  readonly producerEpoch?: number;
  readonly baseSequence: number;
  readonly values: readonly string[];
  /** The key of each value; without them, no record has one. */
  readonly keys?: readonly string[] | undefined;
  /** `undefined`: the batch is a plain one. */
  readonly transaction?: number | undefined;
}

/** Appends one batch to the topic `t`. */
export async function appendBatch(
  { context, groupCommit }: LogProcess,
  { partition, producerId, producerEpoch = 0, baseSequence, values, keys, transaction }: TransactionalBatch,
): Promise<AppendOutcome> {
  const records = values.map((value, i) => {
    const key = keys?.[i];
    return { key: key === undefined ? null : bytes(key), value: bytes(value), headers: [], timestampMs: 1_000 };
  });
  const batch = encodeBatch(records, {
    producer: { producerId, producerEpoch, baseSequence },
    transactional: transaction !== undefined,
  });
  const [outcome] = await appendBatches(context, groupCommit, {
    batches: [{ topic: 't', partition, batch }],
    transaction: transaction === undefined ? undefined : { number: transaction, beginsAtZero: true },
  });
  return outcome as AppendOutcome;
}

/** Ends a transaction in one head of the topic `t`. */
export async function mark(
  { context, groupCommit }: LogProcess,
  { topicId }: Topic,
  headNumber: number,
  marker: Parameters<typeof markHead>[3],
): Promise<void> {
  await markHead(context, groupCommit, { topicId, topic: 't', headNumber }, marker);
}

/** The values from an offset to the end, by as many reads as are needed. */
export async function readValues(
  { context }: LogProcess,
  partition: number,
  isolation: Isolation,
  offset = 0,
): Promise<string[]> {
  const values: string[] = [];
  for (let next = offset; ; ) {
    const result = await read(context, { topic: 't', partition, from: { offset: next }, isolation, maxBytes: 200 });
    for await (const records of takeRecords(result, { records: 1_000_000, bytes: 1_000_000 }))
      values.push(...records.map(({ value }) => text(value)));
    if (result.nextOffset === next) return values;
    next = result.nextOffset;
  }
}

/** Everything that was ever appended to a head, in order, from its nodes and its tail. */
export async function wholeHead(
  { context }: LogProcess,
  { topicId }: Topic,
  headNumber: number,
): Promise<PlacedPart[]> {
  const { items } = context.usage.of('t', 'read');
  const name = { topicId, headNumber };
  const head = await readHead(items, name);
  const placed: PlacedPart[] = [];
  for await (const node of nodesBetween(items, name, 0, head.firstEntry)) placed.push(...placeNode(node));
  return [...placed, ...placeTail(head)];
}
