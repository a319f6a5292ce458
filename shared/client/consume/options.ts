import { invalidField } from '../../log/errors.ts';
import { plain, type Topic } from '../codec.ts';
import { checkOptionNames } from '../option-names.ts';

export interface PartitionName {
  readonly topic: string;
  readonly partition: number;
}

export interface ConsumeOptions<T> {
  readonly group: string;
  /** Names, or topics with codecs. Give `topics`, `topicPattern` or both. They need not exist yet. */
  readonly topics?: readonly T[] | undefined;
  /** A regular expression (RE2) that whole names of topics must match. */
  readonly topicPattern?: string | undefined;
  /** Default: a random one. */
  readonly memberId?: string | undefined;
  /** Makes the member a static one: its partitions wait for its next run, until the lease ends. */
  readonly instanceId?: string | undefined;
  /** Where partitions begin of which the group has committed nothing. Default `earliest`. */
  readonly startAt?: 'earliest' | 'latest' | undefined;
  /** Records of one batch; default 500, at most 100,000. */
  readonly maxRecords?: number | undefined;
  /** Bytes of one batch, as they are stored; default 1 MiB, at most 64 MiB. At least one record comes. */
  readonly maxBytes?: number | undefined;
  /** Without a sign of life for this long, the member loses its partitions. Default 30,000. */
  readonly leaseMs?: number | undefined;
  /** Commit a batch when its loop body has ended. Default true; otherwise only `batch.commit()` commits. */
  readonly autoCommit?: boolean | undefined;
  /** Ends the iteration, without an error, after the present loop body. */
  readonly signal?: AbortSignal | undefined;
  /** The member lost these partitions before their records were committed: they may come again, here or at another member. */
  readonly onPartitionsLost?: ((partitions: readonly PartitionName[]) => void) | undefined;
}

export type AnyTopic = string | Topic<unknown, unknown>;

export interface CheckedOptions extends ConsumeOptions<AnyTopic> {
  readonly leaseMs: number;
  readonly autoCommit: boolean;
  readonly subscription: { readonly topics: readonly string[]; readonly pattern?: string };
  readonly codecs: ReadonlyMap<string, Topic<unknown, unknown>>;
}

const OPTION_NAMES: Readonly<Record<keyof ConsumeOptions<AnyTopic>, true>> = {
  group: true,
  topics: true,
  topicPattern: true,
  memberId: true,
  instanceId: true,
  startAt: true,
  maxRecords: true,
  maxBytes: true,
  leaseMs: true,
  autoCommit: true,
  signal: true,
  onPartitionsLost: true,
};
const LEASE_MS_DEFAULT = 30_000;

/** Checks what no request would check before the first lease is over. @throws EventLogError `invalid_request` */
export function checkOptions(options: ConsumeOptions<AnyTopic>): CheckedOptions {
  checkOptionNames(options, OPTION_NAMES, 'A consumer');
  const { topics = [], topicPattern, leaseMs = LEASE_MS_DEFAULT, autoCommit = true, maxRecords } = options;
  // HTTP has no path for it.
  if (options.group === '') throw invalidField('group', 'A consumer needs the name of its group.');
  if (topics.length === 0 && topicPattern === undefined)
    throw invalidField('topics', 'A consumer needs topics: give `topics`, `topicPattern` or both.');
  if (!Number.isSafeInteger(leaseMs) || leaseMs < 1)
    throw invalidField('leaseMs', 'leaseMs takes a whole number of milliseconds.');
  if (maxRecords !== undefined && !(Number.isSafeInteger(maxRecords) && maxRecords > 0))
    throw invalidField('maxRecords', 'maxRecords takes a whole number from 1 on.');
  const names = topics.map((topic) => (typeof topic === 'string' ? topic : topic.name));
  return {
    ...options,
    leaseMs,
    autoCommit,
    subscription: { topics: names, ...(topicPattern === undefined ? {} : { pattern: topicPattern }) },
    codecs: new Map(topics.flatMap((topic) => (typeof topic === 'string' ? [] : [[topic.name, topic]]))),
  };
}

/** Topics that only a name or a pattern leads to have plain keys and values. */
export function codecsOf({ codecs }: CheckedOptions, name: string): Topic<unknown, unknown> {
  return codecs.get(name) ?? ({ name, key: plain, value: plain } as Topic<unknown, unknown>);
}
