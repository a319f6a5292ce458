import { KAFKA_ERRORS } from '../../../../shared/kafka/error-codes.ts';
import { API_VERSIONS } from '../../../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { PRODUCER_BATCHES_KEPT } from '../../../../shared/log/limits.ts';
import { headOf } from '../../../history/checks/check-model.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from '../client.ts';
import { KafkaConnection } from './kafka-connection.ts';
import { PartitionQueue, type ProducedBatch } from './partition-queue.ts';
import { type Answered, answerOf, sendBatches, sendCopy } from './produce-request.ts';

/** Kafka's `max.in.flight.requests.per.connection`. */
const REQUESTS_IN_FLIGHT_MAX = 5;

export interface KafkaProducerOptions {
  readonly id: number;
  /** The id was given out just now, so its first batch in a partition is certain to be known. */
  readonly isYoung: boolean;
  /**
   * `java`: the first unsettled batch is sent again alone, also while those behind it are on their way. `librdkafka`: all are sent
   * again in their order, once nothing is on its way.
   */
  readonly retries: 'java' | 'librdkafka';
  /** A batch is given up after so long. */
  readonly deliveryMs: number;
  readonly version: number;
  readonly partitions: readonly number[];
}

/**
 * An idempotent producer as Kafka's clients are, over connections to any gateways: up to five requests in flight, batches that are
 * sent again under their sequences, and an epoch that rises when a batch is given up. Unlike Java's it never sends a batch under
 * another sequence whose outcome it does not know, so none may be in the log twice.
 */
export class KafkaProducer {
  readonly #client: Client;
  readonly #options: KafkaProducerOptions;
  readonly #queues: readonly PartitionQueue[];
  readonly #connections = new Map<number, KafkaConnection>();
  #epoch = 0;
  #values = 0;

  constructor(client: Client, options: KafkaProducerOptions) {
    this.#client = client;
    this.#options = options;
    this.#queues = options.partitions.map((partition) => new PartitionQueue(partition, 0));
  }

  get isIdle(): boolean {
    return this.#queues.every(({ isIdle }) => isIdle);
  }

  /** Returns whether there is room for more batches of the partition. */
  hasRoom(partition: number): boolean {
    return this.#queueOf(partition).waiting.length < WAITING_MAX;
  }

