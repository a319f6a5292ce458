/**
 * Every key that we persist, in the bucket and in the table. `#` separates the parts of a partition key. No part can
 * contain `#`, so no two kinds or owners share a key. Attribute names are short because DynamoDB bills items by size.
 */
import { fromHex } from '../log/bytes.ts';
import { type BatchId, batchIdByTime, batchIdText, batchTimeMs } from '../log/head/batch-id.ts';
import { PARTITIONS_PER_HEAD_MAX } from '../log/limits.ts';
import type { SegmentName } from '../log/segment/segment.ts';
import { GROUPS } from './group-keys.ts';
import { ALONE, EXPIRES_AT, paddedNumber } from './key-parts.ts';
import type { ItemKey } from './ports.ts';
import { TRANSACTIONS } from './transaction-keys.ts';

/**
 * `hot/<yyyymmddhh, UTC>/<batchId, 24 hex digits>.<topicId>.<head number>`: the record batches that one commit appended to
 * the head, back to back.
 */
export function hotObjectKey(batchId: BatchId, topicId: string, headNumber: number): string {
  return `${sharedObjectKey(batchId)}.${topicId}.${headNumber}`;
}

/** `hot/<yyyymmddhh, UTC>/<batchId, 24 hex digits>`: the names of several heads (`log/head/sharers.ts`), then their batches. */
export function sharedObjectKey(batchId: BatchId): string {
  return `${hotHourPrefix(batchTimeMs(batchId))}${batchIdText(batchId)}`;
}

/** The beginning of the keys of all hot and shared objects. */
export const HOT_OBJECTS = 'hot/';

/** The beginning of the keys of the objects that were appended in the hour of `timeMs`. */
export function hotHourPrefix(timeMs: number): string {
  const time = new Date(timeMs).toISOString();
  return `${HOT_OBJECTS}${time.slice(0, 4)}${time.slice(5, 7)}${time.slice(8, 10)}${time.slice(11, 13)}/`;
}

/** What the key of a hot or shared object says; `undefined` if it is no such key. */
export function parseHotKey(
  key: string,
):
  | { readonly batchId: BatchId; readonly owner?: { readonly topicId: string; readonly headNumber: number } }
  | undefined {
  const match = /^hot\/\d{10}\/([0-9a-f]{24})(?:\.([\w-]+)\.(\d{1,6}))?$/.exec(key);
  if (match === null) return undefined;
  const [, id, topicId, headNumber] = match as unknown as [string, string, string?, string?];
  const batchId = fromHex(id);
  return topicId === undefined ? { batchId } : { batchId, owner: { topicId, headNumber: Number(headNumber) } };
}

/** pk `topics`, sk the topic's name. */
export const TOPICS = 'topics';
export function topicKey(name: string): ItemKey {
  return { pk: TOPICS, sk: name };
}
export const TOPIC = {
  topicId: 'id',
  partitions: 'partitions',
  partitionsPerHead: 'perHead',
  /** JSON of the settings that the topic itself has. */
  config: 'config',
  createdAtMs: 'created',
  /** The first producer id that was free when it was made, if another topic of its name had been deleted shortly before. */
  producersBefore: 'producersBefore',
  /** 1 from when the topic's heads begin to be closed. */
  deleting: 'deleting',
  /** When all of them were: the name is free. The item is kept for a while, so a late request cannot restore the topic. */
  deletedAtMs: 'deleted',
} as const;

/** pk `head#<topicId>#<head number>`. An absent item is a head without records. */
export function headKey(topicId: string, headNumber: number): ItemKey {
  return { pk: `head#${topicId}#${headNumber}`, sk: ALONE };
}
export const HEAD = {
  /** The number of the tail's first entry. */
  firstEntry: 'q',
  /** List of packed entries (`log/entry.ts`). */
  tail: 't',
  /** List of the tail's once keys (`log/once-key.ts`). */
  once: 'o',
  /** Packed totals by slot as of `firstEntry` (`log/head.ts`). */
  totalsBeforeTail: 'm',
  /** Packed open transactions as of `firstEntry` (`log/head/open-transactions.ts`); absent if there are none. 0: see the node before. */
  openBeforeTail: 'u',
  /** The first entry of the newest tail node with abort markers; absent if none ever had. */
  lastAbortingNode: 'a',
  /** 1 when no commit is accepted any more. */
  closed: 'x',
  /** No commit is accepted whose data was written before this time (milliseconds): such data may have been swept. */
  refusesBefore: 'z',
  /** Only when nothing else is left of a head whose topic was deleted: the store removes the item then (seconds). */
  expiresAt: EXPIRES_AT,
  next: (slot: number) => NEXT[slot] as string,
  start: (slot: number) => START[slot] as string,
} as const;
// Every read of a head asks for all of them.
const NEXT = Array.from({ length: PARTITIONS_PER_HEAD_MAX }, (_, slot) => `n${slot}`);
const START = Array.from({ length: PARTITIONS_PER_HEAD_MAX }, (_, slot) => `s${slot}`);

