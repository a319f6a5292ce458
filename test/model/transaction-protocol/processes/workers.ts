import type { TransactionOutcome } from '../../../../shared/log/transaction/transaction.ts';
import type { Commit } from '../stored/heads.ts';
import { Interned } from '../stored/interned.ts';
import type { Change, ItemState } from '../stored/item.ts';

/** What somebody has asked a process for. */
export interface Operation {
  readonly id: number;
  readonly kind: 'initialise' | 'write' | 'end' | 'end_overdue';
  /** −1: whoever is held up. */
  readonly client: number;
  readonly transaction: number;
  /** Which of all batches; −1: none. */
  readonly batch: number;
  readonly attempt: number;
  /** The client's. */
  readonly epoch: number;
  readonly outcome: TransactionOutcome;
}

/** A request to the table. */
export type Request = { readonly id: number } & (
  | { readonly type: 'change'; readonly change: Change }
  | { readonly type: 'commit'; readonly commit: Commit; readonly observedEntry: number }
);

/** A process that works on an operation: what it remembers between two requests. See `moveTransaction`. */
export interface Worker {
  readonly id: number;
  readonly operation: Operation;
  /**
   * `changing`: an update of the item is sent. `marking`: one commit for each participant. `finishing`: the last update.
   * `appending`: a batch is sent to its head.
   */
  readonly stage: 'changing' | 'marking' | 'finishing' | 'appending';
  readonly seen: ItemState;
  /** Whether the store has said it since the operation began. */
  readonly isCertain: boolean;
  /** The transaction that the operation belongs to, once it is known. */
  readonly number: number | undefined;
  /** Whether an update without a reply may have changed more than participants. */
  readonly mayBeApplied: boolean;
  /** How many of its updates were rejected. */
  readonly rejections: number;
  /** Whether the transaction that a batch is bound to was remembered. */
  readonly isRemembered: boolean;
  /** Whether the operation is over when the update is applied, or the transaction completed. */
  readonly isDone: boolean;
  /** What it waits for; by participant where it marks. `undefined`: that one is marked. */
  readonly requests: readonly (Request | undefined)[];
}

export type Draft = Omit<Worker, 'id'>;

export class Workers {
  readonly all = new Interned<Worker>();
  readonly requests = new Interned<Request>();
  private readonly operations = new Interned<Operation>();

  operation(asked: Omit<Operation, 'id'>): Operation {
    const { kind, client, transaction, batch, attempt, epoch, outcome } = asked;
    const key = `${kind} ${client} ${transaction} ${batch} ${attempt} ${epoch} ${outcome}`;
    return this.operations.of(key, (id) => ({ ...asked, id }));
  }

  of(draft: Draft): Worker {
    const { operation, stage, seen, isCertain, number, mayBeApplied, rejections, isRemembered, isDone, requests } =
      draft;
    const flags = (isCertain ? 1 : 0) + (mayBeApplied ? 2 : 0) + (isRemembered ? 4 : 0) + (isDone ? 8 : 0);
    let key = `${operation.id} ${stage} ${seen.id} ${number} ${flags} ${rejections}`;
    for (const request of requests) key += ` ${request?.id ?? '-'}`;
    return this.all.of(key, (id) => ({ ...draft, id }));
  }

  change(change: Change): Request {
    return this.requests.of(`change ${change.id}`, (id) => ({ id, type: 'change', change }));
  }

  commit(commit: Commit, observedEntry: number): Request {
    return this.requests.of(`commit ${commit.id} ${observedEntry}`, (id) => ({
      id,
      type: 'commit',
      commit,
      observedEntry,
    }));
  }
}
