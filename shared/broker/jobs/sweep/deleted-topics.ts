import { EventLogError } from '../../../log/errors.ts';
import type { Entry } from '../../../log/head/entry.ts';
import {
  BATCH_SHARDS,
  checkpointKey,
  GARBAGE,
  garbageKey,
  HEAD,
  headKey,
  inlineBatchPartitionKey,
  producerPartitionKey,
  segmentObjectPrefix,
  segmentsPartitionKey,
  usePartitionKey,
} from '../../../storage/keys.ts';
import type { Attributes, ItemKey, Stores } from '../../../storage/ports.ts';
import { abortedPartitionKey } from '../../../storage/transaction-keys.ts';
import type { BrokerContext } from '../../context.ts';
import { type Ask, type HeadName, headFromAttributes, nodeKey, queryNodes } from '../../heads/items.ts';
import { retrying } from '../../retry.ts';
import { eachOf } from '../../topics/each-head.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import type { HeadJobOptions } from '../head-job.ts';
import { deleteDataOf } from './delete-data.ts';

export interface SweptTopics {
  /** Deleted topics of which nothing is left that was there at the time. */
  readonly topicsSwept: number;
  readonly headsSwept: number;
  /** The number of deleted topics that could not be swept. The next run tries again. */
  readonly topicsFailed: number;
  /** The first error of these; `topicId` in its details names the topic. */
  readonly error: EventLogError | undefined;
  /** Whether all topics that are due were visited; otherwise the next run continues. */
  readonly complete: boolean;
}

/** A run visits pages of so many topics until it has swept as many: those that fail take no other's place. */
const TOPICS_PER_RUN = 100;
const ITEMS_PER_STEP = 256;
/** Processes that stood still since before the deletion may still write. A second sweep finds what they write. */
const AGAIN_AFTER_MS = 24 * 3_600_000;
/** A head says for this long that it is closed, for commits that were sent before. */
const CLOSED_KEPT_MS = 30 * 24 * 3_600_000;

/**
 * Deletes everything of topics whose time as garbage has come: nodes and tail with their data, inline batches, producers,
 * uses, lists, segments. Heads stay closed for 30 days, so that no commit succeeds however late it comes. Idempotency keys
 * and due items are removed where they are kept. A day later a topic is swept again, for what came late. A topic that fails
 * does not keep the job from the others.
 *
 * Costs 1 Query, 1 more for each 100 topics if some of them fail, and for each head of a topic about 10 requests + what is
 * deleted; 1 ListObjectsV2 for 256 segments.
 */
export async function sweepDeletedTopics(
  context: BrokerContext,
  { signal }: HeadJobOptions = {},
): Promise<SweptTopics> {
  const stores = context.usage.of(NO_TOPIC, 'maintain');
  const { pk, sk: to } = garbageKey(context.clock.nowMs() + 1, '');
  const swept = { topicsSwept: 0, headsSwept: 0, topicsFailed: 0, error: undefined as EventLogError | undefined };
  let from = '';
  let more = true;
  while (more && swept.topicsSwept < TOPICS_PER_RUN) {
    const range = { pk, from, to, limit: TOPICS_PER_RUN };
    const page = await retrying(context, 'not_applied', () => stores.items.query(range));
    for (const { sk, attributes } of page.items) {
      const sweep = new TopicSweep(context, stores, { pk, sk }, attributes, signal);
      try {
        if (!(await sweep.run())) return { ...swept, headsSwept: swept.headsSwept + sweep.headsSwept, complete: false };
        swept.topicsSwept++;
      } catch (error) {
        if (!(error instanceof EventLogError)) throw error;
        swept.topicsFailed++;
        swept.error ??= ofTopic(String(attributes[GARBAGE.topicId]), error);
      }
      swept.headsSwept += sweep.headsSwept;
    }
    from = `${page.items.at(-1)?.sk}\0`;
    more = page.more;
  }
  return { ...swept, complete: !more };
}

function ofTopic(topicId: string, cause: EventLogError): EventLogError {
  const { code, message, retry, outcome, details } = cause;
  const text = `The deleted topic '${topicId}' could not be swept: ${message}`;
  return new EventLogError(code, text, { retry, outcome, details: { ...details, topicId }, cause });
}

class TopicSweep {
  headsSwept = 0;
  readonly #context: BrokerContext;
  readonly #stores: Stores;
  readonly #garbage: ItemKey;
  readonly #attributes: Attributes;
  readonly #topicId: string;
  readonly #signal: AbortSignal | undefined;

  constructor(
    context: BrokerContext,
    stores: Stores,
    garbage: ItemKey,
    attributes: Attributes,
    signal: AbortSignal | undefined,
  ) {
    this.#context = context;
    this.#stores = stores;
    this.#garbage = garbage;
    this.#attributes = attributes;
    this.#topicId = String(attributes[GARBAGE.topicId]);
    this.#signal = signal;
  }

