/** kcat as an agent of the compatibility tests: `kcat-agent.ts <command...>`, the command being that of kcat. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type {
  AdminRequest,
  AgentRecord,
  ConsumeRequest,
  GroupRequest,
  ProduceRequest,
  Request,
} from '../../clients/contract.ts';
import { decode, emit, emitRecord, Failure, inputEnded, serve } from './agent.ts';

const [KCAT = 'kcat', ...BEFORE] = process.argv.slice(2);
/** Between key and value, and behind each record: such bytes are in no key or value of the tests. */
const [DELIMITER, END] = ['\u0001', '\u0002'];
/** A line of numbers, then the bytes; lengths of -1 are nulls. Names of headers come with their values, as text. */
const FORMAT = '%p %o %T %K %S %h\u0003%k%s';

function settings({ bootstrap, sasl, tls }: Request): string[] {
  const pairs = {
    ...(sasl && {
      'security.protocol': tls === undefined ? 'SASL_PLAINTEXT' : 'SASL_SSL',
      'sasl.mechanism': sasl.mechanism,
      'sasl.username': sasl.username,
      'sasl.password': sasl.password,
    }),
    ...(tls && { 'ssl.ca.pem': tls.ca }),
  };
  return ['-b', bootstrap, ...Object.entries(pairs).flatMap(([name, value]) => ['-X', `${name}=${value}`])];
}

interface Run {
  readonly output: Buffer;
  readonly errors: string;
  readonly code: number | null;
}

async function kcat(parameters: readonly string[], input: Buffer): Promise<Run> {
  const child = spawn(KCAT, [...BEFORE, ...parameters], { stdio: ['pipe', 'pipe', 'pipe'] });
  const output: Buffer[] = [];
  let errors = '';
  child.stdout.on('data', (bytes: Buffer) => output.push(bytes));
  child.stderr.on('data', (bytes: Buffer) => {
    errors += bytes.toString();
  });
  // It may end before it has read everything.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { output: Buffer.concat(output), errors, code };
}

/** One kcat takes records of one partition, with the same headers and with or without a key. */
function kindOf({ partition, headers = [], key, value }: AgentRecord): string {
  return JSON.stringify([partition ?? -1, headers, key === null, value === null]);
}

async function produce(request: ProduceRequest) {
  const { codec = 'none', idempotent = false, acks = -1, records } = request;
  for (const kind of new Set(records.map(kindOf))) {
    const same = records.filter((record) => kindOf(record) === kind);
    const [{ partition = -1, headers = [], key } = {} as AgentRecord] = same;
    if (same.some(({ timestampMs }) => timestampMs !== undefined)) throw new Failure('kcat sets no timestamps');
    const input = Buffer.concat(
      same.flatMap((record) => [
        ...(record.key === null ? [] : [decode(record.key) as Buffer, Buffer.from(DELIMITER)]),
        decode(record.value) ?? Buffer.alloc(0),
        Buffer.from(END),
      ]),
    );
    const named = headers.map(([name, value]) => ['-H', value === null ? name : `${name}=${decode(value)}`]);
    const { errors, code } = await kcat(
      [
        ...['-P', ...settings(request), '-t', request.topic, '-p', String(partition), '-z', codec, '-D', END],
        ...(key === null ? [] : ['-K', DELIMITER]),
        ...(same[0]?.value === null ? ['-Z'] : []),
        ...named.flat(),
        ...['-X', `acks=${acks}`, '-X', 'message.max.bytes=2000000', '-X', 'partitioner=murmur2_random'],
        ...['-X', `enable.idempotence=${idempotent}`, '-X', `max.in.flight=${idempotent ? 5 : 1}`],
      ],
      input,
    );
    if (code !== 0) throw new Failure(errors.trim());
  }
  return { acked: records.map(() => ({ partition: -1, offset: -1 })) };
}

/** Tells the whole records in the bytes and returns what is left of them. */
function emitWhole(bytes: Buffer): Buffer {
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf(3);
    if (end < 0) return rest;
    const text = rest.subarray(0, end).toString();
    const [partition, offset, timestampMs, keyLength, valueLength] = text.split(' ', 5).map(Number) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const keyEnd = end + 1 + Math.max(keyLength, 0);
    const valueEnd = keyEnd + Math.max(valueLength, 0);
    if (rest.length < valueEnd) return rest;
    const names = text.split(' ').slice(5).join(' ');
    emitRecord({
      partition,
      offset,
      timestampMs,
      key: keyLength < 0 ? null : rest.subarray(end + 1, keyEnd),
      value: valueLength < 0 ? null : rest.subarray(keyEnd, valueEnd),
      headers: names === '' ? [] : names.split(',').map(headerOf),
    });
    rest = rest.subarray(valueEnd);
  }
}

function headerOf(text: string): [string, Buffer | null] {
  const [name = '', ...value] = text.split('=');
  return [name, value.length === 0 || value[0] === 'NULL' ? null : Buffer.from(value.join('='))];
}

