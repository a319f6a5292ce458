/** kafkajs as an agent of the compatibility tests. Its snappy, lz4 and zstd are plugged in, as its users do. */
import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import {
  type Admin,
  type Consumer,
  type ConsumerConfig,
  type EachBatchPayload,
  type IHeaders,
  Kafka,
  logLevel,
  Partitioners,
  type Producer,
  type SASLOptions,
  type Transaction,
} from 'kafkajs';
import type {
  AdminRequest,
  AgentRecord,
  ConsumeRequest,
  GroupRequest,
  ProduceRequest,
  Request,
  TransactRequest,
} from '../../clients/contract.ts';
import type { Sasl } from '../../server/server.ts';
import { ackedFrom, decode, emit, emitRecord, Failure, inputEnded, partsOf, serve } from './agent.ts';

const CODECS = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 };
/** The framing that the Java client gives snappy: a header, then blocks with their lengths. */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00]);
const XERIAL_HEADER_BYTES = 16;
const require = createRequire(import.meta.url);
const snappyjs = require('snappyjs') as { compress: Transform; uncompress: Transform };
const lz4js = require('lz4js') as { compress: Transform; decompress: Transform };
const GROUP_ERRORS = new Set([22, 25, 27]);

type Transform = (bytes: Uint8Array) => Uint8Array;

interface Codec {
  compress(encoder: { readonly buffer: Buffer }): Promise<Buffer>;
  decompress(buffer: Buffer): Promise<Buffer>;
}

function plugIn(): void {
  const { CompressionCodecs } = require('kafkajs') as { CompressionCodecs: Record<number, () => Codec> };
  const codec = (compress: Transform, decompress: Transform) => (): Codec => ({
    compress: async ({ buffer }) => Buffer.from(compress(buffer)),
    decompress: async (buffer) => Buffer.from(decompress(buffer)),
  });
  CompressionCodecs[CODECS.snappy] = codec(snappyjs.compress, decompressSnappy);
  CompressionCodecs[CODECS.lz4] = codec(lz4js.compress, lz4js.decompress);
  CompressionCodecs[CODECS.zstd] = codec(zstdCompressSync, zstdDecompressSync);
}

function decompressSnappy(compressed: Uint8Array): Uint8Array {
  const bytes = Buffer.from(compressed);
  if (!bytes.subarray(0, XERIAL.length).equals(XERIAL)) return snappyjs.uncompress(bytes);
  const blocks: Uint8Array[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    const end = at + 4 + bytes.readInt32BE(at);
    blocks.push(snappyjs.uncompress(bytes.subarray(at + 4, end)));
    at = end;
  }
  return Buffer.concat(blocks);
}

function saslOptions({ mechanism, username, password }: Sasl): SASLOptions {
  if (mechanism === 'OAUTHBEARER') {
    return { mechanism: 'oauthbearer', oauthBearerProvider: () => Promise.resolve({ value: password }) };
  }
  return { mechanism: mechanism.toLowerCase(), username, password } as SASLOptions;
}

function open({ bootstrap, sasl, tls }: Request): Kafka {
  return new Kafka({
    clientId: 'compat',
    brokers: [bootstrap],
    logLevel: logLevel.NOTHING,
    retry: { retries: 8, initialRetryTime: 50 },
    ssl: tls ?? false,
    ...(sasl === undefined ? {} : { sasl: saslOptions(sasl) }),
  });
}

function codeOf(error: unknown): number | undefined {
  if (!(error instanceof Error)) return undefined;
  if ('code' in error && typeof error.code === 'number') return error.code;
  if ('errors' in error && Array.isArray(error.errors)) {
    return error.errors.map(codeOf).find((code) => code !== undefined);
  }
  return codeOf(error.cause);
}

