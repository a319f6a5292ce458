import type { BrokerContext } from '../../shared/broker/context.ts';
import type { PageSettlement } from '../../shared/broker/groups/offsets/settle-page.ts';
import { makeContext } from '../../shared/broker/make-context.ts';
import type { BrokerSettings } from '../../shared/broker/settings.ts';
import type { Completing } from '../../shared/broker/transactions/complete.ts';
import { transactionFromAttributes } from '../../shared/broker/transactions/items.ts';
import type { TransactionEnd } from '../../shared/log/head/head-append.ts';
import type { HeadParticipant, PageParticipant } from '../../shared/log/transaction/transaction.ts';
import type { StoredTransaction } from '../../shared/log/transaction/transitions.ts';
import { aroundStores, keyOf, type StoreRequest } from '../../shared/storage/around-stores.ts';
import type { ItemStore } from '../../shared/storage/ports.ts';
import { transactionKey } from '../../shared/storage/transaction-keys.ts';
import { type MemoryStores, SeededRandom } from './memory-broker.ts';

let processes = 0;

/** Remembers what it was asked to mark and to settle, in order. */
export class RecordedCompletion implements Completing {
  readonly marked: { readonly head: HeadParticipant; readonly marker: TransactionEnd }[] = [];
  readonly settled: { readonly page: PageParticipant; readonly settlement: PageSettlement }[] = [];
  /** Awaited before each of them; it can fail. */
  before: (what: HeadParticipant | PageParticipant) => Promise<void> = async () => {};

  async mark(head: HeadParticipant, marker: TransactionEnd): Promise<void> {
    await this.before(head);
    this.marked.push({ head, marker });
  }

  async settle(page: PageParticipant, settlement: PageSettlement): Promise<void> {
    await this.before(page);
    this.settled.push({ page, settlement });
  }
}

export interface TransactionProcess {
  readonly context: BrokerContext;
  readonly completing: RecordedCompletion;
  /** The requests since the last call, such as `updateItem txn`. */
  readonly requests: () => string[];
}

/** A process of its own over the stores, whose requests are noted. */
export function transactionProcess(stores: MemoryStores, settings: Partial<BrokerSettings> = {}): TransactionProcess {
  let noted: string[] = [];
  const around = aroundStores(stores, (request: StoreRequest, send) => (...args) => {
    noted.push(`${request} ${keyOf(args).split('#')[0]}`);
    return send(...args);
  });
  const random = new SeededRandom(0x7a0 + processes++);
  return {
    context: makeContext({ ...stores, ...around, random, settings }),
    completing: new RecordedCompletion(),
    requests: () => {
      const all = noted;
      noted = [];
      return all;
    },
  };
}

export function head(headNumber: number, topic = 'orders'): HeadParticipant {
  return { topicId: `id-of-${topic}`, topic, headNumber };
}

export function page(number: number, group = 'totals'): PageParticipant {
  return { group, topicId: 'id-of-orders', page: number };
}

/** The item as it is now. */
export async function storedNow(items: ItemStore, transactionalId: string): Promise<StoredTransaction | undefined> {
  const { attributes } = await items.get(transactionKey(transactionalId));
  return transactionFromAttributes(transactionalId, attributes);
}
