import type { Compression } from '../../log/batch/codecs.ts';
import { invalidField } from '../../log/errors.ts';
import { BATCH_BYTES_MAX, PRODUCER_BATCHES_KEPT } from '../../log/limits.ts';
import { checkOptionNames } from '../option-names.ts';

/** Compresses the records of a batch, in one of Kafka's codecs. */
export interface BatchCompressor {
  readonly codec: Compression;
  compress(records: Uint8Array): Uint8Array | Promise<Uint8Array>;
}

/** Every setting has a default that suits a log behind a network. Times are in milliseconds. */
export interface ProducerSettings {
  /** How long the first record of a batch waits for others. Default 5. A batch that is full does not wait. */
  readonly lingerMs: number;
  /** A batch gets no further record beyond this size, before compression. Default 256 KiB; `max.message.bytes` if that is less. */
  readonly batchBytes: number;
  /** Batches of a partition that are sent and not answered yet, 1 to 5. Default 5. */
  readonly inFlightMax: number;
  /** Records that are accepted and not settled take up at most this many bytes. Default 32 MiB. */
  readonly bufferBytes: number;
  /** How long a record waits for room, and for what has to be known of its topic, before it is rejected. Default 60,000. */
  readonly maxBlockMs: number;
  /** From acceptance on, a record is acknowledged or rejected within this time. Default 120,000. */
  readonly deliveryTimeoutMs: number;
  /** How long one attempt waits for its answer. Default 30,000. */
  readonly requestTimeoutMs: number;
  /** The wait before the first retry. It doubles with every further one. Default 100. */
  readonly retryBackoffMs: number;
  /** The longest wait before a retry, unless the log asks for a longer one. Default 1,000. */
  readonly retryBackoffMaxMs: number;
  /** How long a number of partitions is trusted. Default 300,000. */
  readonly topicMaxAgeMs: number;
  /** Default `none`. `gzip` needs a runtime with CompressionStream, which browsers, Workers and Node are. */
  readonly compression: 'none' | 'gzip' | BatchCompressor;
}

export type ProducerOptions = Partial<ProducerSettings>;

const DEFAULTS: ProducerSettings = {
  lingerMs: 5,
  batchBytes: 256 * 1024,
  inFlightMax: PRODUCER_BATCHES_KEPT,
  bufferBytes: 32 * 1024 * 1024,
  maxBlockMs: 60_000,
  deliveryTimeoutMs: 120_000,
  requestTimeoutMs: 30_000,
  retryBackoffMs: 100,
  retryBackoffMaxMs: 1_000,
  topicMaxAgeMs: 300_000,
  compression: 'none',
};

const TIME_MAX_MS = 2_147_483_647;

const RANGES = {
  lingerMs: [0, TIME_MAX_MS],
  batchBytes: [1, BATCH_BYTES_MAX],
  // The log knows a batch that is sent again if it is one of the last five of its partition.
  inFlightMax: [1, PRODUCER_BATCHES_KEPT],
  bufferBytes: [1, Number.MAX_SAFE_INTEGER],
  maxBlockMs: [0, TIME_MAX_MS],
  deliveryTimeoutMs: [1, TIME_MAX_MS],
  requestTimeoutMs: [1, TIME_MAX_MS],
  retryBackoffMs: [0, TIME_MAX_MS],
  retryBackoffMaxMs: [0, TIME_MAX_MS],
  topicMaxAgeMs: [0, TIME_MAX_MS],
} as const satisfies Partial<Record<keyof ProducerSettings, readonly [number, number]>>;

/** @throws EventLogError `invalid_request` naming the setting */
export function producerSettings(options: ProducerOptions): ProducerSettings {
  checkOptionNames(options, DEFAULTS, 'A producer');
  const settings = { ...DEFAULTS, ...options };
  for (const name of Object.keys(RANGES) as (keyof typeof RANGES)[]) {
    const [min, max] = RANGES[name];
    const value = settings[name];
    if (!Number.isSafeInteger(value) || value < min || value > max)
      throw invalidField(name, `${name} takes a whole number from ${min} to ${max}.`, { min, max });
  }
  const { compression } = settings;
  if (typeof compression === 'string' && compression !== 'none' && compression !== 'gzip')
    throw invalidField('compression', "compression takes 'none', 'gzip' or a compressor.");
  return settings;
}
