import type { Stores } from '../../storage/ports.ts';
import { meteredStores } from './metered-stores.ts';
import { addCounts, noRequests, type RequestCounts } from './request-counts.ts';

/**
 * The purpose of a request. `transaction`: what transactions need beside their appends: to initialise producers, to enlist, to
 * end, to mark heads and settle pages of offsets, and to finish. Offsets that become pending count under `group`.
 */
export type Purpose = 'append' | 'move_tail' | 'read' | 'maintain' | 'admin' | 'group' | 'transaction';

export interface UsageRow {
  readonly topic: string;
  readonly purpose: Purpose;
  readonly counts: RequestCounts;
}

/** Up to this many topics are counted separately; requests for further topics are counted under `OTHER_TOPICS`. */
const TOPICS_COUNTED_MAX = 10_000;
export const OTHER_TOPICS = '(other topics)';
/** The name for requests that do not belong to one topic, such as listing. */
export const NO_TOPIC = '(no topic)';

/** Counts every request of this process by topic and purpose, since it started. */
export class UsageMeter {
  private readonly stores: Stores;
  private readonly byTopic = new Map<string, Map<Purpose, { counts: RequestCounts; stores: Stores }>>();

  constructor(stores: Stores) {
    this.stores = stores;
  }

  /** Returns the stores, which count their requests for a topic. */
  of(topic: string, purpose: Purpose): Stores {
    return this.row(topic, purpose).stores;
  }

  /** Returns the stores, which count their requests in `counts`. The caller assigns these counts to topics. */
  into(counts: RequestCounts): Stores {
    return meteredStores(this.stores, counts);
  }

  add(topic: string, purpose: Purpose, counts: RequestCounts, share: number): void {
    addCounts(this.row(topic, purpose).counts, counts, share);
  }

  rows(): UsageRow[] {
    const rows: UsageRow[] = [];
    for (const [topic, purposes] of this.byTopic) {
      for (const [purpose, { counts }] of purposes) rows.push({ topic, purpose, counts: { ...counts } });
    }
    return rows;
  }

  total(): RequestCounts {
    const total = noRequests();
    for (const row of this.rows()) addCounts(total, row.counts);
    return total;
  }

  private row(topic: string, purpose: Purpose): { counts: RequestCounts; stores: Stores } {
    const name = this.byTopic.has(topic) || this.byTopic.size < TOPICS_COUNTED_MAX ? topic : OTHER_TOPICS;
    let purposes = this.byTopic.get(name);
    if (purposes === undefined) {
      purposes = new Map();
      this.byTopic.set(name, purposes);
    }
    let row = purposes.get(purpose);
    if (row === undefined) {
      const counts = noRequests();
      row = { counts, stores: meteredStores(this.stores, counts) };
      purposes.set(purpose, row);
    }
    return row;
  }
}
