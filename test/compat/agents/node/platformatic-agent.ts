/** @platformatic/kafka as an agent of the compatibility tests. */
import { randomUUID } from 'node:crypto';
import {
  Admin,
  Consumer,
  type ConsumerGroupOptions,
  GenericError,
  type GroupOptions,
  type Message,
  MultipleErrors,
  Producer,
} from '@platformatic/kafka';
import type { AdminRequest, ConsumeRequest, GroupRequest, ProduceRequest, Request } from '../../clients/contract.ts';
import { ackedFrom, decode, emit, emitRecord, Failure, inputEnded, partsOf, serve } from './agent.ts';

const TOPIC_RESOURCE = 2;
const SET = 0;
const AT = { earliest: -2n, latest: -1n, 'max-timestamp': -3n };

function base({ bootstrap, sasl, tls }: Request) {
  return {
    clientId: 'compat',
    bootstrapBrokers: [bootstrap],
    retryDelay: 100,
    ...(sasl === undefined
      ? {}
      : { sasl: sasl.mechanism === 'OAUTHBEARER' ? { mechanism: sasl.mechanism, token: sasl.password } : sasl }),
    ...(tls === undefined ? {} : { tls }),
  };
}

function codeOf(error: unknown): number | undefined {
  if (error instanceof MultipleErrors) return error.errors.map(codeOf).find((code) => code !== undefined);
  if (error instanceof GenericError && typeof error.apiCode === 'number') return error.apiCode;
  return error instanceof Error && error.cause !== undefined ? codeOf(error.cause) : undefined;
}

async function produce(request: ProduceRequest) {
  const { topic, acks = -1, codec = 'none', idempotent = false } = request;
  const producer = new Producer<Buffer, Buffer, Buffer, Buffer>({ ...base(request), idempotent });
  try {
    const first = new Map<number, number>();
    for (const records of partsOf(request.records, request.batchBytes)) {
      const messages = records.map(({ key, value, headers = [], partition, timestampMs }) => ({
        topic,
        ...(key === null ? {} : { key: decode(key) as Buffer }),
        ...(value === null ? {} : { value: decode(value) as Buffer }),
        headers: new Map(headers.map(([name, text]) => [Buffer.from(name), decode(text) as Buffer])),
        ...(partition === undefined ? {} : { partition }),
        ...(timestampMs === undefined ? {} : { timestamp: BigInt(timestampMs) }),
      }));
      const { offsets = [] } = await producer.send({ messages, acks, compression: codec });
      for (const { partition, offset } of offsets) if (!first.has(partition)) first.set(partition, Number(offset));
    }
    return ackedFrom(request.records, first);
  } finally {
    await producer.close();
  }
}

function emitMessage(message: Message): void {
  emitRecord({
    partition: message.partition,
    offset: Number(message.offset),
    timestampMs: Number(message.timestamp),
    key: message.key,
    value: message.value,
    headers: message.headerEntries.map(([name, value]) => [name.toString(), value]),
  });
}

