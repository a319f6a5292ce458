import type { BatchToAppend } from '../../../broker/append/outcomes.ts';
import { producerNamedIn } from '../../../log/batch/record-batch.ts';

/** Beyond this many the oldest are forgotten: a producer then waits for one answer more. */
const KEPT_MAX = 10_000;

/** Which batches of a request may be appended, and whom to tell how it ended. */
export interface Admission {
  /** By the index of the batch. */
  readonly isAdmitted: readonly boolean[];
  /** Must be called when all batches have ended; `isAppended` by index. */
  settle(isAppended: readonly boolean[]): void;
}

/**
 * The first batches that idempotent producers send to partitions over one connection. A partition that does not know a
 * producer may take any batch of it for its first: if the first of five in flight failed and the second was accepted, the
 * first could never be appended. So until one batch of a producer was appended to a partition over this connection, the next
 * waits for the one before it, and is not tried if that one failed. From then on the sequences keep the order.
 */
export class FirstBatches {
  /** What is known of a producer, its epoch and a partition: a batch was appended, or the last one is on its way. */
  readonly #known = new Map<string, 'appended' | Promise<boolean>>();

  /** Resolves when the batches before these have ended, as far as these have to wait for them. */
  async admit(batches: readonly BatchToAppend[]): Promise<Admission> {
    const keys = batches.map(keyOf);
    const isAdmitted = await Promise.all(
      keys.map((key) => {
        const known = key === undefined ? 'appended' : this.#known.get(key);
        return known === undefined || known === 'appended' ? true : known;
      }),
    );
    const { promise, resolve } = Promise.withResolvers<readonly boolean[]>();
    const first = keys.map((key) => key !== undefined && this.#known.get(key) !== 'appended');
    const underWay = keys.map((key, i) => {
      const ended = promise.then((isAppended) => isAppended[i] === true);
      if (key !== undefined && first[i]) this.#keep(key, ended);
      return ended;
    });
    return {
      isAdmitted,
      settle: (isAppended) => {
        keys.forEach((key, i) => {
          if (key === undefined || !first[i]) return;
          if (isAppended[i]) this.#keep(key, 'appended');
          // Only those that wait for it now are behind it: the producer sends it again, and then it is the first.
          else if (this.#known.get(key) === underWay[i]) this.#known.delete(key);
        });
        resolve(isAppended);
      },
    };
  }

  #keep(key: string, known: 'appended' | Promise<boolean>): void {
    this.#known.delete(key);
    this.#known.set(key, known);
    if (this.#known.size > KEPT_MAX) this.#known.delete(this.#known.keys().next().value as string);
  }
}

/** `undefined`: the batch has no producer, so nothing waits for it. */
function keyOf({ topic, topicId, partition, batch }: BatchToAppend): string | undefined {
  const producer = batch instanceof Uint8Array ? producerNamedIn(batch) : batch.producer;
  if (producer === undefined) return undefined;
  return `${producer.producerId}/${producer.producerEpoch}/${topicId ?? topic}/${partition}`;
}