/** Reads with one kcat until it ends, or is told to. */
async function read(parameters: readonly string[], until: Promise<unknown>, onErrorLine?: (line: string) => void) {
  const child = spawn(KCAT, [...BEFORE, ...parameters], { stdio: ['ignore', 'pipe', 'pipe'] });
  let rest = Buffer.alloc(0);
  let errors = '';
  child.stdout.on('data', (bytes: Buffer) => {
    rest = Buffer.from(emitWhole(Buffer.concat([rest, bytes])));
  });
  // kcat writes a line in pieces, so what comes at once is no line.
  createInterface({ input: child.stderr }).on('line', (line) => {
    errors += `${line}\n`;
    onErrorLine?.(line);
  });
  let stopped = false;
  const stop = (): void => {
    stopped = true;
    child.kill('SIGTERM');
  };
  until.then(stop);
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 && !stopped) throw new Failure(errors.trim());
}

async function consume(request: ConsumeRequest) {
  const { from, topic, partitions, count, timeoutMs } = request;
  const deadline = new Promise((resolve) => setTimeout(resolve, timeoutMs).unref());
  const enough = Promise.withResolvers<void>();
  const common = ['-C', ...settings(request), '-t', topic, '-f', FORMAT, '-u', '-q', '-X', 'fetch.wait.max.ms=500'];
  const reset = ['-X', `topic.auto.offset.reset=${request.reset ?? 'error'}`];
  const only = partitions.length === 1;
  // Of several partitions each kcat may have all records that are wanted, so the end of the partition ends it.
  const limits = only ? ['-c', String(count)] : ['-e'];
  emit('ready');
  for (const partition of partitions) {
    const start = await startOf(request, partition);
    const place = ['-p', String(partition), '-o', start];
    await read([...common, ...reset, ...place, ...limits], Promise.race([deadline, enough.promise]));
  }
  return from === undefined ? {} : {};
}

async function startOf(request: ConsumeRequest, partition: number): Promise<string> {
  const { from } = request;
  if (from === 'earliest') return 'beginning';
  if (from === 'latest') return 'end';
  return 'offset' in from
    ? String(from.offset)
    : String(await offsetAt(request, request.topic, partition, from.timestampMs));
}

async function group(request: GroupRequest) {
  const { group: name, topic, reset = 'earliest', protocol = 'classic', count, instanceId } = request;
  if (protocol === 'consumer') throw new Failure('the librdkafka of this kcat knows the classic protocol only');
  const owned = new Set<number>();
  await read(
    [
      ...['-G', name, ...settings(request), '-f', FORMAT, '-u'],
      ...['-X', `auto.offset.reset=${reset}`, '-X', `session.timeout.ms=${request.sessionTimeoutMs ?? 6_000}`],
      ...['-X', 'heartbeat.interval.ms=500', '-X', `enable.auto.commit=${request.commit ?? true}`],
      ...['-X', 'auto.commit.interval.ms=100', '-X', 'fetch.wait.max.ms=500'],
      ...(instanceId === undefined ? [] : ['-X', `group.instance.id=${instanceId}`]),
      ...(count === undefined ? [] : ['-c', String(count)]),
      topic,
    ],
    inputEnded,
    (line) => noteRebalance(line, owned),
  );
  return {};
}

/** `% Group g rebalanced (memberid m): assigned: t [0], t [1]`. */
function noteRebalance(line: string, owned: Set<number>): void {
  for (const [, change, list = ''] of line.matchAll(/rebalanced .*?: (assigned|revoked): (.*)/g)) {
    for (const [, partition] of list.matchAll(/\[(\d+)\]/g)) {
      if (change === 'assigned') owned.add(Number(partition));
      else owned.delete(Number(partition));
    }
    emit('assigned', { partitions: [...owned].sort((a, b) => a - b) });
  }
}

interface Listing {
  readonly brokers: readonly unknown[];
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly unknown[];
    readonly error?: string;
  }[];
}

async function list(request: Request, topic?: string): Promise<Listing> {
  const named = topic === undefined ? [] : ['-t', topic];
  const { output, errors, code } = await kcat(['-L', '-J', ...settings(request), ...named], Buffer.alloc(0));
  if (code !== 0) throw new Failure(errors.trim());
  return JSON.parse(output.toString()) as Listing;
}

async function offsetAt(request: Request, topic: string, partition: number, at: number): Promise<number> {
  const query = ['-Q', ...settings(request), '-t', `${topic}:${partition}:${at}`];
  const { output, errors, code } = await kcat(query, Buffer.alloc(0));
  if (code !== 0) throw new Failure(errors.trim());
  return Number(/offset (-?\d+)/.exec(output.toString())?.[1]);
}

async function admin(request: AdminRequest): Promise<Readonly<Record<string, unknown>>> {
  const { op, topic = '', partition = 0, at = 'latest' } = request;
  if (op === 'list-topics') return { topics: (await list(request)).topics.map((each) => each.topic) };
  if (op === 'describe-cluster') return { nodes: (await list(request)).brokers.length };
  if (op === 'describe-topic') {
    const found = (await list(request, topic)).topics[0];
    if (found?.error !== undefined) throw new Failure(found.error);
    return { partitions: found?.partitions.length };
  }
  if (op === 'list-offsets' && at !== 'max-timestamp') {
    const time = { earliest: -2, latest: -1 };
    return { offset: await offsetAt(request, topic, partition, typeof at === 'number' ? at : time[at]) };
  }
  throw new Failure(`kcat has no ${op}`);
}

await serve({ produce, consume, group, admin }, () => undefined);
