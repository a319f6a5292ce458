import type { BatchToAppend } from '../../../broker/append/outcomes.ts';
import { producerNamedIn } from '../../../log/batch/record-batch.ts';
import { SEQUENCE_MAX, TOPIC_NAME_LENGTH_MAX } from '../../../log/limits.ts';

/** Beyond this many the oldest are forgotten, so that nobody fills the memory: more producers than any client has. */
const KEPT_MAX = 10_000;

/** Which batches of a request may be appended, and whom to tell how it ended. */
export interface Admission {
  /** By the index of the batch. */
  readonly isAdmitted: readonly boolean[];
  /** Must be called when all batches have ended; `isAppended` by index. */
  settle(isAppended: readonly boolean[]): void;
}

/** What is known of a producer, its epoch and a partition. */
type Known =
  /** A batch was appended over this connection. */
  | { readonly type: 'appended' }
  /** The last batch is on its way. */
  | { readonly type: 'under_way'; readonly ended: Promise<unknown> }
  /** This was to be the first batch. The producer has to send it again before any other. */
  | { readonly type: 'failed'; readonly sequence: number };

type Batch = Pick<BatchToAppend, 'topic' | 'topicId' | 'partition' | 'batch'>;

/**
 * The first batches that idempotent producers send to partitions over one connection. A partition that does not know a
 * producer may take any batch of it for its first: if the first of five in flight failed and one behind it was accepted, the
 * first could never be appended. So until one batch of a producer was appended to a partition over this connection, the next
 * waits for the one before it. If that one failed, no later one is tried before it was sent again: those that were sent before the
 * producer knew are still to come. From the first success on the sequences keep the order.
 */
export class FirstBatches {
  readonly #known = new Map<string, Known>();

  /**
   * Resolves when the batches before these have ended, as far as these have to wait for them. Only one call may wait at a time: the
   * next request begins when this one has its place, or its answer.
   */
  async admit(batches: readonly BatchToAppend[]): Promise<Admission> {
    const named = batches.map(nameOf);
    await Promise.all(
      named.map((name) => {
        const known = name && this.#known.get(name.key);
        return known?.type === 'under_way' ? known.ended : undefined;
      }),
    );
    const isAdmitted = named.map((name) => {
      const known = name && this.#known.get(name.key);
      return known?.type !== 'failed' || !isBehind(name?.sequence ?? 0, known.sequence);
    });
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    const first = named.map((name, i) =>
      name !== undefined && isAdmitted[i] && this.#known.get(name.key)?.type !== 'appended' ? name : undefined,
    );
    for (const name of first) if (name !== undefined) this.#keep(name.key, { type: 'under_way', ended });
    return {
      isAdmitted,
      settle: (isAppended) => {
        first.forEach((name, i) => {
          if (name === undefined) return;
          this.#keep(name.key, isAppended[i] ? { type: 'appended' } : { type: 'failed', sequence: name.sequence });
        });
        resolve();
      },
    };
  }

  /** A batch is refused without a try, so those behind it must not be the first. */
  refused(batch: Batch): void {
    const name = nameOf(batch);
    if (name === undefined) return;
    const known = this.#known.get(name.key);
    if (known === undefined) this.#keep(name.key, { type: 'failed', sequence: name.sequence });
  }

  #keep(key: string, known: Known): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size > KEPT_MAX) this.#known.delete(this.#known.keys().next().value as string);
  }
}

/** `undefined`: the batch has no producer, so nothing waits for it. */
function nameOf({
  topic,
  topicId,
  partition,
  batch,
}: Batch): { readonly key: string; readonly sequence: number } | undefined {
  const producer = batch instanceof Uint8Array ? producerNamedIn(batch) : batch.producer;
  // There is no topic of a longer name, and nobody must make this remember it.
  if (producer === undefined || topic.length > TOPIC_NAME_LENGTH_MAX) return undefined;
  const key = `${producer.producerId}/${producer.producerEpoch}/${topicId ?? topic}/${partition}`;
  return { key, sequence: producer.baseSequence };
}

/** Sequences wrap; of two that are less than half of them apart, one is behind the other. */
function isBehind(sequence: number, other: number): boolean {
  const distance = (sequence - other + SEQUENCE_MAX + 1) % (SEQUENCE_MAX + 1);
  return distance > 0 && distance <= SEQUENCE_MAX / 2;
}
