import { PRODUCER_BATCHES_KEPT } from '../../../shared/log/limits.ts';
import { type Client, type ClientAppend, LASTING_TOPIC } from './client.ts';
import { insist, values, type Workload } from './workload.ts';

/** An idempotent producer in one partition. */
class ProducerLane {
  readonly partition: number;
  epoch = 0;
  sequence: number;
  /** The end of the partition after the last batch that was acknowledged, unless others write there. */
  end: number | undefined;
  sending: Promise<void>[] = [];
  /** Of this epoch, in their order. */
  sent: ClientAppend[] = [];

  constructor(partition: number, sequence: number) {
    this.partition = partition;
    this.sequence = sequence;
  }

  startAgain(epoch: number): void {
    this.epoch = epoch;
    this.sequence = 0;
    this.sending = [];
    this.sent = [];
  }
}

/**
 * An idempotent producer: each batch is sent until it is settled, up to five at once. From time to time it starts again in
 * one partition with the next epoch, while what it sent there before may still be under way; in other partitions it goes on
 * under the older one, as Kafka's Java client does after it lost a batch.
 *
 * An id that was given out just now must begin at 0 in each partition, so its first batches may be sent at once. Of an
 * older one that a partition does not know any sequence is accepted, so its first batch there goes alone.
 */
async function produce(client: Client, operations: number): Promise<void> {
  const { chance } = client;
  const oldId = chance.chance(0.3) ? client.takeOldId() : undefined;
  const id = oldId ?? (await allocate(client));
  const partitions = chance.chance(0.5) ? [chance.pick(client.partitions)] : client.partitions;
  const windowMax = chance.pick([1, 1, 2, 5]);
  const lanes = partitions.map((partition) => {
    return new ProducerLane(partition, oldId !== undefined && chance.chance(0.5) ? 7 : 0);
  });
  let epoch = 0;
  if (chance.chance(oldId === undefined ? 0.3 : 0.6)) {
    const lane = lanes[0] as ProducerLane;
    const first = [0, 1].map((more): ClientAppend => {
      const records = [{ value: client.value(), partition: lane.partition }];
      return { topic: LASTING_TOPIC, records, producer: { id, epoch, sequence: lane.sequence + more } };
    });
    if (oldId === undefined) {
      await Promise.all(first.map((append) => deliver(client, append, { isEarly: true })));
      lane.sequence = 2;
    } else {
      // Either may be refused for the other's sake; then it starts again.
      await Promise.all(first.map((append) => insist(client, append)));
      lane.startAgain(++epoch);
    }
  }
  const batches = 3 * operations;
  const restartRate = chance.pick([0.1, 0.4, 0.6]);
  const conditionRate = chance.pick([0, 0, 0.3]);
  for (let i = 0; i < batches; i++) {
    const lane = chance.pick(lanes);
    const { partition, sequence, end } = lane;
    const records = values(client, 2).map((value) => ({ value, partition }));
    const append = { topic: LASTING_TOPIC, records, producer: { id, epoch: lane.epoch, sequence } };
    lane.sequence += records.length;
    if (lane.sending.length === 0 && end !== undefined && chance.chance(conditionRate)) {
      const conditional = { ...append, expectedOffset: end };
      if (!(await deliverConditionally(client, lane, conditional))) lane.startAgain(++epoch);
      continue;
    }
    const goesAlone = sequence === 0 || lane.sent.length === 0;
    const isEarly = windowMax > 1 && !goesAlone;
    const isLastOfEpoch = i + 1 < batches && chance.chance(restartRate);
    const isZombie = isLastOfEpoch && chance.chance(0.6);
    lane.sent = [...lane.sent, append].slice(-PRODUCER_BATCHES_KEPT);
    lane.sending.push(deliver(client, append, { isEarly, isZombie, lane }));
    if (isZombie) {
      // Starts again while this is under way.
      client.mark('producer left a zombie');
      await Promise.all(lane.sending.slice(0, -1));
      await client.rest();
      client.tracks(lane.sending.at(-1) as Promise<void>);
    } else if (goesAlone || lane.sending.length >= windowMax || isLastOfEpoch) {
      await Promise.all(lane.sending);
      lane.sending = [];
      await client.pause();
      if (chance.chance(0.2)) await sendAgain(client, lane.sent);
    }
    if (isLastOfEpoch) {
      const others = lanes.filter((other) => other !== lane && other.sent.length > 0 && other.epoch < lane.epoch + 1);
      if (others.length > 0) client.mark('producer left other partitions behind');
      epoch += 1 + chance.below(2) * chance.below(40);
      lane.startAgain(epoch);
    }
  }
  await Promise.all(lanes.flatMap(({ sending }) => sending));
  await client.tracked();
}

interface Delivery {
  /** Its predecessor may still be under way. */
  readonly isEarly?: boolean;
  /** A newer epoch may write to the partition meanwhile. */
  readonly isZombie?: boolean;
  readonly lane?: ProducerLane;
}

/** As Kafka's clients do: a batch that came before its predecessor is sent again. */
async function deliver(client: Client, append: ClientAppend, { isEarly, isZombie, lane }: Delivery): Promise<void> {
  for (let early = 1; ; early++) {
    const { type, codes, endOffset } = await insist(client, append);
    if (type === 'ok') {
      if (lane !== undefined) lane.end = endOffset;
      return;
    }
    if (isZombie && codes.includes('producer_fenced')) {
      client.mark('zombie fenced');
      return;
    }
    if (isEarly && codes.includes('out_of_order_sequence')) {
      client.mark('pipelined batch out of order');
      for (let i = 0; i < early; i++) await client.rest();
      continue;
    }
    client.surprise(`a batch of an idempotent producer was refused: ${codes.join(', ')}`);
    return;
  }
}

/** Answers whether it was appended: it is sent until that is certain, and its own first try is no reason to refuse it. */
async function deliverConditionally(client: Client, lane: ProducerLane, append: ClientAppend): Promise<boolean> {
  const { type, codes, endOffset, nextOffset } = await insist(client, append);
  lane.end = endOffset ?? nextOffset;
  if (type === 'ok') {
    lane.sent = [...lane.sent, append].slice(-PRODUCER_BATCHES_KEPT);
    return true;
  }
  if (!codes.includes('offset_mismatch')) client.surprise(`a conditional batch was refused: ${codes.join(', ')}`);
  return false;
}

/**
 * The oldest of the last five batches of a partition once more, though it was acknowledged, to every process: all of them
 * know it still.
 */
async function sendAgain(client: Client, [oldest]: readonly ClientAppend[]): Promise<void> {
  if (oldest === undefined) return;
  for (const slot of client.slots) {
    const { type, codes } = await insist(client, oldest, slot);
    if (type !== 'ok') client.surprise(`a batch that had been acknowledged was refused: ${codes.join(', ')}`);
  }
}

async function allocate(client: Client): Promise<number> {
  for (;;) {
    const id = await client.ask((broker) => broker.allocateProducerId(), LASTING_TOPIC);
    if (id !== undefined) return id;
    await client.rest();
  }
}

export const PRODUCE: Workload = {
  name: 'produce',
  weight: 5,
  keys: ['head#', 'node#', 'checkpoint#', 'producer#'],
  run: produce,
  prepare: async (world, broker, client) => {
    world.oldIds.set(client, await broker.allocateProducerId());
  },
};
