import type { Clock, Random } from '../storage/ports.ts';
import type { AbortedCache } from './memory/aborted-cache.ts';
import type { AppendSignals } from './memory/append-signals.ts';
import type { BusyHeads } from './memory/busy-heads.ts';
import type { ByteBudget } from './memory/byte-budget.ts';
import type { ClassicMemory } from './memory/classic-memory.ts';
import type { DataCache } from './memory/data-cache.ts';
import type { GroupMemory } from './memory/group-memory.ts';
import type { HeldUp } from './memory/held-up.ts';
import type { SegmentCache } from './memory/segment-cache.ts';
import type { TopicCache } from './memory/topic-cache.ts';
import type { TransactionMemory } from './memory/transaction-memory.ts';
import type { YoungProducers } from './memory/young-producers.ts';
import type { BrokerSettings } from './settings.ts';
import type { Traffic } from './usage/traffic.ts';
import type { TransactionCounts } from './usage/transaction-counts.ts';
import type { UsageMeter } from './usage/usage-meter.ts';

/** The components that every operation uses. Operations get the stores through `usage`, so that all requests are counted. */
export interface BrokerContext {
  readonly usage: UsageMeter;
  readonly traffic: Traffic;
  readonly clock: Clock;
  readonly random: Random;
  readonly settings: BrokerSettings;
  /** Announcements that were made before this time are dead, whatever they say. */
  readonly announcedFromMs: number;
  readonly topics: TopicCache;
  readonly cache: DataCache;
  readonly segments: SegmentCache;
  readonly signals: AppendSignals;
  readonly busyHeads: BusyHeads;
  /** For the data of all merges under way. */
  readonly mergeBytes: ByteBudget;
  /** For what looks at many partitions hold while they are under way. */
  readonly lookBytes: ByteBudget;
  readonly groups: GroupMemory;
  readonly classicGroups: ClassicMemory;
  readonly transactions: TransactionMemory;
  readonly youngProducers: YoungProducers;
  readonly abortedTransactions: AbortedCache;
  readonly heldUp: HeldUp;
  readonly transactionCounts: TransactionCounts;
  /** Whether a commit writes the data of its entry too, so that both cost one sync. */
  readonly commitsData: boolean;
}
