import { EventLogError } from '../../log/errors.ts';
import { schedule, scheduleBy } from '../../log/segment/list-changes.ts';
import type { JobName } from '../../log/segment/segment-list.ts';
import type { Topic } from '../../log/topic/topic.ts';
import {
  DUE_SHARDS,
  type DueName,
  dueKey,
  duePartitionKey,
  dueSortKeyEnd,
  parseDueSortKey,
} from '../../storage/keys.ts';
import type { BrokerContext } from '../context.ts';
import { dueItemState } from '../heads/due-items.ts';
import { readSegmentList, updateSegmentList } from '../heads/segment-list-store.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import type { HeadJobOptions, HeadJobResult } from './head-job.ts';

export type HeadJob<Result extends HeadJobResult> = (
  context: BrokerContext,
  topic: Topic,
  headNumber: number,
  options: HeadJobOptions,
) => Promise<Result>;

export interface DueRun<Result> {
  /** What the job did for each head that it visited, without the heads' lists: those of all heads would not fit in memory. */
  readonly results: readonly Omit<Result, 'list'>[];
  /** The number of heads whose visit failed, and of partitions that a job could not process. A later run visits them again. */
  readonly blocked: number;
  /** The first error of these. */
  readonly error: EventLogError | undefined;
  /** Whether all heads were visited that were due; otherwise the next run goes on with the others. */
  readonly complete: boolean;
}

const ITEMS_PER_QUERY = 100;
/** Heads that are visited at once. */
const HEADS_AT_ONCE = 4;

/**
 * Runs a job for every head that is due (docs/design/0007, "What is due"). A head that fails does not keep the job from the
 * others. Any number of runs may be active at once. Costs 1 Query for each of 8 shards, and 1 more for each 100 heads; for
 * each head 1 GetItem, what the job does, and 3 writes to schedule its next visit.
 * @throws any error that is not an `EventLogError`: such an error is a bug
 */
export async function runDue<Result extends HeadJobResult>(
  context: BrokerContext,
  job: JobName,
  run: HeadJob<Result>,
  { signal }: HeadJobOptions = {},
  headsAtOnce = HEADS_AT_ONCE,
): Promise<DueRun<Result>> {
  const results: Omit<Result, 'list'>[] = [];
  let blocked = 0;
  let first: EventLogError | undefined;
  const visit = async (name: DueName, listings: number): Promise<void> => {
    try {
      const result = await visitHead(context, job, run, name, { signal, listings });
      if (result === undefined) return;
      const { list: _, ...done } = result;
      results.push(done);
      blocked += result.blocked ?? 0;
      first ??= result.error;
    } catch (error) {
      if (!(error instanceof EventLogError)) throw error;
      first ??= error;
      blocked++;
    }
  };
  const { items } = context.usage.of(NO_TOPIC, 'maintain');
  const to = dueSortKeyEnd(context.clock.nowMs());
  let more = false;
  for (let shard = 0; shard < DUE_SHARDS && !signal?.aborted; shard++) {
    let from = '';
    do {
      const page = await items.query({ pk: duePartitionKey(job, shard), from, to, limit: ITEMS_PER_QUERY });
      const { listings } = context.topics;
      for (let at = 0; at < page.items.length && !signal?.aborted; at += headsAtOnce) {
        const names = page.items.slice(at, at + headsAtOnce).map(({ sk }) => dueNameOf(sk));
        await Promise.all(names.map((name) => visit(name, listings)));
      }
      from = `${page.items.at(-1)?.sk}\0`;
      more = page.more;
    } while (more && !signal?.aborted);
  }
  return { results, blocked, error: first, complete: !signal?.aborted };
}

/**
 * Runs a job for one head that something else than its due item has pointed to, and makes sure that a due item names the
 * time at which the job wants to look again. Costs what the job does, and 3 writes if the list names none or a later one.
 */
export async function runOnHead<Result extends HeadJobResult, Options extends HeadJobOptions>(
  context: BrokerContext,
  job: JobName,
  run: (context: BrokerContext, topic: Topic, headNumber: number, options: Options) => Promise<Result>,
  topic: Topic,
  headNumber: number,
  options: Options,
): Promise<Result> {
  const result = await run(context, topic, headNumber, options);
  const { items } = context.usage.of(topic.name, 'maintain');
  const { list } = await updateSegmentList(
    context,
    items,
    { topicId: topic.topicId, headNumber },
    (now) => {
      const scheduled = scheduleBy(now, job, result.nextAtMs);
      return { list: scheduled === now ? undefined : scheduled, result: undefined };
    },
    result.list,
  );
  return { ...result, list };
}

function dueNameOf(sk: string): DueName {
  const name = parseDueSortKey(sk);
  if (name === undefined) throw new EventLogError('corrupt_data', `A due item has the sort key '${sk}'.`);
  return name;
}

/** `undefined` if the item does not count, or no longer. */
async function visitHead<Result extends HeadJobResult>(
  context: BrokerContext,
  job: JobName,
  run: HeadJob<Result>,
  due: DueName,
  options: HeadJobOptions & { readonly listings: number },
): Promise<Result | undefined> {
  const name = { topicId: due.topicId, headNumber: due.headNumber };
  // An item is deleted only if its topic is gone for certain, and not because it was made just now.
  const topic = await context.topics.byId(due.topicId, options.listings);
  const { items } = context.usage.of(topic?.name ?? NO_TOPIC, 'maintain');
  const drop = () => items.delete(dueKey(job, due));
  if (topic === undefined) {
    await drop();
    return undefined;
  }
  const state = dueItemState(await readSegmentList(items, name), job, due);
  if (state === 'leftover') await drop();
  if (state !== 'counts') return undefined;
  const result = await run(context, topic, due.headNumber, options);
  const { nextAtMs } = result;
  await updateSegmentList(
    context,
    items,
    name,
    (list) => {
      const named = list.due[job];
      const isOurs = named === undefined || (named.atMs === due.dueAtMs && named.version === due.version);
      // Whoever has scheduled the job since knew something that this visit may not have seen.
      const scheduled = isOurs ? schedule(list, job, nextAtMs) : scheduleBy(list, job, nextAtMs);
      return { list: scheduled === list ? undefined : scheduled, result: undefined };
    },
    result.list,
  );
  return result;
}