  /** Whether everything is done. */
  async run(): Promise<boolean> {
    const heads = Number(this.#attributes[GARBAGE.heads]);
    for (let headNumber = Number(this.#attributes[GARBAGE.headsSwept] ?? 0); headNumber < heads; headNumber++) {
      if (this.#isStopped() || !(await this.#sweepHead({ topicId: this.#topicId, headNumber }))) return false;
      this.headsSwept++;
      await this.#noteHeads(headNumber + 1);
    }
    if (!(await this.#deleteSegments())) return false;
    await this.#finish(heads);
    return true;
  }

  /** So that a topic with many heads is not begun again. A note that comes late changes nothing. */
  async #noteHeads(heads: number): Promise<void> {
    await this.#write(() =>
      this.#stores.items.update(
        this.#garbage,
        [{ do: 'set', name: GARBAGE.headsSwept, value: heads }],
        [{ if: 'item_exists' }, { if: 'at_most', name: GARBAGE.headsSwept, value: heads - 1 }],
      ),
    );
  }

  async #finish(heads: number): Promise<void> {
    const { items } = this.#stores;
    if (this.#attributes[GARBAGE.again] === undefined) {
      const again = garbageKey(this.#context.clock.nowMs() + AGAIN_AFTER_MS, `topic#${this.#topicId}`);
      const attributes = { [GARBAGE.topicId]: this.#topicId, [GARBAGE.heads]: heads, [GARBAGE.again]: 1 };
      await this.#write(() => items.put(again, attributes));
    }
    await this.#write(() => items.delete(this.#garbage));
  }

  /** The head comes last: it has the tail, which names data that is found nowhere else. */
  async #sweepHead(name: HeadName): Promise<boolean> {
    const { items } = this.#stores;
    const { topicId, headNumber } = name;
    const key = headKey(topicId, headNumber);
    const { attributes } = await this.#write(() => items.update(key, [{ do: 'set', name: HEAD.closed, value: 1 }]));
    const head = headFromAttributes(attributes);
    if (!(await this.#deleteNodes(name))) return false;
    await this.#deleteData(
      name,
      head.tail.map(({ entry }) => entry),
    );
    const partitions = [
      ...Array.from({ length: BATCH_SHARDS }, (_, shard) => inlineBatchPartitionKey(topicId, headNumber, shard)),
      producerPartitionKey(topicId, headNumber),
      usePartitionKey(topicId, headNumber),
      segmentsPartitionKey(topicId, headNumber),
      abortedPartitionKey(topicId, headNumber),
    ];
    for (const pk of partitions) if (!(await this.#deleteItems(pk))) return false;
    await this.#write(() => items.delete(checkpointKey(topicId, headNumber)));
    const expiresAt = Math.ceil((this.#context.clock.nowMs() + CLOSED_KEPT_MS) / 1_000);
    await this.#write(() => items.put(key, { [HEAD.closed]: 1, [HEAD.expiresAt]: expiresAt }));
    return true;
  }

  async #deleteNodes(name: HeadName): Promise<boolean> {
    const { items } = this.#stores;
    while (!this.#isStopped()) {
      const nodes = await this.#ask(() => queryNodes(items, name, 0, Number.MAX_SAFE_INTEGER, ITEMS_PER_STEP));
      if (nodes.length === 0) return true;
      await this.#deleteData(
        name,
        nodes.flatMap(({ entries }) => entries),
      );
      await eachOf(nodes, ({ firstEntry }) => this.#write(() => items.delete(nodeKey(name, firstEntry))));
    }
    return false;
  }

  /** No later entry needs the data, so it does not matter which of its entries deletes it. Inline batches are deleted by their keys. */
  async #deleteData(name: HeadName, entries: readonly Entry[]): Promise<void> {
    const inObjects = entries.filter(({ location }) => location !== 'inline');
    const own = inObjects.map(({ continued: _, ...entry }) => entry);
    await deleteDataOf(this.#context, this.#stores, name, own);
  }

  async #deleteItems(pk: string): Promise<boolean> {
    const { items } = this.#stores;
    while (!this.#isStopped()) {
      const page = await this.#ask(() => items.query({ pk, limit: ITEMS_PER_STEP }));
      await eachOf(page.items, ({ sk }) => this.#write(() => items.delete({ pk, sk })));
      if (!page.more) return true;
    }
    return false;
  }

  async #deleteSegments(): Promise<boolean> {
    const { objects } = this.#stores;
    const prefix = segmentObjectPrefix(this.#topicId);
    while (!this.#isStopped()) {
      const page = await this.#ask(() => objects.list(prefix, { limit: ITEMS_PER_STEP }));
      await eachOf(page.keys, (key) => this.#write(() => objects.delete(key)));
      if (!page.more) return true;
    }
    return false;
  }

  #isStopped(): boolean {
    return this.#signal?.aborted === true;
  }

  readonly #ask: Ask = (request) => retrying(this.#context, 'not_applied', request);

  #write<T>(request: () => Promise<T>): Promise<T> {
    return retrying(this.#context, 'from_error', request);
  }
}
