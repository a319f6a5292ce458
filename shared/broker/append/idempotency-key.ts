import { createHash } from 'node:crypto';
import { toHex } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { IDEMPOTENCY_KEY_LENGTH_MAX, IDEMPOTENCY_KEY_LIFETIME_MS } from '../../log/limits.ts';
import { headOf, type Topic } from '../../log/topic/topic.ts';
import { IDEMPOTENCY, idempotencyKey } from '../../storage/keys.ts';
import type { Attributes, Condition } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { AppendIdentity } from './append-batches.ts';
import type { AppendRecordsRequest, RecordOutcome } from './append-records.ts';
import type { Committer } from './group-commit.ts';

/** How a keyed append is planned and run. A plan depends on the topic's partitions and the key's hash alone. */
interface KeyedAppend<Plan> {
  plan(topic: Topic, hash: Uint8Array): Plan;
  partitions(plan: Plan): readonly number[];
  run(topic: Topic, plan: Plan, identity: AppendIdentity): Promise<RecordOutcome[]>;
}

/**
 * An append under an idempotency key. Before the first try an item notes what must be the same in every try: the content,
 * the number of partitions, and for each head a sequence from before; so a retry, by whichever process, puts every record
 * in the same partition, and finds what an earlier try committed by its once key, in the tail or in the tail nodes from
 * that sequence on. The first complete answer is noted there too, and given again for 24 hours.
 *
 * An append of several heads is committed head by head: where a try ends half-way, the next one completes it.
 */
export async function appendOnce<Plan>(
  context: BrokerContext,
  committer: Committer,
  topic: Topic,
  key: string,
  request: AppendRecordsRequest,
  keyed: KeyedAppend<Plan>,
): Promise<RecordOutcome[]> {
  if (key.length === 0 || key.length > IDEMPOTENCY_KEY_LENGTH_MAX) {
    throw invalidField('Idempotency-Key', `An idempotency key has 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters.`);
  }
  const { items } = context.usage.of(topic.name, 'append');
  const hash = createHash('sha256').update(key).digest().subarray(0, HASH_BYTES);
  const itemKey = idempotencyKey(topic.topicId, toHex(hash));
  const fingerprint = fingerprintOf(request);
  const note = await noteFirstTry(context, committer, topic, itemKey, fingerprint, keyed, hash);
  if (note[IDEMPOTENCY.fingerprint] !== fingerprint) {
    throw new EventLogError(
      'idempotency_key_reused',
      'This idempotency key was used to append something else. Use a new key for new content.',
    );
  }
  const answer = note[IDEMPOTENCY.answer];
  if (typeof answer === 'string') return parseAnswer(answer);
  const then = { ...topic, partitions: Number(note[IDEMPOTENCY.partitions]) };
  const observed = Object.entries(JSON.parse(String(note[IDEMPOTENCY.observed])) as Record<string, number>);
  const observedEntry = new Map(observed.map(([headNumber, sequence]) => [Number(headNumber), sequence]));
  // A key that is used again after its note has expired stands for another append: its entries must not be taken for it.
  const use = createHash('sha256').update(hash).update(String(note[IDEMPOTENCY.expiresAt]));
  const identity = { topicId: topic.topicId, hash: use.digest().subarray(0, HASH_BYTES), observedEntry };
  const outcomes = await keyed.run(then, keyed.plan(then, hash), identity);
  const printed = outcomes.every((outcome) => outcome.ok) ? printAnswer(outcomes) : undefined;
  if (printed !== undefined && printed.length <= ANSWER_LENGTH_MAX) {
    // Without the answer a retry finds the same offsets by the once keys.
    await items.update(itemKey, [{ do: 'set', name: IDEMPOTENCY.answer, value: printed }]).catch(() => {});
  }
  return outcomes;
}

const HASH_BYTES = 16;
/** A longer answer would cost more to keep than to find again. */
const ANSWER_LENGTH_MAX = 32_768;

async function noteFirstTry<Plan>(
  context: BrokerContext,
  committer: Committer,
  topic: Topic,
  itemKey: ReturnType<typeof idempotencyKey>,
  fingerprint: string,
  keyed: KeyedAppend<Plan>,
  hash: Uint8Array,
): Promise<Attributes> {
  const { items } = context.usage.of(topic.name, 'append');
  const heads = new Set(
    keyed.partitions(keyed.plan(topic, hash)).map((partition) => headOf(topic, partition).headNumber),
  );
  const observed: Record<string, number> = {};
  await Promise.all(
    [...heads].map(async (headNumber) => {
      observed[headNumber] = await committer.observedEntry(topic, headNumber);
    }),
  );
  const nowSeconds = Math.floor(context.clock.nowMs() / 1_000);
  const note: Attributes = {
    [IDEMPOTENCY.fingerprint]: fingerprint,
    [IDEMPOTENCY.partitions]: topic.partitions,
    [IDEMPOTENCY.observed]: JSON.stringify(observed),
    [IDEMPOTENCY.expiresAt]: nowSeconds + IDEMPOTENCY_KEY_LIFETIME_MS / 1_000,
  };
  let condition: Condition = { if: 'item_absent' };
  for (;;) {
    const noted = await items.put(itemKey, note, [condition]);
    if (noted.ok) return note;
    const met = noted.attributes;
    const expiresAt = Number(met?.[IDEMPOTENCY.expiresAt] ?? 0);
    if (met !== undefined && expiresAt > nowSeconds) return met;
    condition =
      met === undefined ? { if: 'item_absent' } : { if: 'equals', name: IDEMPOTENCY.expiresAt, value: expiresAt };
  }
}

/** Of what the caller gave, and not of what depends on the time of the try. */
function fingerprintOf(request: AppendRecordsRequest): string {
  const hash = createHash('sha256');
  const add = (bytes: Uint8Array | null | undefined): void => {
    hash.update(`${bytes?.length ?? -1}:`);
    if (bytes) hash.update(bytes);
  };
  hash.update(JSON.stringify([request.records.length, request.atomic ?? false, request.expectedOffset ?? null]));
  for (const { key, value, headers, timestampMs, partition } of request.records) {
    add(key);
    add(value);
    hash.update(JSON.stringify([timestampMs ?? null, partition ?? null, headers.map((header) => header.key)]));
    for (const header of headers) add(header.value);
  }
  return hash.digest('base64url');
}

/** Runs of records with one partition, consecutive offsets and one time, so that an answer stays small. */
type AnswerRun = [partition: number, offset: number, timestampMs: number, records: number];

function printAnswer(outcomes: readonly RecordOutcome[]): string {
  const runs: AnswerRun[] = [];
  for (const outcome of outcomes) {
    if (!outcome.ok) continue;
    const last = runs.at(-1);
    if (last?.[0] === outcome.partition && last[1] + last[3] === outcome.offset && last[2] === outcome.timestampMs)
      last[3]++;
    else runs.push([outcome.partition, outcome.offset, outcome.timestampMs, 1]);
  }
  return JSON.stringify(runs);
}

function parseAnswer(answer: string): RecordOutcome[] {
  return (JSON.parse(answer) as AnswerRun[]).flatMap(([partition, offset, timestampMs, records]) =>
    Array.from({ length: records }, (_, i) => ({
      ok: true as const,
      partition,
      offset: offset + i,
      timestampMs,
      duplicate: true,
    })),
  );
}