/** pk `node#<topicId>#<head number>`, sk the number of its first entry in 16 digits. */
export function nodePartitionKey(topicId: string, headNumber: number): string {
  return `node#${topicId}#${headNumber}`;
}
/** Reads a partition key of `nodePartitionKey`; `undefined` if it is none. */
export function parseNodePartitionKey(
  pk: string,
): { readonly topicId: string; readonly headNumber: number } | undefined {
  const [, topicId, headNumber] = /^node#([\w-]+)#(\d{1,6})$/.exec(pk) ?? [];
  return topicId === undefined ? undefined : { topicId, headNumber: Number(headNumber) };
}
export function nodeSortKey(firstEntry: number): string {
  return paddedNumber(firstEntry);
}
export const NODE = { entries: 't', once: 'o', before: 'm', openBefore: 'u' } as const;

/**
 * pk `batch#<topicId>#<head number>#<shard>`, sk `<time, 12 hex digits><random, 12 hex digits>` of the batch id: an inline
 * batch. So a head's batches can be listed in order of time. The shard is the first random byte modulo `BATCH_SHARDS`: a
 * head takes 1,000 commits a second, which is as much as one partition key takes writes.
 */
export const BATCH_SHARDS = 4;
export function inlineBatchPartitionKey(topicId: string, headNumber: number, shard: number): string {
  return `batch#${topicId}#${headNumber}#${shard}`;
}
export function inlineBatchKey(topicId: string, headNumber: number, batchId: BatchId): ItemKey {
  const shard = (batchId[0] as number) % BATCH_SHARDS;
  return { pk: inlineBatchPartitionKey(topicId, headNumber, shard), sk: batchIdByTime(batchId) };
}
export const INLINE_BATCH = { data: 'd' } as const;

/**
 * pk `reference#<batchId>`: which heads need a shared object no longer. Made by the first of them; the last one deletes the
 * object, then the item. `expiresAt` (seconds) removes an item that a late request brings back.
 */
export function referenceKey(batchId: BatchId): ItemKey {
  return { pk: `reference#${batchIdText(batchId)}`, sk: ALONE };
}
export const REFERENCE = { mark: (sharer: number) => `m${sharer}`, expiresAt: EXPIRES_AT } as const;

/** pk `checkpoint#<topicId>#<head number>`: all entries below `belowEntry` are reflected in the producer items. */
export function checkpointKey(topicId: string, headNumber: number): ItemKey {
  return { pk: `checkpoint#${topicId}#${headNumber}`, sk: ALONE };
}
export const CHECKPOINT = { belowEntry: 'q' } as const;

/** pk `producer#<topicId>#<head number>`, sk the producer id in 16 digits: its state (`log/producer.ts`) as of `belowEntry`, kept until `expiresAt` (seconds). */
export function producerPartitionKey(topicId: string, headNumber: number): string {
  return `producer#${topicId}#${headNumber}`;
}
export function producerKey(topicId: string, headNumber: number, producerId: number): ItemKey {
  return { pk: producerPartitionKey(topicId, headNumber), sk: paddedNumber(producerId) };
}
export const PRODUCER = { belowEntry: 'q', state: 'p', writtenAtMs: 'w', expiresAt: EXPIRES_AT } as const;

/** pk `idempotency#<topicId>#<hash, hex>`: an append under an idempotency key, kept until `expiresAt` (seconds). */
export function idempotencyKey(topicId: string, hashHex: string): ItemKey {
  return { pk: `idempotency#${topicId}#${hashHex}`, sk: ALONE };
}
export const IDEMPOTENCY = {
  fingerprint: 'f',
  /** Random, hex: names this use of the key in once keys, and changes when the item is replaced. */
  use: 'u',
  /** The partitions that the topic had at the first attempt, so that a retry puts every record where the first did. */
  partitions: 'p',
  /** The `max.message.bytes` that the topic had then, so that a retry makes the same batches. */
  batchBytesMax: 'b',
  /** JSON: head number -> the entry number observed before the first attempt. */
  observed: 's',
  /** JSON of the first answer; absent until it is known. */
  answer: 'a',
  /** 1 once the append was rejected and can't be applied any more: the next request under the key replaces the item. */
  released: 'r',
  expiresAt: EXPIRES_AT,
} as const;

