import type { FetchedPartition, PartitionToFetch } from '../../../broker/read/fetch-partitions.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { FETCH } from '../../protocol/messages/records/fetch.ts';
import { ZERO_UUID } from '../../protocol/types.ts';
import { leaderEpochError } from '../leader-epoch.ts';
import { knownTopicError } from '../topic-errors.ts';
import { allowedName } from '../topic-names.ts';
import type { FetchSession, PartitionNews, SessionPartition, WantedPartition } from './fetch-session.ts';

type Request = RequestOf<typeof FETCH>;
type FetchedTopic = ResponseOf<typeof FETCH>['responses'][number];
type AnsweredPartition = FetchedTopic['partitions'][number];

const TOPIC_IDS_FROM = 13;
const READ_COMMITTED = 1;
/** Waits are no longer than this, whatever a client asks for. */
const WAIT_MS_MAX = 60_000;
/** Epochs of requests that name all their partitions: with the first a session begins, with the second none. */
const BEGIN_SESSION = 0;
const END_SESSION = -1;
const NO_SESSION = 0;

/**
 * Reads record batches from many partitions, and waits for `minBytes` at their ends. A session saves naming them each time
 * (KIP-227); the caller's rights and the topics are checked on every fetch. Costs what `fetchPartitions` does.
 */
export const fetch = handler(FETCH, [{ action: 'consume', on: 'topic' }], async (call, request) => {
  const opened = open(call, request);
  if (typeof opened === 'number') return { errorCode: opened, responses: [] };
  const { wanted, session } = opened;
  const found = await read(call, request, wanted);
  const form = { isolationLevel: request.isolationLevel, isById: call.version >= TOPIC_IDS_FROM };
  if (session !== undefined) {
    const told = toTell(session, wanted as SessionPartition[], found);
    return { errorCode: KAFKA_ERRORS.NONE, sessionId: session.id, responses: byTopic(told, wanted, found, form) };
  }
  const sessionId = opened.mayBegin ? begin(call, wanted, found) : NO_SESSION;
  return { errorCode: KAFKA_ERRORS.NONE, sessionId, responses: byTopic(wanted.keys(), wanted, found, form) };
});

/** What was found of a partition, or why it was not looked for. */
type Found = FetchedPartition | KafkaErrorNumber;

interface Form {
  readonly isolationLevel: number;
  readonly isById: boolean;
}

interface Opened {
  readonly wanted: readonly WantedPartition[];
  /** If the request belongs to a session: `wanted` are its partitions then. */
  readonly session: FetchSession | undefined;
  readonly mayBegin: boolean;
}

/** What the request and its session ask for, or the error that the whole request is answered with. */
function open({ fetchSessions, connection, version, gateway }: Call, request: Request): Opened | KafkaErrorNumber {
  const { sessionId, sessionEpoch } = request;
  const isById = version >= TOPIC_IDS_FROM;
  const wanted = namedIn(request, isById);
  if (sessionEpoch === BEGIN_SESSION || sessionEpoch === END_SESSION) {
    fetchSessions.end(connection, sessionId);
    return { wanted, session: undefined, mayBegin: sessionEpoch === BEGIN_SESSION };
  }
  const session = fetchSessions.find(connection, sessionId);
  if (session === undefined) return KAFKA_ERRORS.FETCH_SESSION_ID_NOT_FOUND;
  if (session.epoch !== sessionEpoch) return KAFKA_ERRORS.INVALID_FETCH_SESSION_EPOCH;
  if (session.usesTopicIds !== isById) return KAFKA_ERRORS.FETCH_SESSION_TOPIC_ID_ERROR;
  session.update(wanted, forgottenIn(request, isById));
  if (session.size === 0) {
    fetchSessions.end(connection, sessionId);
    return { wanted, session: undefined, mayBegin: false };
  }
  if (!fetchSessions.used(connection, session, gateway.clock.nowMs())) return KAFKA_ERRORS.FETCH_SESSION_ID_NOT_FOUND;
  session.nextEpoch();
  return { wanted: [...session.inTurn()], session, mayBegin: false };
}

function namedIn({ topics }: Request, isById: boolean): WantedPartition[] {
  return topics.flatMap(({ topic, topicId, partitions }) =>
    partitions.map(({ partition, fetchOffset, partitionMaxBytes, currentLeaderEpoch }) => ({
      topic: isById ? topicId : topic,
      ...{ partition, offset: fetchOffset, bytesMax: partitionMaxBytes, currentLeaderEpoch },
    })),
  );
}

function forgottenIn({ forgottenTopicsData }: Request, isById: boolean): { topic: string; partition: number }[] {
  return forgottenTopicsData.flatMap(({ topic, topicId, partitions }) =>
    partitions.map((partition) => ({ topic: isById ? topicId : topic, partition })),
  );
}

