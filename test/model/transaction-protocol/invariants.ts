import type { Parts } from './parts.ts';
import type { ClientState } from './processes/clients.ts';
import { HEADS, type NumberedBatch } from './scenarios.ts';
import type { State } from './state.ts';
import type { HeadLog } from './stored/heads.ts';
import type { History } from './stored/item.ts';

interface Found {
  /** The number of its transaction; `undefined`: it is in no log. */
  readonly number: number | undefined;
  readonly isVisible: boolean;
}

/** What must hold in every state of the model. */
export class Invariants {
  private readonly parts: Parts;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  violation(state: State): string | undefined {
    const history = this.parts.item.histories.at(state.history);
    const logs = this.logs(state);
    const found = this.parts.batches.map((batch, i): Found => {
      const { read } = logs[batch.head] as HeadLog;
      return { number: read.numbers.get(i), isVisible: read.visible.has(i) };
    });
    return this.heads(history, logs) ?? this.batches(history, found) ?? this.clients(state, history, logs, found);
  }

  private logs(state: State): HeadLog[] {
    return Array.from({ length: HEADS }, (_, head) => this.parts.heads.logs.at(state.log(head)));
  }

  private heads({ current, outcomes }: History, logs: readonly HeadLog[]): string | undefined {
    for (const { read } of logs) {
      if (read.wrong !== undefined) return read.wrong;
      for (const [number, outcome] of read.outcomes)
        if (outcomes.get(number) !== outcome)
          return `a head says that transaction ${number} was ${outcome}, which it was not`;
      for (const number of read.open)
        if (number < current.transaction.number) return `transaction ${number} is over, and lacks its marker in a head`;
    }
    return undefined;
  }

  /** Each is in its own transaction, and is visible only if that is committed. */
  private batches({ outcomes }: History, found: readonly Found[]): string | undefined {
    const owners = new Map<number, NumberedBatch>();
    const numbers = new Map<string, number>();
    for (const [i, { number, isVisible }] of found.entries()) {
      if (number === undefined) continue;
      const batch = this.parts.batches[i] as NumberedBatch;
      if (isVisible && outcomes.get(number) !== 'committed') return `${batch.name} is visible, and was not committed`;
      const owner = owners.get(number) ?? batch;
      owners.set(number, owner);
      if (owner.client !== batch.client || owner.transaction !== batch.transaction)
        return `${batch.name} is in the transaction of ${owner.name}`;
      const own = `${batch.client} ${batch.transaction}`;
      if ((numbers.get(own) ?? number) !== number) return `${batch.name} is in another transaction than its own`;
      numbers.set(own, number);
    }
    return undefined;
  }

  private clients(
    state: State,
    history: History,
    logs: readonly HeadLog[],
    found: readonly Found[],
  ): string | undefined {
    for (const client of this.parts.scenario.clients.keys()) {
      const at = this.parts.clients.states.at(state.client(client));
      const wrong = this.told(client, at, history, found) ?? behind(at, history, logs);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  /** What a producer was told is what happened, and what happened is what it asked for. */
  private told(client: number, state: ClientState, { outcomes }: History, found: readonly Found[]): string | undefined {
    const first = this.parts.batches.findIndex((batch) => batch.client === client);
    for (const [i, { name, transaction, client: owner }] of this.parts.batches.entries()) {
      if (owner !== client) continue;
      const { number, isVisible } = found[i] as Found;
      const bit = 1 << (i - first);
      const { asked, told } = state.ends[transaction] as ClientState['ends'][number];
      if ((state.acknowledged & bit) !== 0 && number === undefined)
        return `${name} was acknowledged, and is not in the log`;
      if ((state.refused & bit) !== 0 && number !== undefined) return `${name} was rejected, and is in the log`;
      const isCommitted = number !== undefined && outcomes.get(number) === 'committed';
      if (isCommitted && asked !== 'committed') return `${name} was committed, which its producer has not asked for`;
      if (told === 'committed' && !isVisible) return `the commit of ${name} was acknowledged, and it is not visible`;
      if (told === 'aborted' && isCommitted) return `the abort of ${name} was acknowledged, and it was committed`;
      if (told === 'nothing_happened' && isCommitted) return `the commit of ${name} was rejected, and has happened`;
    }
    return undefined;
  }

  /** With no step left: every producer has its answer, and nothing is open. */
  unfinished(state: State): string | undefined {
    const { current } = this.parts.item.histories.at(state.history);
    if (current.transaction.phase !== 'empty') return `a transaction is ${current.transaction.phase} for ever`;
    if (this.logs(state).some(({ read }) => read.open.length > 0)) return 'a slot is open for ever';
    for (const [client, { name }] of this.parts.scenario.clients.entries())
      if (this.parts.clients.states.at(state.client(client)).stage !== 'over') return `${name} never gets an answer`;
    return undefined;
  }
}

/** Whoever has initialised itself, or ended a transaction, begins behind all that went before. */
function behind({ epoch }: ClientState, { current, epochs }: History, logs: readonly HeadLog[]): string | undefined {
  const isFenced = (number: number): boolean => (epochs.get(number) ?? epoch) < epoch;
  if (logs.some(({ read }) => read.open.some(isFenced)))
    return 'a slot is open behind the initialisation that has ended it';
  const { phase, number } = current.transaction;
  return phase !== 'empty' && isFenced(number) ? 'a producer goes on that was fenced' : undefined;
}
