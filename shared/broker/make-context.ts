import { MERGE_BYTES_MAX } from '../log/segment/merge-policy.ts';
import type { Clock, Random, Stores } from '../storage/ports.ts';
import type { BrokerContext } from './context.ts';
import { AbortedCache } from './memory/aborted-cache.ts';
import { AppendSignals } from './memory/append-signals.ts';
import { BusyHeads } from './memory/busy-heads.ts';
import { ByteBudget } from './memory/byte-budget.ts';
import { ClassicMemory } from './memory/classic-memory.ts';
import { DataCache } from './memory/data-cache.ts';
import { GroupMemory } from './memory/group-memory.ts';
import { HeldUp } from './memory/held-up.ts';
import { SegmentCache } from './memory/segment-cache.ts';
import { TopicCache } from './memory/topic-cache.ts';
import { TransactionMemory } from './memory/transaction-memory.ts';
import { YoungProducers } from './memory/young-producers.ts';
import { type BrokerSettings, DEFAULT_SETTINGS } from './settings.ts';
import { Traffic } from './usage/traffic.ts';
import { TransactionCounts } from './usage/transaction-counts.ts';
import { UsageMeter } from './usage/usage-meter.ts';

/** Beyond it looks wait for each other: a million partitions looked at together would take gigabytes. */
const LOOK_BYTES_MAX = 16 * 1024 * 1024;

export interface BrokerComponents extends Stores {
  readonly clock: Clock;
  readonly random: Random;
  readonly settings?: Partial<BrokerSettings>;
}

/** Everything that a broker holds in memory, empty. */
export function makeContext({ objects, items, clock, random, ...given }: BrokerComponents): BrokerContext {
  const settings = { ...DEFAULT_SETTINGS, ...given.settings };
  const usage = new UsageMeter({ objects, items });
  return {
    usage,
    traffic: new Traffic(),
    clock,
    random,
    settings,
    announcedFromMs: settings.isOnlyProcess ? clock.nowMs() : Number.NEGATIVE_INFINITY,
    topics: new TopicCache(usage, clock, settings.topicCacheMs),
    cache: new DataCache(settings.cacheBytesMax),
    segments: new SegmentCache(settings.cacheBytesMax),
    signals: new AppendSignals(),
    busyHeads: new BusyHeads(),
    mergeBytes: new ByteBudget(MERGE_BYTES_MAX),
    lookBytes: new ByteBudget(LOOK_BYTES_MAX),
    groups: new GroupMemory(),
    classicGroups: new ClassicMemory(),
    transactions: new TransactionMemory(),
    youngProducers: new YoungProducers(usage, clock),
    abortedTransactions: new AbortedCache(),
    heldUp: new HeldUp(),
    transactionCounts: new TransactionCounts(),
    commitsData: items.putsBeside ?? false,
  };
}