/** For each partition that is wanted. */
async function read(
  call: Call,
  { maxWaitMs, minBytes, maxBytes, isolationLevel }: Request,
  wanted: readonly WantedPartition[],
): Promise<Found[]> {
  const isById = call.version >= TOPIC_IDS_FROM;
  const names = await namesOf(call, wanted);
  // A client that asks for more gets less, and asks again.
  const { room } = call.answerBytes;
  const allowed: PartitionToFetch[] = [];
  const refusals: (KafkaErrorNumber | undefined)[] = [];
  for (const { topic: key, partition, offset, bytesMax: wantedBytes, currentLeaderEpoch } of wanted) {
    const topic = names.get(key) as string | KafkaErrorNumber;
    const refusal = typeof topic === 'string' ? leaderEpochError(currentLeaderEpoch) : topic;
    refusals.push(refusal);
    if (refusal !== undefined || typeof topic !== 'string') continue;
    const bytesMax = Math.min(Math.max(1, wantedBytes), room);
    allowed.push({ topic, topicId: isById ? key : undefined, partition, offset, bytesMax });
  }
  const fetched = await call.gateway.broker.fetchPartitions({
    partitions: allowed,
    // A refusal is answered at once.
    bytesMin: allowed.length < wanted.length ? 0 : Math.max(0, minBytes),
    bytesMax: Math.min(Math.max(1, maxBytes), room),
    waitMs: Math.min(Math.max(0, maxWaitMs), WAIT_MS_MAX),
    isolation: isolationLevel === READ_COMMITTED ? 'read_committed' : 'read_uncommitted',
    signal: call.signal,
  });
  let next = 0;
  return refusals.map((refusal) => refusal ?? (fetched[next++] as FetchedPartition));
}

/** The name of each topic, or why it is refused. */
async function namesOf(
  call: Call,
  wanted: readonly WantedPartition[],
): Promise<ReadonlyMap<string, string | KafkaErrorNumber>> {
  const names = new Map<string, string | KafkaErrorNumber>();
  for (const { topic } of wanted) {
    if (names.has(topic)) continue;
    names.set(topic, await allowedName(call, 'consume', { name: topic, topicId: topic }, TOPIC_IDS_FROM));
  }
  return names;
}

function answerOf(partitionIndex: number, fetched: Found, { isolationLevel, isById }: Form): AnsweredPartition {
  const isCommitted = isolationLevel === READ_COMMITTED;
  if (typeof fetched !== 'number' && fetched.ok) {
    const { highWatermark, lastStableOffset, logStartOffset, batches, aborted } = fetched;
    const records = batches.map(({ bytes }) => bytes);
    const abortedTransactions = isCommitted
      ? aborted.map(({ producerId, firstOffset }) => ({ producerId, firstOffset }))
      : null;
    const place = { partitionIndex, highWatermark, lastStableOffset, logStartOffset };
    return { ...place, errorCode: KAFKA_ERRORS.NONE, abortedTransactions, records };
  }
  const errorCode = typeof fetched === 'number' ? fetched : errorOf(fetched.error, isById);
  return {
    partitionIndex,
    errorCode,
    highWatermark: -1,
    abortedTransactions: isCommitted ? [] : null,
    records: [],
  };
}

type FetchError = Extract<FetchedPartition, { readonly ok: false }>['error'];

/** A topic that was found by its id, and is deleted by now. */
function errorOf(error: FetchError, isById: boolean): KafkaErrorNumber {
  return isById && error.code === 'unknown_topic' ? KAFKA_ERRORS.UNKNOWN_TOPIC_ID : knownTopicError(error);
}

/** A session with the partitions of a request that named them all; `NO_SESSION` if there is no room. */
function begin(
  { fetchSessions, connection, version, gateway, signal }: Call,
  wanted: readonly WantedPartition[],
  found: readonly Found[],
): number {
  // A session that begins after its connection has ended would be forgotten by nobody.
  if (signal.aborted) return NO_SESSION;
  const session = fetchSessions.begin(connection, {
    usesTopicIds: version >= TOPIC_IDS_FROM,
    nowMs: gateway.clock.nowMs(),
    fill: (filled) => {
      filled.update(wanted, []);
      filled.tellAll(wanted, found.map(newsOf));
    },
  });
  return session?.id ?? NO_SESSION;
}

/** The places of what the client must be told. Partitions that have records get the last turns. */
function toTell(session: FetchSession, wanted: readonly SessionPartition[], found: readonly Found[]): number[] {
  const places: number[] = [];
  const served = new Set<number>();
  for (const [place, { slot }] of wanted.entries()) {
    const news = newsOf(found[place] as Found);
    if (session.tell(slot, news)) places.push(place);
    if (news.hasRecords) served.add(slot);
  }
  session.toTheEnd(served);
  return places;
}

function newsOf(found: Found): PartitionNews {
  if (typeof found === 'number' || !found.ok) return ERROR_NEWS;
  const { highWatermark, logStartOffset, batches } = found;
  return { hasRecords: batches.length > 0, isError: false, highWatermark, logStartOffset };
}

const ERROR_NEWS: PartitionNews = { hasRecords: false, isError: true, highWatermark: -1, logStartOffset: -1 };

/** Answers of what is at these places; those of one topic together if they follow each other. */
function byTopic(
  places: Iterable<number>,
  wanted: readonly WantedPartition[],
  found: readonly Found[],
  form: Form,
): FetchedTopic[] {
  const topics: (FetchedTopic & { readonly partitions: AnsweredPartition[] })[] = [];
  let last: string | undefined;
  for (const place of places) {
    const { topic: key, partition } = wanted[place] as WantedPartition;
    const answer = answerOf(partition, found[place] as Found, form);
    if (key === last) topics.at(-1)?.partitions.push(answer);
    else topics.push({ topic: form.isById ? '' : key, topicId: form.isById ? key : ZERO_UUID, partitions: [answer] });
    last = key;
  }
  return topics;
}
