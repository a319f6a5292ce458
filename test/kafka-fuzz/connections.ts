import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { METADATA } from '../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { FETCH } from '../../shared/kafka/protocol/messages/records/fetch.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { KafkaClient, requestFrame } from '../support/kafka-client.ts';
import { memoryBroker, memoryStores } from '../support/memory-broker.ts';
import { runGateway } from '../support/memory-gateway.ts';

/**
 *     node test/kafka-fuzz/connections.ts [--connections N]
 *
 * Opens many connections to a gateway in a process of its own, and prints what it takes of memory: when they are idle, when
 * each has a fetch session with 100 partitions and waits in a long poll, when each has sent half a frame, and when they are
 * gone. Then more connections come than are allowed. Needs about as many open files as connections (`ulimit -n`).
 */
const { values } = parseArgs({
  options: { connections: { type: 'string', default: '10000' }, serve: { type: 'boolean', default: false } },
});
const COUNT = Number(values.connections);
const PARTITIONS = 100;
const OPENED_AT_ONCE = 200;
/** Until the gateway has taken note of what happened. */
const SETTLES_MS = 3_000;

if (values.serve) await serve();
else await measure();

/** Prints its address, and for each line that it reads what it takes of memory. */
async function serve(): Promise<void> {
  const broker = memoryBroker({ ...memoryStores(), clock: systemClock });
  await broker.putTopic({ name: 't', partitions: PARTITIONS });
  const gateway = await runGateway({ broker, settings: { connectionsMax: COUNT + 1 } });
  console.log(gateway.bootstrapServers);
  for await (const _ of createInterface({ input: process.stdin })) {
    gc?.();
    const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
    const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
    console.log(`RSS ${mebibytes(rss)}, heap ${mebibytes(heapUsed)}, buffers ${mebibytes(arrayBuffers)}`);
  }
  process.exit(gateway.errors.length);
}

async function measure(): Promise<void> {
  const parameters = ['--expose-gc', import.meta.filename, '--serve', '--connections', String(COUNT)];
  const server = spawn(process.execPath, parameters, { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: server.stdout })[Symbol.asyncIterator]();
  const bootstrap = String((await lines.next()).value);
  const say = async (what: string): Promise<void> => {
    await sleep(SETTLES_MS);
    server.stdin.write('\n');
    console.log(`${what}: ${(await lines.next()).value}`);
  };
  const [host, port] = bootstrap.split(':') as [string, string];
  await say('nobody is connected');

  const sockets: Socket[] = [];
  for (let i = 0; i < COUNT; i += OPENED_AT_ONCE)
    sockets.push(...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, () => open(host, port)))));
  await say(`${COUNT} connections, idle`);

  const partitions = Array.from({ length: PARTITIONS }, (_, partition) => ({
    ...{ partition, fetchOffset: 0, partitionMaxBytes: 1_000_000 },
  }));
  const poll = (sessionEpoch: number, sessionId: number, maxWaitMs: number) => ({
    ...{ maxWaitMs, minBytes: 1, maxBytes: 1_000_000, sessionId, sessionEpoch, forgottenTopicsData: [] },
    topics: sessionEpoch === 0 ? [{ topic: 't', topicId: '', partitions }] : [],
  });
  const clients = sockets.map((socket) => new KafkaClient(socket));
  const ids: number[] = [];
  for (let i = 0; i < COUNT; i += OPENED_AT_ONCE) {
    const some = clients.slice(i, i + OPENED_AT_ONCE);
    const answers = await Promise.all(some.map((client) => client.request(FETCH, 12, poll(0, 0, 0))));
    ids.push(...answers.map(({ sessionId }) => sessionId));
  }
  console.log(`${ids.filter((id) => id !== 0).length} have a fetch session of ${PARTITIONS} partitions`);
  await say('with these sessions');
  for (const [i, client] of clients.entries())
    if (ids[i] !== 0) client.socket.write(requestFrame(FETCH, 12, poll(1, ids[i] as number, 60_000)));
  await say('in long polls');

  const last = await KafkaClient.connect(bootstrap);
  const asked = { topics: [], includeTopicAuthorizedOperations: false, includeClusterAuthorizedOperations: false };
  const beganMs = performance.now();
  await last.request(METADATA, 9, asked);
  console.log(`another connection is answered in ${(performance.now() - beganMs).toFixed(1)} ms`);
  const beyond = await KafkaClient.connect(bootstrap);
  console.log(`one beyond the limit is ${(await beyond.nextFrame()) === undefined ? 'closed' : 'answered'}`);
  last.close();

  for (const { socket } of clients) socket.destroy();
  await say('all are gone');

  const half: Socket[] = [];
  for (let i = 0; i < COUNT; i += OPENED_AT_ONCE)
    half.push(...(await Promise.all(Array.from({ length: OPENED_AT_ONCE }, () => open(host, port)))));
  // A frame of 16 MiB is announced, and some of it comes.
  const announced = Buffer.alloc(4_096);
  announced.writeInt32BE(16 * 2 ** 20 - 1);
  for (const socket of half) socket.write(announced);
  await say('as many connections with half a frame');
  for (const socket of half) socket.destroy();
  server.stdin.end();
  const [code] = await once(server, 'exit');
  console.log(`errors of the gateway: ${code}`);
}

async function open(host: string, port: string): Promise<Socket> {
  const socket = connect(Number(port), host);
  socket.on('error', () => {});
  await once(socket, 'connect');
  return socket;
}