async function produce(request: ProduceRequest) {
  const idempotent = request.idempotent ?? false;
  const producer = open(request).producer({
    idempotent,
    maxInFlightRequests: 1,
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
  try {
    const { topic, acks = -1, codec = 'none' } = request;
    const first = new Map<number, number>();
    for (const records of partsOf(request.records, request.batchBytes)) {
      const messages = messagesOf(records);
      const results = (await producer.send({ topic, messages, acks, compression: CODECS[codec] })) ?? [];
      for (const { partition, baseOffset } of results) {
        if (!first.has(partition)) first.set(partition, Number(baseOffset));
      }
    }
    return ackedFrom(request.records, first);
  } finally {
    await producer.disconnect();
  }
}

function messagesOf(records: readonly AgentRecord[]) {
  return records.map(({ key, value, headers = [], partition, timestampMs }) => ({
    key: decode(key),
    value: decode(value),
    headers: headersFor(headers),
    ...(partition === undefined ? {} : { partition }),
    ...(timestampMs === undefined ? {} : { timestamp: String(timestampMs) }),
  }));
}

/** By transactional id, kept from one request to the next, with the transaction that is open. */
const producers = new Map<string, { readonly producer: Producer; open?: Transaction | undefined }>();

async function transact(request: TransactRequest) {
  const { transactionalId, topic, commits, end } = request;
  const own = producers.get(transactionalId) ?? {
    producer: open(request).producer({ transactionalId, idempotent: true, maxInFlightRequests: 1 }),
  };
  if (!producers.has(transactionalId)) await own.producer.connect();
  producers.set(transactionalId, own);
  own.open ??= await own.producer.transaction();
  const first = new Map<number, number>();
  if (request.records.length > 0) {
    for (const { partition, baseOffset } of await own.open.send({ topic, messages: messagesOf(request.records) }))
      first.set(partition, Number(baseOffset));
  }
  if (commits !== undefined) {
    const partitions = Object.entries(commits.offsets).map(([each, offset]) => ({
      partition: Number(each),
      offset: String(offset),
    }));
    await own.open.sendOffsets({ consumerGroupId: commits.group, topics: [{ topic, partitions }] });
  }
  if (end !== 'none') {
    const ended = own.open;
    own.open = undefined;
    await (end === 'commit' ? ended.commit() : ended.abort());
  }
  return ackedFrom(request.records, first);
}

/** Where to begin in each partition; kafkajs reads in groups only, so these become the offsets that the group committed. */
async function startsOf(admin: Admin, { topic, partitions, from }: ConsumeRequest) {
  const wanted = new Set(partitions);
  if (typeof from === 'object' && 'offset' in from) {
    return partitions.map((partition) => ({ partition, offset: String(from.offset) }));
  }
  if (typeof from === 'object') {
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, from.timestampMs);
    return found.filter(({ partition }) => wanted.has(partition));
  }
  const found = await admin.fetchTopicOffsets(topic);
  return found
    .filter(({ partition }) => wanted.has(partition))
    .map(({ partition, low, high }) => ({ partition, offset: from === 'earliest' ? low : high }));
}

async function withAdmin<T>(request: Request, use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = open(request).admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}

async function consume(request: ConsumeRequest) {
  const { topic, partitions, count, reset } = request;
  const groupId = `compat-${randomUUID()}`;
  await withAdmin(request, async (admin) => {
    await admin.setOffsets({ groupId, topic, partitions: await startsOf(admin, request) });
  });
  const wanted = new Set(partitions);
  const timeout = AbortSignal.timeout(request.timeoutMs);
  const late = new Promise<void>((resolve) => timeout.addEventListener('abort', () => resolve()));
  await readInGroup(
    open(request),
    { groupId, readUncommitted: request.isolation === 'read_uncommitted' },
    { topic, reset: reset ?? 'earliest', count, commit: false },
    {
      isWanted: (partition) => wanted.has(partition),
      onJoin: () => emit('ready'),
      until: late,
    },
  );
  return {};
}

async function group(request: GroupRequest) {
  const { topic, group: groupId, reset = 'earliest', count = Number.POSITIVE_INFINITY, commit = true } = request;
  if (request.protocol === 'consumer') throw new Failure('kafkajs knows the classic protocol only');
  const config = {
    groupId,
    sessionTimeout: request.sessionTimeoutMs ?? 6_000,
    heartbeatInterval: 500,
    rebalanceTimeout: 10_000,
  };
  await readInGroup(
    open(request),
    config,
    { topic, reset, count, commit },
    {
      isWanted: () => true,
      onJoin: (owned) => emit('assigned', { partitions: owned }),
      until: inputEnded,
    },
  );
  return {};
}

interface Reading {
  readonly topic: string;
  readonly reset: 'earliest' | 'latest';
  readonly count: number;
  readonly commit: boolean;
}

interface Watcher {
  readonly isWanted: (partition: number) => boolean;
  readonly onJoin: (owned: number[]) => void;
  /** Ends the reading. */
  readonly until: Promise<void>;
}

async function readInGroup(kafka: Kafka, config: ConsumerConfig, reading: Reading, watcher: Watcher): Promise<void> {
  const { topic, reset, count, commit } = reading;
  const consumer = kafka.consumer({ ...config, maxWaitTimeInMs: 500, maxBytesPerPartition: 4 << 20 });
  const finished = Promise.withResolvers<void>();
  let left = count;
  consumer.on('consumer.group_join', ({ payload }) =>
    watcher.onJoin([...(payload.memberAssignment[topic] ?? [])].sort((a, b) => a - b)),
  );
  consumer.on('consumer.crash', ({ payload }) => {
    if (!payload.restart) finished.reject(payload.error);
  });
  const eachBatch = async (payload: EachBatchPayload): Promise<void> => {
    const { batch, resolveOffset, heartbeat } = payload;
    let next: bigint | undefined;
    for (const message of batch.messages) {
      if (left <= 0) break;
      if (watcher.isWanted(batch.partition)) {
        left -= 1;
        emitRecord({
          partition: batch.partition,
          offset: Number(message.offset),
          timestampMs: Number(message.timestamp),
          key: message.key,
          value: message.value,
          headers: headersOf(message.headers),
        });
      }
      next = BigInt(message.offset) + 1n;
      resolveOffset(message.offset);
    }
    if (commit && next !== undefined) await commitIn(consumer, topic, batch.partition, next);
    if (left <= 0) finished.resolve();
    await heartbeat();
  };
  await consumer.connect();
  try {
    await consumer.subscribe({ topics: [topic], fromBeginning: reset === 'earliest' });
    await consumer.run({ autoCommit: false, eachBatchAutoResolve: false, eachBatch });
    await Promise.race([finished.promise, watcher.until]);
  } finally {
    await consumer.disconnect();
  }
}

async function commitIn(consumer: Consumer, topic: string, partition: number, next: bigint): Promise<void> {
  try {
    await consumer.commitOffsets([{ topic, partition, offset: String(next) }]);
  } catch (error) {
    // The records go to another member, or come again.
    if (!GROUP_ERRORS.has(codeOf(error) ?? 0)) throw error;
    emit('commit-failed', { message: String(error) });
  }
}

/** Several values of one name go together. */
function headersFor(headers: readonly (readonly [string, string | null])[]): IHeaders {
  const found: Record<string, Buffer[]> = {};
  for (const [name, text] of headers) found[name] = [...(found[name] ?? []), decode(text) as Buffer];
  return found;
}

function headersOf(headers: IHeaders = {}): [string, Buffer | undefined][] {
  return Object.entries(headers).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((each): [string, Buffer | undefined] => [
      name,
      each === undefined ? undefined : Buffer.from(each),
    ]),
  );
}

