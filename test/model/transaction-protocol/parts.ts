import type { Clients } from './processes/clients.ts';
import type { NumberedBatch, Scenario } from './scenarios.ts';
import type { Heads } from './stored/heads.ts';
import type { TransactionItem } from './stored/item.ts';

/** What the parts of a model share. */
export interface Parts {
  readonly scenario: Scenario;
  readonly batches: readonly NumberedBatch[];
  readonly item: TransactionItem;
  readonly heads: Heads;
  readonly clients: Clients;
}
