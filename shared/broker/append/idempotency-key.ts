import { createHash, type Hash } from 'node:crypto';
import { fromHex, toHex } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { IDEMPOTENCY_KEY_LENGTH_MAX, IDEMPOTENCY_KEY_LIFETIME_MS } from '../../log/limits.ts';
import { headOf, type Topic } from '../../log/topic/topic.ts';
import { numberSetting } from '../../log/topic/topic-config.ts';
import { IDEMPOTENCY, idempotencyKey } from '../../storage/keys.ts';
import type { Attributes, Condition, ItemKey } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import type { GroupCommit } from './group-commit.ts';
import type { AppendIdentity, AppendRecordsRequest, RecordOutcome } from './outcomes.ts';

/**
 * Appends under an idempotency key. Before the first attempt an item, the note, records the facts that must be the same in
 * every attempt: the content, the settings that decide its batches (the number of partitions, the size of a batch), and an
 * entry number of each head. So a retry, in any process, puts every record into the same partition. The retry searches the
 * tail, and the tail nodes from the recorded entry on, for the once key of an earlier attempt. The note also stores the
 * first complete answer, which is returned again for 24 hours.
 *
 * The once key is not derived from the idempotency key, but from a random name for this *use* of the idempotency key. A
 * key can be used again for another append after its note has expired or its append was rejected. The new use must not find
 * the earlier entries.
 *
 * A rejected append releases its key only when no attempt of the append can still be applied, including attempts that are
 * still in flight. The note is marked as released, and the next request under the key replaces the note and starts a new
 * use. Deleting the note would not be enough: a late request to make the note would bring it back.
 *
 * An append to several heads is committed head by head. If an attempt ends half-way, the next attempt completes it.
 */

export interface OpenKeyRequest {
  readonly topic: Topic;
  readonly key: string;
  readonly request: AppendRecordsRequest;
  /** The partitions of the records. */
  readonly partitions: readonly number[];
  /** Whether every record can be appended, as far as can be checked before the append. */
  readonly isValid: boolean;
}

export type OpenedKey =
  | { readonly type: 'answered'; readonly outcomes: RecordOutcome[] }
  | { readonly type: 'open'; readonly keyed: KeyedAppend }
  /** The request is not valid, and no earlier request with the same content was valid: the key stays free. */
  | { readonly type: 'not_opened' };

export interface KeyedAppend {
  /** The topic as of the first attempt, as far as it decides which record goes into which batch. */
  readonly topic: Topic;
  readonly identity: AppendIdentity;
  readonly itemKey: ItemKey;
  readonly use: string;
}

const USE_BYTES = 16;
/** The maximum length of a stored answer. A longer answer would cost more to store than to find again. */
const ANSWER_LENGTH_MAX = 32_768;

/**
 * Makes the note of a first attempt, or finds the note of an earlier attempt. 1 PutItem, or 1 GetItem for a request that is
 * not valid; 1 PutItem more if an earlier note has expired or was released.
 * @throws EventLogError `invalid_request` for the key, `idempotency_key_reused` if the key was used for other content
 */
export async function openKey(
  context: BrokerContext,
  groupCommit: GroupCommit,
  { topic, key, request, partitions, isValid }: OpenKeyRequest,
): Promise<OpenedKey> {
  const { items } = context.usage.of(topic.name, 'append');
  const itemKey = idempotencyKey(topic.topicId, toHex(hashOfKey(key)));
  const fingerprint = fingerprintOf(request);
  const nowSeconds = Math.floor(context.clock.nowMs() / 1_000);
  const isOver = (note: Attributes): boolean =>
    Number(note[IDEMPOTENCY.expiresAt]) <= nowSeconds || note[IDEMPOTENCY.released] !== undefined;
  let note: Attributes | undefined;
  if (!isValid) {
    note = (await items.get(itemKey)).attributes;
    if (note === undefined || isOver(note)) return { type: 'not_opened' };
  } else {
    const made: Attributes = {
      [IDEMPOTENCY.fingerprint]: fingerprint,
      [IDEMPOTENCY.use]: toHex(context.random.bytes(USE_BYTES)),
      [IDEMPOTENCY.partitions]: topic.partitions,
      [IDEMPOTENCY.batchBytesMax]: numberSetting(topic.config, 'max.message.bytes'),
      [IDEMPOTENCY.observed]: JSON.stringify(await observedEntries(groupCommit, topic, partitions)),
      [IDEMPOTENCY.expiresAt]: nowSeconds + IDEMPOTENCY_KEY_LIFETIME_MS / 1_000,
    };
    let condition: Condition = { if: 'item_absent' };
    while (note === undefined) {
      const put = await items.put(itemKey, made, [condition]);
      if (put.ok) note = made;
      else if (put.attributes !== undefined && !isOver(put.attributes)) note = put.attributes;
      else if (put.attributes === undefined) condition = { if: 'item_absent' };
      else condition = { if: 'equals', name: IDEMPOTENCY.use, value: String(put.attributes[IDEMPOTENCY.use]) };
    }
  }
  if (note[IDEMPOTENCY.fingerprint] !== fingerprint) throw keyReused();
  const answer = note[IDEMPOTENCY.answer];
  if (typeof answer === 'string') return { type: 'answered', outcomes: parseAnswer(answer) };
  return { type: 'open', keyed: keyedAppend(topic, itemKey, note) };
}

