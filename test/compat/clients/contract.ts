/**
 * What an agent is told and tells. An agent is one client library as a program: it reads requests, one JSON object a line,
 * carries them out one after another, and writes events, one JSON object a line. `done` or `failed` ends a request. Keys,
 * values and values of headers are base64. When its input ends it leaves its group and exits.
 */
import type { Sasl } from '../server/server.ts';

export type Codec = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd';

export type Isolation = 'read_committed' | 'read_uncommitted';

export interface AgentRecord {
  /** Without one the client places the record by its key. */
  readonly partition?: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers?: readonly (readonly [string, string | null])[];
  readonly timestampMs?: number;
}

/** Where a client connects, and how. */
export interface Connection {
  readonly bootstrap: string;
  readonly sasl?: Sasl;
  /** Encrypted; the server's certificate is signed by this one (PEM). Only with `sasl`. */
  readonly tls?: { readonly ca: string };
}

export interface ProduceRequest extends Connection {
  readonly command: 'produce';
  readonly topic: string;
  readonly records: readonly AgentRecord[];
  /** Default `none`. */
  readonly codec?: Codec;
  /** Default -1: all. */
  readonly acks?: -1 | 0 | 1;
  readonly idempotent?: boolean;
  /** The largest batch. Default: the client's. */
  readonly batchBytes?: number;
  /** Tells a record that failed in `acked`. Default: the request fails. */
  readonly mayFail?: boolean;
  /** Goes on with the producer of the request before that had this, or keeps its own for the next. */
  readonly keepsProducer?: boolean;
}

/** Reads partitions without a group, or, where the client can't, in a group of its own. Tells `ready`, then each `record`. */
export interface ConsumeRequest extends Connection {
  readonly command: 'consume';
  readonly topic: string;
  readonly partitions: readonly number[];
  readonly from: 'earliest' | 'latest' | { readonly offset: number } | { readonly timestampMs: number };
  /** Default: the client's. */
  readonly isolation?: Isolation;
  /** Where to go on when the offset isn't there; default: fail. */
  readonly reset?: 'earliest' | 'latest';
  readonly count: number;
  /** Ends after so long with fewer records, and without an error. */
  readonly timeoutMs: number;
}

/** A member of a group until it has read `count` records or its input ends. Tells `assigned` and each `record`. */
export interface GroupRequest extends Connection {
  readonly command: 'group';
  readonly topic: string;
  readonly group: string;
  /** `consumer` is KIP-848. Default `classic`. */
  readonly protocol?: 'classic' | 'consumer';
  readonly instanceId?: string;
  /** Where nothing was committed. Default `earliest`. */
  readonly reset?: 'earliest' | 'latest';
  readonly count?: number;
  /** Default: commits what it has told. */
  readonly commit?: boolean;
  /** Of the classic protocol. */
  readonly sessionTimeoutMs?: number;
}

/**
 * One transaction, or a part of it. The agent keeps the producer of a transactional id, so a request that follows one with
 * `end: 'none'` goes on in its transaction.
 */
export interface TransactRequest extends Connection {
  readonly command: 'transact';
  readonly transactionalId: string;
  readonly topic: string;
  readonly records: readonly AgentRecord[];
  /** Of the topic, committed by the transaction in the name of a group without members. */
  readonly commits?: { readonly group: string; readonly offsets: Readonly<Record<string, number>> };
  readonly end: 'commit' | 'abort' | 'none';
}

export interface AdminRequest extends Connection {
  readonly command: 'admin';
  readonly op: AdminOp;
  readonly topic?: string;
  readonly partition?: number;
  readonly partitions?: number;
  readonly count?: number;
  readonly offset?: number;
  readonly configs?: Readonly<Record<string, string>>;
  readonly at?: 'earliest' | 'latest' | 'max-timestamp' | number;
  readonly group?: string;
  readonly offsets?: Readonly<Record<string, number>>;
  readonly transactionalId?: string;
  /** Of `list-offsets`, for the Java client only. Default `read_uncommitted`. */
  readonly isolation?: Isolation;
}

/** With what each needs, and what its `done` tells. */
export type AdminOp =
  | 'create-topic' // topic, partitions, configs
  | 'describe-topic' // topic: partitions
  | 'list-topics' // topics
  | 'describe-configs' // topic: configs
  | 'alter-configs' // topic, configs
  | 'create-partitions' // topic, count
  | 'delete-records' // topic, partition, offset
  | 'delete-topic' // topic
  | 'list-offsets' // topic, partition, at: offset
  | 'committed' // group, topic: offsets
  | 'reset-offsets' // group, topic, offsets
  | 'list-groups' // groups
  | 'describe-group' // group: state, members
  | 'delete-group' // group
  | 'describe-cluster' // nodes
  | 'list-transactions' // transactionalIds
  | 'describe-transaction'; // transactionalId: state

export type Request = ProduceRequest | ConsumeRequest | GroupRequest | TransactRequest | AdminRequest;

export interface ReadRecord {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly (readonly [string, string | null])[];
}

/** Of a `done`: what the request asked for. */
export interface Done {
  /** In the order of the records; -1 where the client doesn't tell. `isFailed`: see `mayFail`. */
  readonly acked?: readonly { readonly partition: number; readonly offset: number; readonly isFailed?: boolean }[];
  readonly partitions?: number;
  readonly topics?: readonly string[];
  readonly configs?: Readonly<Record<string, string | null>>;
  readonly offset?: number;
  readonly offsets?: Readonly<Record<string, number>>;
  readonly groups?: readonly string[];
  readonly state?: string;
  readonly members?: number;
  readonly nodes?: number;
  readonly transactionalIds?: readonly string[];
}

export type AgentEvent =
  | { readonly event: 'ready' }
  | { readonly event: 'assigned'; readonly partitions: readonly number[] }
  | { readonly event: 'commit-failed'; readonly message: string }
  | ({ readonly event: 'record' } & ReadRecord)
  | ({ readonly event: 'done' } & Done)
  | { readonly event: 'failed'; readonly code?: number | null; readonly message: string };