/**
 * pk `segments#<topicId>#<head number>`, sk `-`: the segment list of a head (`log/segment/segment-list.ts`). Updated in
 * place, each time on the condition of its version.
 */
export function segmentsPartitionKey(topicId: string, headNumber: number): string {
  return `segments#${topicId}#${headNumber}`;
}
export function segmentListKey(topicId: string, headNumber: number): ItemKey {
  return { pk: segmentsPartitionKey(topicId, headNumber), sk: ALONE };
}
export const SEGMENT_LIST = { version: 'v', list: 'l' } as const;

/** pk as the segment list, sk `<slot, 2 digits>#<start offset, 16 digits>#<version, 16 digits>`: a page of segments. Never changes. */
export function segmentPageKey(topicId: string, headNumber: number, name: SegmentName): ItemKey {
  const { slot, startOffset, version } = name;
  const sk = `${slot.toString().padStart(2, '0')}#${paddedNumber(startOffset)}#${paddedNumber(version)}`;
  return { pk: segmentsPartitionKey(topicId, headNumber), sk };
}
export const SEGMENT_PAGE = { segments: 's' } as const;

/** The beginning of the keys of all segments. */
export const SEGMENT_OBJECTS = 'segments/';

/** `segments/<topicId>/<partition>/<start offset, 16 digits>-<version, 16 digits>`: a segment. */
export function segmentObjectKey(topicId: string, partition: number, startOffset: number, version: number): string {
  return `${segmentObjectPrefix(topicId, partition)}${paddedNumber(startOffset)}-${paddedNumber(version)}`;
}
/** The beginning of the keys of all segments of a topic, or of one of its partitions. */
export function segmentObjectPrefix(topicId: string, partition?: number): string {
  return `${SEGMENT_OBJECTS}${partition === undefined ? `${topicId}/` : `${topicId}/${partition}/`}`;
}

/**
 * pk `use#<topicId>#<head number>`, sk the use of an idempotency key, hex: where its records are, once the tail node that
 * has its once key may be deleted. Removed by the store at `expiresAt` (seconds).
 */
export function usePartitionKey(topicId: string, headNumber: number): string {
  return `use#${topicId}#${headNumber}`;
}
export function useKey(topicId: string, headNumber: number, useHex: string): ItemKey {
  return { pk: usePartitionKey(topicId, headNumber), sk: useHex };
}
export const USE = { parts: 'p', expiresAt: EXPIRES_AT } as const;

/**
 * pk `due#<job>#<shard>`, sk `<time, 16 digits>#<topicId>#<head number>#<version, 16 digits>`, no content: when a job looks
 * at a head again. `version` is that of the segment list's update that names the item; 0 if there is no list yet.
 */
export const DUE_SHARDS = 8;
export function duePartitionKey(job: string, shard: number): string {
  return `due#${job}#${shard}`;
}
export interface DueName {
  readonly topicId: string;
  readonly headNumber: number;
  readonly dueAtMs: number;
  readonly version: number;
}
export function dueKey(job: string, name: DueName): ItemKey {
  const { topicId, headNumber, dueAtMs, version } = name;
  let shard = headNumber;
  for (let i = 0; i < topicId.length; i++) shard += topicId.charCodeAt(i);
  const sk = `${paddedNumber(dueAtMs)}#${topicId}#${headNumber}#${paddedNumber(version)}`;
  return { pk: duePartitionKey(job, shard % DUE_SHARDS), sk };
}
/** Below the sort keys of all items that are due after `timeMs`, and above all others. */
export function dueSortKeyEnd(timeMs: number): string {
  return paddedNumber(timeMs + 1);
}
/** Reads a sort key of `dueKey`; `undefined` if it is none. */
export function parseDueSortKey(sk: string): DueName | undefined {
  const match = /^(\d{16})#([\w-]+)#(\d{1,6})#(\d{16})$/.exec(sk);
  if (match === null) return undefined;
  const [, dueAtMs, topicId, headNumber, version] = match as unknown as [string, string, string, string, string];
  return { topicId, headNumber: Number(headNumber), dueAtMs: Number(dueAtMs), version: Number(version) };
}

