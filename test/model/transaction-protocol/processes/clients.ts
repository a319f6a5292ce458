import type { TransactionOutcome } from '../../../../shared/log/transaction/transaction.ts';
import type { Client, ClientTransaction } from '../scenarios.ts';
import { Interned } from '../stored/interned.ts';

export type Stage = 'initialise' | 'write' | 'end' | 'over';

/** What a producer has sent, and what it knows. */
export interface ClientState {
  readonly id: number;
  /** Which request it waits for, or sends next. */
  readonly stage: Stage;
  readonly transaction: number;
  /** Which batch of the transaction. */
  readonly position: number;
  /** How often it has sent the request. */
  readonly tries: number;
  readonly epoch: number;
  /** Something has failed: it can only abort. */
  readonly isAborting: boolean;
  /** Bits by batch of the client. */
  readonly acknowledged: number;
  /** Those whose only attempt was rejected. */
  readonly refused: number;
  /** By transaction. */
  readonly ends: readonly EndState[];
}

export interface EndState {
  readonly asked: TransactionOutcome | undefined;
  /** `nothing_happened`: by the only attempt. */
  readonly told: TransactionOutcome | 'nothing_happened' | undefined;
}

export type Answer =
  | { readonly type: 'ok'; readonly epoch: number }
  | { readonly type: 'refused'; readonly code: string; readonly isCertain: boolean }
  /** None comes any more. */
  | { readonly type: 'none' };

const NOT_ENDED: EndState = { asked: undefined, told: undefined };

/** What the producers of a scenario do. */
export class Clients {
  readonly states = new Interned<ClientState>();
  private readonly clients: readonly Client[];

  constructor(clients: readonly Client[]) {
    this.clients = clients;
  }

  initial(client: number): ClientState {
    const { begins, transactions } = this.clients[client] as Client;
    return this.intern({
      stage: begins === 'held' ? 'write' : 'initialise',
      transaction: 0,
      position: 0,
      tries: 0,
      epoch: 0,
      isAborting: false,
      acknowledged: 0,
      refused: 0,
      ends: transactions.map(() => NOT_ENDED),
    });
  }

  /** How it may end its transaction, if the end is what it sends next: the first attempt decides. */
  ends(client: number, { transaction, isAborting, ends }: ClientState): readonly TransactionOutcome[] {
    const { asked } = ends[transaction] as EndState;
    if (asked !== undefined) return [asked];
    return isAborting ? ['aborted'] : this.transactionOf(client, transaction).ends;
  }

  sent(state: ClientState, outcome: TransactionOutcome | undefined): ClientState {
    const ends = outcome === undefined ? state.ends : withEnd(state, { asked: outcome, told: undefined });
    return this.intern({ ...state, tries: state.tries + 1, ends });
  }

  /** The producer itself dies; its requests live on. */
  died(state: ClientState): ClientState {
    return this.intern({ ...state, stage: 'over' });
  }

  answered(client: number, state: ClientState, answer: Answer): ClientState {
    return this.intern({ ...this.after(client, state, answer), tries: 0 });
  }

  private after(client: number, state: ClientState, answer: Answer): Omit<ClientState, 'id'> {
    const over = { ...state, stage: 'over' } as const;
    switch (state.stage) {
      case 'initialise':
        if (answer.type !== 'ok') return over;
        return { ...state, stage: state.ends.length === 0 ? 'over' : 'write', epoch: answer.epoch };
      case 'write': {
        const bit = 1 << this.batchOf(client, state);
        if (answer.type === 'ok') return this.written(client, { ...state, acknowledged: state.acknowledged | bit });
        const refused = state.refused | (answer.type === 'refused' && state.tries === 1 ? bit : 0);
        const isFenced = answer.type === 'refused' && answer.code === 'producer_fenced';
        return isFenced ? { ...over, refused } : { ...state, refused, isAborting: true, stage: 'end' };
      }
      default: {
        const { asked } = state.ends[state.transaction] as EndState;
        if (answer.type === 'none') return over;
        if (answer.type === 'refused') {
          const told = answer.isCertain && state.tries === 1 ? 'nothing_happened' : undefined;
          return { ...over, ends: withEnd(state, { asked, told }) };
        }
        const ended = { ...state, ends: withEnd(state, { asked, told: asked }), epoch: answer.epoch };
        const transaction = state.transaction + 1;
        if (transaction === (this.clients[client] as Client).transactions.length) return { ...ended, stage: 'over' };
        return { ...ended, stage: 'write', transaction, position: 0, isAborting: false };
      }
    }
  }

  private written(client: number, state: Omit<ClientState, 'id'>): Omit<ClientState, 'id'> {
    const position = state.position + 1;
    const isLast = position === this.transactionOf(client, state.transaction).places.length;
    return isLast ? { ...state, stage: 'end' } : { ...state, position };
  }

  /** Counted from the client's first one. */
  batchOf(client: number, { transaction, position }: Pick<ClientState, 'transaction' | 'position'>): number {
    const { transactions } = this.clients[client] as Client;
    return transactions.slice(0, transaction).reduce((sum, { places }) => sum + places.length, position);
  }

  private transactionOf(client: number, transaction: number): ClientTransaction {
    return (this.clients[client] as Client).transactions[transaction] as ClientTransaction;
  }

  private intern(state: Omit<ClientState, 'id'>): ClientState {
    const { stage, transaction, position, tries, epoch, isAborting, acknowledged, refused, ends } = state;
    const told = ends.map((end) => `${end.asked} ${end.told}`);
    const key = [stage, transaction, position, tries, epoch, isAborting, acknowledged, refused, ...told].join();
    return this.states.of(key, (id) => ({ ...state, id }));
  }
}

function withEnd({ ends, transaction }: Pick<ClientState, 'ends' | 'transaction'>, end: EndState): EndState[] {
  return ends.map((was, i) => (i === transaction ? end : was));
}
