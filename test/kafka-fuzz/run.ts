import { API_VERSIONS } from '../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { FETCH } from '../../shared/kafka/protocol/messages/records/fetch.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import type { KafkaClient } from '../support/kafka-client.ts';
import { memoryBroker, memoryStores, SeededRandom, valuesOf } from '../support/memory-broker.ts';
import { runGateway } from '../support/memory-gateway.ts';
import { beginSession, sessionFollowers, sessionFrames } from './session.ts';

export interface FuzzResult {
  readonly frames: number;
  /** Frames after which the connection went on, and those that ended it. */
  readonly answered: number;
  readonly closed: number;
  /** Frames for which nothing came in time, as for a long poll: the client left. */
  readonly left: number;
  /** What the server reported as errors of its own. */
  readonly errors: readonly unknown[];
  /** Whether a topic that no frame names has its records still. */
  readonly isUnharmed: boolean;
  readonly heapBytesMax: number;
}

/** How long a request may take before the client leaves. */
const PATIENCE_MS = 50;
const CORRELATION_AT = 8;
const LENGTH_BYTES = 4;
const CHANGES_MAX = 4;
const SESSION_ONE_IN = 20;
const SESSION_VERSIONS = [7, 12, 17];

/**
 * Sends frames of real requests with some bytes changed to a gateway, each followed by a request that must be answered unless
 * the connection is closed.
 */
export async function fuzz(seed: number, frames: number): Promise<FuzzResult> {
  const broker = memoryBroker({ ...memoryStores(), clock: systemClock });
  await using gateway = await runGateway({ broker });
  const { topic } = await broker.putTopic({ name: 't', partitions: 2 });
  await broker.putTopic({ name: 'untouched' });
  await broker.appendRecords({ topic: 'untouched', records: [{ key: null, value: Buffer.from('kept'), headers: [] }] });
  const session = sessionFrames(topic.topicId);
  const random = new SeededRandom(seed);
  const counts = { answered: 0, closed: 0, left: 0 };
  let heapBytesMax = 0;
  let client: KafkaClient | undefined;
  /** Requests of a fetch session of this connection. */
  let followers: Uint8Array[] = [];
  for (let i = 0; i < frames; i++) {
    if (client === undefined) {
      client = await gateway.connect();
      followers = [];
    }
    if (followers.length === 0 && random.below(SESSION_ONE_IN) === 0)
      followers = await followersOf(client, topic.topicId, random);
    const frame = followers.shift() ?? (session[random.below(session.length)] as Uint8Array);
    const outcome = await send(client, mutated(frame, random));
    counts[outcome]++;
    if (outcome !== 'answered') {
      client.close();
      client = undefined;
    }
    if (i % 1_000 === 0) heapBytesMax = Math.max(heapBytesMax, process.memoryUsage().heapUsed);
  }
  const isUnharmed = (await valuesOf(broker, 'untouched', 0)).join() === 'kept';
  return { frames, ...counts, errors: gateway.errors, isUnharmed, heapBytesMax };
}

/** Begins a fetch session. */
async function followersOf(client: KafkaClient, topicId: string, random: SeededRandom): Promise<Uint8Array[]> {
  const version = SESSION_VERSIONS[random.below(SESSION_VERSIONS.length)] as number;
  const { sessionId } = await client.request(FETCH, version, beginSession(topicId));
  if (sessionId === 0) throw new Error('No fetch session began.');
  return sessionFollowers(topicId, sessionId, version);
}

/** Some bytes are changed, the end is cut off, or bytes are put in; then the length is mostly made to fit. */
function mutated(frame: Uint8Array, random: SeededRandom): Uint8Array {
  let bytes = Uint8Array.from(frame);
  for (let changes = 1 + random.below(CHANGES_MAX); changes > 0; changes--) {
    const at = LENGTH_BYTES + random.below(Math.max(1, bytes.length - LENGTH_BYTES));
    // The header is left alone most of the time: what is behind it is more interesting.
    if (at < LENGTH_BYTES + CORRELATION_AT && random.next() < 0.8) continue;
    const kind = random.below(6);
    if (kind === 0) bytes = bytes.slice(0, at);
    else if (kind === 1)
      bytes = Uint8Array.of(...bytes.subarray(0, at), ...random.bytes(1 + random.below(8)), ...bytes.subarray(at));
    else if (kind === 2) bytes[at] = 0xff;
    else if (kind === 3) bytes[at] = 0x7f;
    else if (kind === 4) bytes[at] = 0;
    else bytes[at] = random.below(256);
  }
  if (bytes.length < LENGTH_BYTES) bytes = Uint8Array.of(...bytes, 0, 0, 0, 0).slice(0, LENGTH_BYTES);
  if (random.next() < 0.98) new DataView(bytes.buffer).setInt32(0, Math.max(1, bytes.length - LENGTH_BYTES));
  return bytes;
}

async function send(client: KafkaClient, bytes: Uint8Array): Promise<'answered' | 'closed' | 'left'> {
  client.socket.write(bytes);
  const versions = client.request(API_VERSIONS, 0, { clientSoftwareName: '', clientSoftwareVersion: '' });
  // The frame before may be answered too: then this one's answer is the second.
  const first = versions.then(
    () => 'answered' as const,
    (error: Error) => (/belongs to request/.test(error.message) ? undefined : ('closed' as const)),
  );
  const late = new AbortController();
  const outcome = await Promise.race([
    first.then(async (found) => found ?? ((await client.nextFrame()) === undefined ? 'closed' : 'answered')),
    systemClock.sleep(PATIENCE_MS, late.signal).then(() => 'left' as const),
  ]);
  late.abort();
  return outcome;
}
