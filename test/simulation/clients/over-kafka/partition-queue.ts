/** A batch of a Kafka producer, from its making until its fate is told to the application. */
export interface ProducedBatch {
  readonly records: number;
  /** Chosen when it gets its sequence, so that values count on in the order in which they are sent. */
  values: readonly string[];
  /** `undefined`: it was not sent yet. */
  producer: { readonly epoch: number; readonly sequence: number } | undefined;
  readonly madeAtMs: number;
  /** Not sent again before. */
  retryAtMs: number;
  isOnWire: boolean;
  /** The outcome of a try is not known: it may be in the log. */
  isUncertain: boolean;
  /** The application was told that it failed. */
  isGivenUp: boolean;
}

/**
 * What a Kafka producer knows of one partition, as Java's `TransactionManager` and `RecordAccumulator` do: which batches wait, which
 * have a sequence, and whether a sequence is missing because its batch was given up.
 */
export class PartitionQueue {
  readonly partition: number;
  epoch: number;
  nextSequence = 0;
  lastAcknowledged = -1;
  /** Batches that are to be sent; those that are sent again come first. */
  waiting: ProducedBatch[] = [];
  /** Batches with a sequence that are not settled, in the order of their sequences: also those that wait to be sent again. */
  unsettled: ProducedBatch[] = [];
  /** A batch with a sequence was given up: nobody knows whether it is in the log. */
  hasGap = false;
  /** What is unsettled begins again under the next epoch once nothing of it is on its way. */
  needsEpoch = false;

  constructor(partition: number, epoch: number) {
    this.partition = partition;
    this.epoch = epoch;
  }

  get isIdle(): boolean {
    return this.waiting.length === 0 && this.unsettled.length === 0;
  }

  get isOnWire(): boolean {
    return this.unsettled.some((batch) => batch.isOnWire);
  }

  give(batch: ProducedBatch, nextValue: () => string): void {
    if (batch.producer !== undefined) return;
    batch.values = Array.from({ length: batch.records }, nextValue);
    batch.producer = { epoch: this.epoch, sequence: this.nextSequence };
    this.nextSequence += batch.records;
    this.unsettled.push(batch);
  }

  settled(batch: ProducedBatch): void {
    this.unsettled = this.unsettled.filter((each) => each !== batch);
    this.waiting = this.waiting.filter((each) => each !== batch);
  }

  acknowledged(batch: ProducedBatch): void {
    this.settled(batch);
    const { epoch = -1, sequence = 0 } = batch.producer ?? {};
    if (epoch === this.epoch) this.lastAcknowledged = Math.max(this.lastAcknowledged, sequence + batch.records - 1);
  }

  /** In the order of their sequences, before those that were never sent. */
  sendAgain(batch: ProducedBatch): void {
    const behind = this.waiting.findIndex(
      ({ producer }) => producer === undefined || producer.sequence > (batch.producer?.sequence ?? 0),
    );
    this.waiting.splice(behind === -1 ? this.waiting.length : behind, 0, batch);
  }

  isNext({ producer }: ProducedBatch): boolean {
    return producer?.epoch === this.epoch && producer.sequence === this.lastAcknowledged + 1;
  }

  startUnder(epoch: number): void {
    this.epoch = epoch;
    this.nextSequence = 0;
    this.lastAcknowledged = -1;
    this.hasGap = false;
    this.needsEpoch = false;
  }
}