function keyedAppend(topic: Topic, itemKey: ItemKey, note: Attributes): KeyedAppend {
  const observed = Object.entries(JSON.parse(String(note[IDEMPOTENCY.observed])) as Record<string, number>);
  const use = String(note[IDEMPOTENCY.use]);
  return {
    topic: {
      ...topic,
      partitions: Number(note[IDEMPOTENCY.partitions]),
      config: { ...topic.config, 'max.message.bytes': Number(note[IDEMPOTENCY.batchBytesMax]) },
    },
    identity: {
      topicId: topic.topicId,
      use: fromHex(use),
      observedEntry: new Map(observed.map(([headNumber, entryNumber]) => [Number(headNumber), entryNumber])),
    },
    itemKey,
    use,
  };
}

/**
 * Stores the outcome of the append in the note. A complete answer is returned to every retry; `rejected` releases the key.
 * Any other outcome leaves the note as it is. 1 UpdateItem. If the update fails nothing is lost: a retry finds the same
 * offsets by the once keys, or is rejected again.
 */
export async function settleKey(
  context: BrokerContext,
  { topic, itemKey, use }: KeyedAppend,
  outcomes: readonly RecordOutcome[] | 'rejected',
): Promise<void> {
  const { items } = context.usage.of(topic.name, 'append');
  const isThisUse: Condition = { if: 'equals', name: IDEMPOTENCY.use, value: use };
  const mark = (name: string, value: string | number) =>
    items.update(itemKey, [{ do: 'set', name, value }], [isThisUse]).catch(() => {});
  if (outcomes === 'rejected') {
    await mark(IDEMPOTENCY.released, 1);
    return;
  }
  const answer = outcomes.every(({ ok }) => ok) ? printAnswer(outcomes) : undefined;
  if (answer !== undefined && answer.length <= ANSWER_LENGTH_MAX) await mark(IDEMPOTENCY.answer, answer);
}

/**
 * Leaves the use's once key in the append's heads, so that no attempt of the use can still be applied. The next append under
 * the use shows whether the key was left, or an attempt was applied before. 1 UpdateItem for each head.
 */
export async function shutOut(
  context: BrokerContext,
  groupCommit: GroupCommit,
  { topic, identity }: KeyedAppend,
): Promise<void> {
  const current = await context.topics.get(topic.name);
  if (current.topicId !== identity.topicId) return;
  await Promise.all(
    [...identity.observedEntry].map(([headNumber, observedEntry]) =>
      groupCommit.append(current, headNumber, [
        { atomic: true, batches: [], bytes: 0, idempotency: { use: identity.use, observedEntry } },
      ]),
    ),
  );
}

/** Whether a record was rejected because its use of the key was shut out. */
export function isShutOut(outcome: RecordOutcome): boolean {
  return !outcome.ok && outcome.error.code === 'idempotency_key_reused';
}

/** The partition for records without a key. It is the same for every attempt. */
export function stickyOfKey(key: string, partitions: number): number {
  const hash = hashOfKey(key);
  return new DataView(hash.buffer, hash.byteOffset).getUint16(0) % partitions;
}

const HASH_BYTES = 16;

/** @throws EventLogError `invalid_request` if the key is too short or too long */
export function hashOfKey(key: string): Uint8Array {
  if (key.length === 0 || key.length > IDEMPOTENCY_KEY_LENGTH_MAX) {
    throw invalidField(
      'Idempotency-Key',
      `An idempotency key must have 1 to ${IDEMPOTENCY_KEY_LENGTH_MAX} characters.`,
    );
  }
  return createHash('sha256').update(key).digest().subarray(0, HASH_BYTES);
}

async function observedEntries(
  groupCommit: GroupCommit,
  topic: Topic,
  partitions: readonly number[],
): Promise<Record<string, number>> {
  const heads = new Set(partitions.map((partition) => headOf(topic, partition).headNumber));
  const observed: Record<string, number> = {};
  await Promise.all(
    [...heads].map(async (headNumber) => {
      observed[headNumber] = await groupCommit.observedEntry(topic, headNumber);
    }),
  );
  return observed;
}

function keyReused(): EventLogError {
  return new EventLogError(
    'idempotency_key_reused',
    'This idempotency key was used with other content. Use a new key for new content.',
  );
}

/** The fingerprint depends only on the caller's request, not on the time of an attempt. */
function fingerprintOf(request: AppendRecordsRequest): string {
  const { records, atomic = false, expectedOffset = null } = request;
  const hash = createHash('sha256');
  hash.update(JSON.stringify([records.length, atomic, expectedOffset]));
  hashRecords(hash, records);
  return hash.digest('base64url');
}

/** Adds all that a caller says of records. */
export function hashRecords(hash: Hash, records: AppendRecordsRequest['records']): void {
  const add = (bytes: Uint8Array | null | undefined): void => {
    hash.update(`${bytes?.length ?? -1}:`);
    if (bytes) hash.update(bytes);
  };
  for (const { key, value, headers, timestampMs, partition } of records) {
    add(key);
    add(value);
    hash.update(JSON.stringify([timestampMs ?? null, partition ?? null, headers.map((header) => header.key)]));
    for (const header of headers) add(header.value);
  }
}

/** A run of records with one partition, consecutive offsets and one time. Runs keep a stored answer small. */
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
