/** The client: typed producers and reads over a log in this process or over HTTP. It runs in browsers too. */
export type { Compression } from '../log/batch/codecs.ts';
export { type ErrorCode, type ErrorDetails, EventLogError, type Outcome, type Retry } from '../log/errors.ts';
export { bytes, type Codec, json, type Plain, plain, type Topic, text, topic } from './codec.ts';
export type { ConsumedBatch, ConsumedPartition, Consumer } from './consume/consumer.ts';
export type { ConsumeOptions, PartitionName } from './consume/options.ts';
export type { ConsumedRecord } from './decode.ts';
export {
  connect,
  EventLog,
  type EventLogOptions,
  type ReadOptions,
  type RecordPage,
} from './event-log.ts';
export { HttpLog, type HttpLogOptions } from './http-log.ts';
export type { LogApi, ReadFrom } from './log-api.ts';
export type { HeaderToProduce, ProducedRecord, RecordToProduce } from './produce/pending-record.ts';
export type { CloseOptions, ProduceOptions, Producer } from './produce/producer.ts';
export type { BatchCompressor, ProducerOptions, ProducerSettings } from './produce/settings.ts';
export type { TransactionOptions } from './transact/settings.ts';
export type { Transaction } from './transact/transaction.ts';