async function consume(request: ConsumeRequest) {
  const { topic, partitions, from, count, timeoutMs } = request;
  const consumer = new Consumer({ ...base(request), groupId: `compat-${randomUUID()}`, autocommit: false });
  try {
    const timestamp =
      typeof from === 'string' ? AT[from] : 'timestampMs' in from ? BigInt(from.timestampMs) : undefined;
    const found = timestamp === undefined ? undefined : await consumer.listOffsets({ topics: [topic], timestamp });
    const all = await countPartitions(request, topic);
    // It fetches all partitions of its own group: those that aren't wanted are passed over.
    const offsets = Array.from({ length: all }, (_, partition) => ({
      topic,
      partition,
      offset: found?.get(topic)?.[partition] ?? BigInt(typeof from === 'object' && 'offset' in from ? from.offset : 0),
    }));
    const stream = await consumer.consume({
      topics: [topic],
      mode: 'manual',
      offsets,
      maxWaitTime: 500,
      fallbackMode: request.reset ?? 'fail',
    });
    emit('ready');
    const timer = setTimeout(() => stream.destroy(), timeoutMs);
    let left = count;
    try {
      for await (const message of stream) {
        if (!partitions.includes(message.partition)) continue;
        emitMessage(message);
        left -= 1;
        if (left === 0) break;
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE')) throw error;
    }
    clearTimeout(timer);
  } finally {
    await consumer.close(true);
  }
  return {};
}

async function countPartitions(request: Request, topic: string): Promise<number> {
  const client = new Admin(base(request));
  try {
    const { topics } = await client.metadata({ topics: [topic] });
    return topics.get(topic)?.partitionsCount ?? 0;
  } finally {
    await client.close();
  }
}

async function group(request: GroupRequest) {
  const { topic, reset = 'earliest', commit = true, instanceId } = request;
  const instance = instanceId === undefined ? {} : { groupInstanceId: instanceId };
  const protocol: GroupOptions | ConsumerGroupOptions =
    request.protocol === 'consumer'
      ? { groupProtocol: 'consumer' }
      : {
          groupProtocol: 'classic',
          sessionTimeout: request.sessionTimeoutMs ?? 6_000,
          heartbeatInterval: 500,
          rebalanceTimeout: 10_000,
        };
  const consumer = new Consumer({
    ...base(request),
    ...protocol,
    ...instance,
    groupId: request.group,
    autocommit: false,
  });
  let left = request.count ?? Number.POSITIVE_INFINITY;
  const tellOwned = (): void => {
    const owned = consumer.assignments?.find((each) => each.topic === topic)?.partitions ?? [];
    emit('assigned', { partitions: [...owned].sort((a, b) => a - b) });
  };
  consumer.on('consumer:group:join', tellOwned);
  try {
    const stream = await consumer.consume({
      topics: [topic],
      mode: 'committed',
      fallbackMode: reset,
      maxWaitTime: 500,
    });
    const read = async (): Promise<void> => {
      for await (const message of stream) {
        emitMessage(message);
        left -= 1;
        if (commit) await message.commit();
        if (left === 0) return;
      }
    };
    await Promise.race([read(), inputEnded]);
  } finally {
    await consumer.close(true);
  }
  return {};
}

async function admin(request: AdminRequest): Promise<Readonly<Record<string, unknown>>> {
  const client = new Admin(base(request));
  const { topic = '', group: groupId = '', partition = 0, configs = {} } = request;
  try {
    switch (request.op) {
      case 'create-topic':
        await client.createTopics({
          topics: [topic],
          partitions: request.partitions ?? 1,
          replicas: 1,
          configs: Object.entries(configs).map(([name, value]) => ({ name, value })),
        });
        return {};
      case 'describe-topic':
        return { partitions: (await client.metadata({ topics: [topic] })).topics.get(topic)?.partitionsCount };
      case 'list-topics':
        return { topics: await client.listTopics() };
      case 'describe-configs': {
        const [found] = await client.describeConfigs({
          resources: [{ resourceType: TOPIC_RESOURCE, resourceName: topic }],
        });
        return { configs: Object.fromEntries((found?.configs ?? []).map(({ name, value }) => [name, value])) };
      }
      case 'alter-configs':
        await client.incrementalAlterConfigs({
          resources: [
            {
              resourceType: TOPIC_RESOURCE,
              resourceName: topic,
              configs: Object.entries(configs).map(([name, value]) => ({ name, configOperation: SET, value })),
            },
          ],
        });
        return {};
      case 'create-partitions':
        await client.createPartitions({ topics: [{ name: topic, count: request.count ?? 1 }] });
        return {};
      case 'delete-records':
        await client.deleteRecords({
          topics: [{ name: topic, partitions: [{ partition, offset: BigInt(request.offset ?? 0) }] }],
        });
        return {};
      case 'delete-topic':
        await client.deleteTopics({ topics: [topic] });
        return {};
      case 'list-offsets': {
        const at = request.at ?? 'latest';
        const timestamp = typeof at === 'number' ? BigInt(at) : AT[at];
        const [found] = await client.listOffsets({
          topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
        });
        return { offset: Number(found?.partitions[0]?.offset) };
      }
      case 'committed': {
        const [found] = await client.listConsumerGroupOffsets({ groups: [groupId] });
        const partitions = found?.topics.find(({ name }) => name === topic)?.partitions ?? [];
        return {
          offsets: Object.fromEntries(
            partitions.map(({ partitionIndex, committedOffset }) => [partitionIndex, Number(committedOffset)]),
          ),
        };
      }
      case 'reset-offsets': {
        const partitionOffsets = Object.entries(request.offsets ?? {}).map(([each, offset]) => ({
          partition: Number(each),
          offset: BigInt(offset),
        }));
        await client.alterConsumerGroupOffsets({ groupId, topics: [{ name: topic, partitionOffsets }] });
        return {};
      }
      case 'list-groups':
        return { groups: [...(await client.listGroups()).keys()] };
      case 'describe-group': {
        const found = (await client.describeGroups({ groups: [groupId] })).get(groupId);
        return { state: capitalized(found?.state ?? ''), members: found?.members.size };
      }
      case 'delete-group':
        await client.deleteGroups({ groups: [groupId] });
        return {};
      case 'describe-cluster':
        return { nodes: (await client.metadata({ topics: [] })).brokers.size };
      case 'list-transactions':
      case 'describe-transaction':
        throw new Failure('this agent has no transactions');
    }
  } finally {
    await client.close();
  }
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1).toLowerCase();
}

await serve({ produce, consume, group, admin }, codeOf);