function admin(request: AdminRequest): Promise<Readonly<Record<string, unknown>>> {
  return withAdmin(request, async (client) => {
    const { topic = '', group: groupId = '', partition = 0 } = request;
    switch (request.op) {
      case 'create-topic': {
        const configEntries = Object.entries(request.configs ?? {}).map(([name, value]) => ({ name, value }));
        const { partitions = 1 } = request;
        const isNew = await client.createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] });
        // It swallows this one error.
        if (!isNew) throw new Failure('TOPIC_ALREADY_EXISTS', 36);
        return {};
      }
      case 'describe-topic': {
        const { topics } = await client.fetchTopicMetadata({ topics: [topic] });
        return { partitions: topics[0]?.partitions.length };
      }
      case 'list-topics':
        return { topics: await client.listTopics() };
      case 'describe-configs': {
        const found = await client.describeConfigs({
          includeSynonyms: false,
          resources: [{ type: 2, name: topic }],
        });
        const entries = found.resources[0]?.configEntries ?? [];
        return { configs: Object.fromEntries(entries.map(({ configName, configValue }) => [configName, configValue])) };
      }
      case 'alter-configs': {
        const configEntries = Object.entries(request.configs ?? {}).map(([name, value]) => ({ name, value }));
        await client.alterConfigs({ validateOnly: false, resources: [{ type: 2, name: topic, configEntries }] });
        return {};
      }
      case 'create-partitions':
        await client.createPartitions({ topicPartitions: [{ topic, count: request.count ?? 1 }] });
        return {};
      case 'delete-records':
        await client.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(request.offset) }] });
        return {};
      case 'delete-topic':
        await client.deleteTopics({ topics: [topic] });
        return {};
      case 'list-offsets':
        return { offset: await offsetAt(client, topic, partition, request.at ?? 'latest') };
      case 'committed': {
        const found = await client.fetchOffsets({ groupId, topics: [topic] });
        const offsets = found[0]?.partitions.filter(({ offset }) => offset !== '-1') ?? [];
        return { offsets: Object.fromEntries(offsets.map((each) => [each.partition, Number(each.offset)])) };
      }
      case 'reset-offsets': {
        const offsets = Object.entries(request.offsets ?? {});
        const partitions = offsets.map(([each, offset]) => ({ partition: Number(each), offset: String(offset) }));
        await client.setOffsets({ groupId, topic, partitions });
        return {};
      }
      case 'list-groups':
        return { groups: (await client.listGroups()).groups.map((each) => each.groupId) };
      case 'describe-group': {
        const [found] = (await client.describeGroups([groupId])).groups;
        return { state: found?.state, members: found?.members.length };
      }
      case 'delete-group':
        await client.deleteGroups([groupId]);
        return {};
      case 'describe-cluster':
        return { nodes: (await client.describeCluster()).brokers.length };
      case 'list-transactions':
      case 'describe-transaction':
        throw new Failure('kafkajs has no such operation');
    }
  });
}

async function offsetAt(client: Admin, topic: string, partition: number, at: string | number): Promise<number> {
  if (typeof at === 'number') {
    const found = await client.fetchTopicOffsetsByTimestamp(topic, at);
    return Number(found.find((each) => each.partition === partition)?.offset);
  }
  if (at === 'max-timestamp') throw new Failure('kafkajs asks for no such offset');
  const found = (await client.fetchTopicOffsets(topic)).find((each) => each.partition === partition);
  return Number(at === 'earliest' ? found?.low : found?.high);
}

plugIn();
await serve({ produce, consume, group, transact, admin }, codeOf);
