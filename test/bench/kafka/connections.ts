/**
 *     npm run bench:kafka-connections -- [--connections 1000 --producers 30 --consumers 10 --seconds 20] [--server host:port --pid N]
 *
 * The memory of what `npm start` runs, with many clients at once: some write batches of 16 KiB to 6 partitions as fast as they
 * are answered, some read what these write from its beginning, again and again, and all others wait at the end of a topic to
 * which a record comes now and then. It reads `/proc`, so it runs on Linux. Nothing here is asserted.
 */
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FETCH } from '../../../shared/kafka/protocol/messages/records/fetch.ts';
import { PRODUCE } from '../../../shared/kafka/protocol/messages/records/produce.ts';
import { CREATE_TOPICS } from '../../../shared/kafka/protocol/messages/topics/create-topics.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { encodeBatch } from '../../../shared/log/batch/record-batch.ts';
import { KafkaClient, readAnswer, requestFrame } from '../../support/kafka-client.ts';
import { count, megabytes, row } from '../measure.ts';
import { startTailraceProcess } from './tailrace-process.ts';

const { values: options } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000' },
    producers: { type: 'string', default: '30' },
    consumers: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '20' },
    server: { type: 'string' },
    pid: { type: 'string' },
  },
});
const PARTITIONS = 6;
const BUSY = 'busy';
const QUIET = 'quiet';
const RECORD_BYTES = 1_024;
/** What Java's producer puts into a batch by default. */
const BATCH_RECORDS = 15;
const REQUESTS_IN_FLIGHT = 5;
const QUIET_RECORD_MS = 500;
const PRODUCE_VERSION = 9;
const FETCH_VERSION = 6;
const FETCHED_PER_PARTITION = 1024 * 1024;
const TICKS_PER_SECOND = 100;
/** Fields of a record batch. */
const LENGTH_AT = 8;
const LENGTH_END = 12;
const LAST_OFFSET_DELTA_AT = 23;

interface Totals {
  recordsProduced: number;
  bytesRead: number;
  polls: number;
}

const totals: Totals = { recordsProduced: 0, bytesRead: 0, polls: 0 };
let isOver = false;

function produceFrame(topic: string, partitions: number, records: number): Uint8Array {
  const batch = encodeBatch(
    Array.from({ length: records }, (_, i) => ({
      key: null,
      value: new Uint8Array(RECORD_BYTES).fill(i),
      headers: [],
      timestampMs: Date.now(),
    })),
  );
  const partitionData = Array.from({ length: partitions }, (_, index) => ({ index, records: [batch] }));
  return requestFrame(PRODUCE, PRODUCE_VERSION, {
    acks: -1,
    timeoutMs: 30_000,
    topicData: [{ name: topic, topicId: ZERO_UUID, partitionData }],
  });
}

/** @throws Error if a batch is refused */
async function produce(client: KafkaClient): Promise<void> {
  const frame = produceFrame(BUSY, PARTITIONS, BATCH_RECORDS);
  for (let i = 0; i < REQUESTS_IN_FLIGHT; i++) client.socket.write(frame);
  while (!isOver) {
    const answer = await client.nextFrame();
    if (answer === undefined) return;
    const { responses } = readAnswer(PRODUCE, PRODUCE_VERSION, answer, 0);
    const refused = responses[0]?.partitionResponses.find(({ errorCode }) => errorCode !== 0);
    if (refused !== undefined) throw new Error(`A batch was refused with error ${refused.errorCode}.`);
    totals.recordsProduced += PARTITIONS * BATCH_RECORDS;
    client.socket.write(frame);
  }
}

/** Reads all partitions of a topic from `startOffset` of each on, as answers tell how far they are. */
async function consume(client: KafkaClient, topic: string, waitMs: number): Promise<void> {
  const offsets = new Array<number>(PARTITIONS).fill(0);
  while (!isOver) {
    const { responses } = await client.request(FETCH, FETCH_VERSION, {
      maxWaitMs: waitMs,
      minBytes: 1,
      maxBytes: 50 * 1024 * 1024,
      topics: [
        {
          topic,
          topicId: ZERO_UUID,
          partitions: offsets.map((fetchOffset, partition) => ({
            partition,
            fetchOffset,
            partitionMaxBytes: FETCHED_PER_PARTITION,
          })),
        },
      ],
      forgottenTopicsData: [],
    });
    totals.polls++;
    for (const { partitions } of responses)
      for (const { partitionIndex, highWatermark, records } of partitions) {
        for (const bytes of records) {
          totals.bytesRead += bytes.length;
          offsets[partitionIndex] = endOf(bytes);
        }
        if (topic === BUSY && offsets[partitionIndex] === highWatermark) offsets[partitionIndex] = 0;
      }
  }
}