  add(partition: number, records: number): void {
    this.#queueOf(partition).waiting.push({
      records,
      values: [],
      producer: undefined,
      madeAtMs: this.#client.nowMs,
      retryAtMs: 0,
      isOnWire: false,
      isUncertain: false,
      isGivenUp: false,
    });
  }

  /** Sends what can be sent now. */
  pump(): void {
    for (const queue of this.#queues) {
      this.#expire(queue);
      this.#settleEpoch(queue);
    }
    // The partitions of a head have one leader.
    for (const [head, queues] of Map.groupBy(this.#queues, ({ partition }) => headOf(partition))) {
      for (;;) {
        const ready = queues.flatMap((queue) => {
          const batch = this.#next(queue);
          return batch === undefined ? [] : [{ queue, batch }];
        });
        if (ready.length === 0) break;
        const connection = this.#connectionTo(head);
        if (connection.inFlight >= REQUESTS_IN_FLIGHT_MAX) break;
        const together = this.#client.chance.chance(0.7) ? ready : ready.slice(0, 1);
        void this.#send(connection, together);
      }
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
  }

  #queueOf(partition: number): PartitionQueue {
    return this.#queues.find((queue) => queue.partition === partition) as PartitionQueue;
  }

  #connectionTo(head: number): KafkaConnection {
    const known = this.#connections.get(head);
    if (known?.isOpen) return known;
    const { client, chance } = { client: this.#client, chance: this.#client.chance };
    const slot = known !== undefined && chance.chance(0.5) ? chance.pick(client.slots) : client.slot();
    const connection = new KafkaConnection(client, slot);
    this.#connections.set(head, connection);
    if (chance.chance(0.3)) void connection.request(API_VERSIONS, 3, SOFTWARE);
    return connection;
  }

  #next(queue: PartitionQueue): ProducedBatch | undefined {
    const [first] = queue.waiting;
    if (first === undefined || queue.needsEpoch || first.retryAtMs > this.#client.nowMs) return undefined;
    if (first.producer === undefined) {
      if (queue.hasGap) return undefined;
      if (queue.epoch === this.#epoch) return first;
      // Other partitions take the new epoch when they have settled what they have sent under the old one.
      if (queue.unsettled.length > 0) return undefined;
      this.#client.mark('partition took the new epoch');
      queue.startUnder(this.#epoch);
      return first;
    }
    const place = queue.unsettled.indexOf(first);
    if (this.#options.retries === 'java') return place === 0 ? first : undefined;
    const isInOrder = queue.unsettled.every(({ isOnWire }, i) => isOnWire === i < place);
    return isInOrder ? first : undefined;
  }

  async #send(
    connection: KafkaConnection,
    sent: readonly { readonly queue: PartitionQueue; readonly batch: ProducedBatch }[],
  ): Promise<void> {
    const { id, version } = this.#options;
    const client = this.#client;
    const { chance, world } = client;
    const appends = sent.map(({ queue, batch }): ClientAppend => {
      if (batch.producer !== undefined) client.mark('batch sent again over Kafka');
      else if (queue.unsettled.some(({ isOnWire }) => isOnWire)) client.mark('batch sent behind another');
      queue.give(batch, () => this.#nextValue(queue.partition));
      queue.waiting.shift();
      batch.isOnWire = true;
      const { epoch, sequence } = batch.producer as NonNullable<ProducedBatch['producer']>;
      const records = batch.values.map((value) => ({ value, partition: queue.partition }));
      return { topic: LASTING_TOPIC, records, producer: { id, epoch, sequence } };
    });
    const fault = client.nextFault();
    const atMs = chance.next() ** 2 * client.patienceMs;
    if (fault === 'lost_answer')
      world.loop.at(atMs, () => {
        client.mark('connection cut');
        connection.close();
      });
    if (fault === 'deadline') world.killLater(connection.slot, atMs);
    // A partition that does not know an old producer takes any batch of it for the first one.
    const isRepeatable = this.#options.isYoung || appends.every(({ producer }) => producer?.sequence === 0);
    if (fault === 'delivered_twice' && isRepeatable) client.tracks(sendCopy(client, appends, version));
    const { ops, answer } = sendBatches(client, connection, appends, version);
    const answered = await answer;
    sent.forEach(({ queue, batch }, i) => {
      const outcome = answerOf(answered, batch.records, queue.partition);
      batch.isOnWire = false;
      client.finish(ops[i] as number, appends[i] as ClientAppend, client.name, outcome.judged);
      this.#take(queue, batch, outcome);
    });
    // All requests of a connection that has ended come back before anything else is sent.
    if (answered === undefined) await client.sleep(0);
    this.pump();
  }

  #take(queue: PartitionQueue, batch: ProducedBatch, { errorCode }: Answered): void {
    const client = this.#client;
    if (errorCode === KAFKA_ERRORS.NONE) {
      queue.acknowledged(batch);
      if (this.#options.retries === 'librdkafka') this.#settleBefore(queue, batch);
    }
    if (errorCode === KAFKA_ERRORS.NONE || batch.isGivenUp) return;
    if (errorCode === KAFKA_ERRORS.OUT_OF_ORDER_SEQUENCE_NUMBER) {
      const isNext = queue.isNext(batch);
      client.mark('pipelined batch out of order over Kafka');
      if (queue.hasGap) queue.needsEpoch = true;
      else if (isNext) {
        // Java's client would begin another epoch, and send it again under it: twice, if an earlier try is in the log.
        client.surprise(`the next batch of partition ${queue.partition} was refused as out of order`);
        queue.needsEpoch = true;
      }
    } else if (errorCode === undefined || RETRIED.includes(errorCode)) batch.isUncertain = true;
    else {
      client.surprise(`a batch of partition ${queue.partition} was refused with error ${errorCode}`);
      this.#giveUp(queue, batch);
      return;
    }
    batch.retryAtMs = client.nowMs + client.chance.next() * RETRY_MS_MAX;
    queue.sendAgain(batch);
  }

  /**
   * A batch that was appended says that those before it are in the log. Without this, one whose answers are lost could be sent again
   * when more than five others have come behind it, and nobody knows it any more.
   */
  #settleBefore(queue: PartitionQueue, { producer }: ProducedBatch): void {
    for (const batch of queue.unsettled) {
      const { epoch, sequence = 0 } = batch.producer ?? {};
      const isBefore = epoch === producer?.epoch && sequence < (producer?.sequence ?? 0);
      if (!isBefore || !batch.isUncertain) continue;
      this.#client.mark('batch acknowledged by a later one');
      this.#client.world.acknowledgedByLater.push(...batch.values);
      queue.settled(batch);
      batch.isGivenUp = true;
    }
  }

  #giveUp(queue: PartitionQueue, batch: ProducedBatch): void {
    batch.isGivenUp = true;
    queue.settled(batch);
    if (batch.producer === undefined) return;
    this.#client.mark('batch given up over Kafka');
    queue.hasGap = true;
  }

  /** What takes too long is given up, also while it is on its way. */
  #expire(queue: PartitionQueue): void {
    const { nowMs, world } = this.#client;
    if (world.fates.healed) return;
    for (const batch of [...queue.unsettled, ...queue.waiting])
      if (!batch.isGivenUp && nowMs - batch.madeAtMs > this.#options.deliveryMs) this.#giveUp(queue, batch);
  }

  /** Begins the next epoch, if a sequence is missing for good. */
  #settleEpoch(queue: PartitionQueue): void {
    if (queue.hasGap && queue.unsettled.length === 0) {
      if (queue.lastAcknowledged + 1 === queue.nextSequence) queue.hasGap = false;
      else queue.startUnder(this.#nextEpoch());
    } else if (queue.needsEpoch && !queue.isOnWire) {
      for (const batch of queue.unsettled.filter(({ isUncertain }) => isUncertain)) this.#giveUp(queue, batch);
      for (const batch of queue.unsettled) {
        batch.producer = undefined;
        this.#client.mark('batch sent under another epoch');
      }
      queue.unsettled = [];
      queue.startUnder(this.#nextEpoch());
    }
  }

  #nextEpoch(): number {
    this.#client.mark('epoch raised over Kafka');
    return ++this.#epoch;
  }

  #nextValue(partition: number): string {
    const value = `${this.#client.name}/${partition}/${this.#values++}/`;
    return this.#client.chance.chance(0.1) ? value.padEnd(LARGE_LENGTH, '.') : value;
  }
}

const WAITING_MAX = 2 * PRODUCER_BATCHES_KEPT;
const RETRY_MS_MAX = 200;
const LARGE_LENGTH = 600;
const RETRIED: readonly number[] = [KAFKA_ERRORS.REQUEST_TIMED_OUT];
const SOFTWARE = { clientSoftwareName: 'simulated', clientSoftwareVersion: '1' };
