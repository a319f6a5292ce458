import { ByteWriter } from '../bytes.ts';
import { decodeRecords, type RecordBatchHeader } from './record-batch.ts';
import { NO_SEQUENCE, sealBatch, writeControlBatch } from './write-batch.ts';

/**
 * Apache Kafka's control batch that ends a transaction in a partition (KIP-98, `EndTransactionMarker`). Its one record has
 * the key `version int16 · type int16 (0 abort, 1 commit)` and the value `version int16 · coordinator epoch int32`.
 */
export interface TransactionMarker {
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly outcome: TransactionOutcome;
}

export type TransactionOutcome = 'committed' | 'aborted';

/** The size of every marker's batch. */
export const MARKER_BATCH_BYTES = 78;

const VERSION = 0;
const ABORT = 0;
const COMMIT = 1;
/** No process coordinates transactions, so there is one epoch of coordinators. */
const COORDINATOR_EPOCH = 0;

/** The batch of a marker, with base offset 0. */
export function writeMarkerBatch(
  { producerId, producerEpoch, outcome }: TransactionMarker,
  timeMs: number,
): Uint8Array {
  const key = new ByteWriter(4);
  key.int16(VERSION);
  key.int16(outcome === 'committed' ? COMMIT : ABORT);
  const value = new ByteWriter(6);
  value.int16(VERSION);
  value.int32(COORDINATOR_EPOCH);
  return sealBatch(
    writeControlBatch(
      { timestampMs: timeMs, key: key.finish(), value: value.finish(), headers: [] },
      { producerId, producerEpoch, baseSequence: NO_SEQUENCE },
    ),
  );
}

/** The outcome that a control batch gives; `undefined` if it is no marker of a transaction. */
export function markerOutcome(bytes: Uint8Array, header: RecordBatchHeader): TransactionOutcome | undefined {
  if (!header.control || header.recordCount === 0) return undefined;
  const key = decodeRecords(bytes, 0, header)[0]?.key;
  if (key === null || key === undefined || key.length < 4) return undefined;
  const type = ((key[2] as number) << 8) | (key[3] as number);
  return type === COMMIT ? 'committed' : type === ABORT ? 'aborted' : undefined;
}
