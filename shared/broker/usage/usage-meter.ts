import type { Stores } from '../../storage/ports.ts';
import { meteredStores } from './metered-stores.ts';
import { addCounts, noRequests, type RequestCounts } from './request-counts.ts';

/** What a request was made for. */
export type Purpose = 'append' | 'move_tail' | 'read' | 'admin';

export interface UsageRow {
  readonly topic: string;
  readonly purpose: Purpose;
  readonly counts: RequestCounts;
}

/** Topics are counted one by one up to this many; requests of further ones come under `OTHER_TOPICS`. */
const TOPICS_COUNTED_MAX = 10_000;
export const OTHER_TOPICS = '(other topics)';
/** For what is not done for one topic, such as listing. */
export const NO_TOPIC = '(no topic)';

/** Counts every request of this process by topic and purpose, since it started. */
export class UsageMeter {
  private readonly stores: Stores;
  private readonly byTopic = new Map<string, Map<Purpose, { counts: RequestCounts; stores: Stores }>>();

  constructor(stores: Stores) {
    this.stores = stores;
  }

  /** The stores, counting on behalf of a topic. */
  of(topic: string, purpose: Purpose): Stores {
    return this.row(topic, purpose).stores;
  }

  /** The stores, counting into `counts`, which the caller hands out itself. */
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