/** The offset behind the last of these batches. */
function endOf(batches: Uint8Array): number {
  const view = new DataView(batches.buffer, batches.byteOffset, batches.length);
  let end = 0;
  for (let position = 0; position < batches.length; position += LENGTH_END + view.getInt32(position + LENGTH_AT))
    end = Number(view.getBigInt64(position)) + view.getInt32(position + LAST_OFFSET_DELTA_AT) + 1;
  return end;
}

async function writeNowAndThen(client: KafkaClient): Promise<void> {
  const frame = produceFrame(QUIET, 1, 1);
  while (!isOver) {
    client.socket.write(frame);
    await client.nextFrame();
    await setTimeout(QUIET_RECORD_MS);
  }
}

/** The memory of a process and the CPU seconds that it has used. */
async function usageOf(pid: number): Promise<{ rssMib: number; peakMib: number; cpuSeconds: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  const mib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1]) / 1_024;
  const times = (await readFile(`/proc/${pid}/stat`, 'utf8')).split(') ')[1]?.split(' ') ?? [];
  return {
    rssMib: mib('VmRSS'),
    peakMib: mib('VmHWM'),
    cpuSeconds: (Number(times[11]) + Number(times[12])) / TICKS_PER_SECOND,
  };
}

async function connectAll(bootstrap: string, connections: number): Promise<KafkaClient[]> {
  const clients: KafkaClient[] = [];
  for (let i = 0; i < connections; i++) clients.push(await KafkaClient.connect(bootstrap));
  return clients;
}

async function load(bootstrap: string, pid: number): Promise<void> {
  const [connections, producers, consumers] = [options.connections, options.producers, options.consumers].map(
    Number,
  ) as [number, number, number];
  const clients = await connectAll(bootstrap, connections + 1);
  const [admin, ...rest] = clients as [KafkaClient, ...KafkaClient[]];
  const topics = [BUSY, QUIET].map((name) => ({
    name,
    numPartitions: PARTITIONS,
    replicationFactor: 1,
    assignments: [],
    configs: [],
  }));
  await admin.request(CREATE_TOPICS, 2, { topics, timeoutMs: 30_000, validateOnly: false });
  const work = rest.map((client, i) => {
    if (i < producers) return produce(client);
    return i < producers + consumers ? consume(client, BUSY, 0) : consume(client, QUIET, 30_000);
  });
  work.push(writeNowAndThen(admin));
  for (const each of work)
    each.catch((error: unknown) => {
      if (!isOver) throw error;
    });
  const before = await usageOf(pid);
  for (let second = 1; second <= Number(options.seconds); second++) {
    const last = { ...totals };
    await setTimeout(1_000);
    const { rssMib } = await usageOf(pid);
    row(
      `second ${second}`,
      `${count(totals.recordsProduced - last.recordsProduced)} records/s`,
      `read ${megabytes(totals.bytesRead - last.bytesRead, 1)}`,
      `${totals.polls - last.polls} answers, ${count(rssMib)} MiB`,
    );
  }
  isOver = true;
  const { peakMib, cpuSeconds } = await usageOf(pid);
  const cpu = cpuSeconds - before.cpuSeconds;
  row('produced', `${count(totals.recordsProduced / Number(options.seconds))} records/s`, '');
  row('read', megabytes(totals.bytesRead, Number(options.seconds)), '');
  row(
    'CPU',
    `${cpu.toFixed(1)} s`,
    '',
    `${((cpu / (totals.recordsProduced * RECORD_BYTES + totals.bytesRead)) * 1e9).toFixed(2)} s for each GB written and read`,
  );
  row('largest memory (RSS)', `${count(peakMib)} MiB`, '300 MiB');
  for (const client of clients) client.close();
}

const server = options.server === undefined ? await startTailraceProcess() : undefined;
try {
  await load(server?.bootstrap ?? (options.server as string), server?.pid ?? Number(options.pid));
} finally {
  await server?.stop();
}