/** pk `garbage`, sk `<due time, 16 digits>#<what>`: what a job may delete after that time. */
export function garbageKey(dueAtMs: number, what: string): ItemKey {
  return { pk: 'garbage', sk: `${paddedNumber(dueAtMs)}#${what}` };
}
export const GARBAGE = {
  topicId: 'id',
  heads: 'heads',
  /** So many heads were swept by a run that was stopped. */
  headsSwept: 'at',
  /** 1: the topic was swept before. */
  again: 'again',
} as const;

/** pk `job`, sk the job's name: where its next run goes on, after one that was stopped. */
export function jobKey(name: string): ItemKey {
  return { pk: 'job', sk: name };
}
export const JOB = {
  position: 'at',
  /** When the last object or item was reached, for a job that then rests. */
  passedAtMs: 'passed',
} as const;

/** pk `counter`, sk `producer-id`: the next producer id to give out, and the first ids of the last two days. */
export const PRODUCER_ID_COUNTER: ItemKey = { pk: 'counter', sk: 'producer-id' };
export const COUNTER = {
  next: 'n',
  /** The day of the last id, in days since 1970-01-01 (UTC). */
  day: 'd',
  /** The first id of that day. */
  firstOfDay: 'y',
  /** The first id of the day before it; equals `firstOfDay` if none was given out then. */
  firstOfDayBefore: 'x',
} as const;

/** pk `apikeys`, sk the key's id, 16 hex digits: an API key, without its secret. */
export const API_KEYS = 'apikeys';
export function apiKeyKey(id: string): ItemKey {
  return { pk: API_KEYS, sk: id };
}
export const API_KEY = {
  /** SHA-256 of the secret's 43 characters. */
  secretHash: 'hash',
  /** What SCRAM needs (`broker/access/scram-verifiers.ts`). Absent in keys that were made before: they can't use SCRAM. */
  scramSha256: 'scram256',
  scramSha512: 'scram512',
  name: 'name',
  /** JSON of its scopes (`log/scopes.ts`). */
  scopes: 'scopes',
  createdAtMs: 'created',
  /** Absent: it never expires. */
  expiresAtMs: 'expires',
  /** Absent: it is not revoked. */
  revokedAtMs: 'revoked',
} as const;

/** pk `cluster`: what all processes of one log share. */
export const CLUSTER_KEY: ItemKey = { pk: 'cluster', sk: ALONE };
export const CLUSTER = {
  /** 16 random bytes in base64url. */
  id: 'id',
  /** 32 secret random bytes. The salts of users that do not exist are made from them. */
  saltSecret: 'salt',
} as const;

/** pk `gateways`, sk the id of a process: where a Kafka gateway is. Written every few seconds, and deleted when it leaves. */
export const GATEWAYS = 'gateways';
export function gatewayKey(id: string): ItemKey {
  return { pk: GATEWAYS, sk: id };
}
export const GATEWAY = {
  host: 'host',
  port: 'port',
  /** Raised each time that the item is written. */
  beat: 'beat',
  announcedAtMs: 'announced',
  expiresAt: EXPIRES_AT,
} as const;

/**
 * The kinds of items by their partition keys, and of objects by their keys, where `*` stands for the rest. A
 * role's permissions are written in these patterns (`infra/constructs/access.ts`).
 */
export const ITEM_PATTERNS = {
  topic: TOPICS,
  head: 'head#*',
  node: 'node#*',
  inlineBatch: 'batch#*',
  reference: 'reference#*',
  checkpoint: 'checkpoint#*',
  producer: 'producer#*',
  idempotency: 'idempotency#*',
  segments: 'segments#*',
  use: 'use#*',
  due: 'due#*',
  garbage: 'garbage',
  job: 'job',
  counter: PRODUCER_ID_COUNTER.pk,
  cluster: CLUSTER_KEY.pk,
  gateway: GATEWAYS,
  apiKey: API_KEYS,
  groupListing: GROUPS,
  group: 'group#*',
  member: 'member#*',
  target: 'target#*',
  offsets: 'offsets#*',
  transaction: 'txn#*',
  transactionListing: TRANSACTIONS,
  producerName: 'producer-name#*',
  aborted: 'aborted#*',
} as const;
export const OBJECT_PATTERNS = { hot: 'hot/*', segment: 'segments/*' } as const;

export type ItemKind = keyof typeof ITEM_PATTERNS;
export type ObjectKind = keyof typeof OBJECT_PATTERNS;
