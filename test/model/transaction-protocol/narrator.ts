import type { Parts } from './parts.ts';
import type { ClientState } from './processes/clients.ts';
import type { Operation, Request, Workers } from './processes/workers.ts';
import { HEADS, type NumberedBatch } from './scenarios.ts';
import type { State } from './state.ts';
import type { Commit, HeadLog } from './stored/heads.ts';
import type { ItemState } from './stored/item.ts';

/** Kinds of steps. A step is a number of a kind, an operand of a byte, and one of two bytes. */
export const STEP = {
  start: 0,
  startBound: 1,
  startRemembering: 2,
  reply: 3,
  crash: 4,
  unheard: 5,
  move: 6,
  death: 7,
} as const;

export function stepOf(kind: number, a: number, b: number): number {
  return (kind << 24) | ((a & 255) << 16) | b;
}

const HELPER = 255;

/** Tells of steps in words. */
export class Narrator {
  private readonly parts: Parts;
  private readonly workers: Workers;

  constructor(parts: Parts, workers: Workers) {
    this.parts = parts;
    this.workers = workers;
  }

  tell(before: State, step: number, after: State): string {
    const what = this.stepInWords(before, step >> 24, (step >> 16) & 255, step & 65_535);
    const changed = [...this.parts.scenario.clients.keys()].flatMap((client) => {
      const [was, is] = [this.client(before, client), this.client(after, client)];
      return was === is || is.tries > was.tries ? [] : [this.clientInWords(client, is)];
    });
    if (before.history !== after.history) changed.push(itemInWords(this.item(after)));
    for (let head = 0; head < HEADS; head++)
      if (before.log(head) !== after.log(head)) changed.push(this.logInWords(after, head));
    return [what, ...changed].join('; ');
  }

  visible(state: State): string {
    const clients = [...this.parts.scenario.clients.keys()].map((client) =>
      this.clientInWords(client, this.client(state, client)),
    );
    const logs = Array.from({ length: HEADS }, (_, head) => this.logInWords(state, head));
    return [...clients, itemInWords(this.item(state)), ...logs].join('; ');
  }

  private stepInWords(before: State, kind: number, a: number, b: number): string {
    const who = a === HELPER ? 'whoever is held up' : this.parts.scenario.clients[a]?.name;
    switch (kind) {
      case STEP.start:
        return `${who} ${this.requestOf(before, a)}`;
      case STEP.startBound:
        return `${who} ${this.requestOf(before, a)}, which is bound to what its process remembers`;
      case STEP.startRemembering:
        return `${who} ${this.requestOf(before, a)}, whose process remembers an earlier state of the item`;
      case STEP.reply:
        return `the process of ${this.operationInWords(before, a)} has the reply to ${this.requestInWords(this.workers.requests.at(b))}`;
      case STEP.crash:
        return `the process of ${this.operationInWords(before, a)} dies`;
      case STEP.unheard:
        return `${this.requestInWords(this.workers.requests.at(b))} is applied unheard`;
      case STEP.death:
        return `${who} dies`;
      default:
        return `the tail of head ${a} is moved`;
    }
  }

  private requestOf(before: State, client: number): string {
    if (client === HELPER) return 'ends what is overdue';
    const { stage, transaction, position, tries } = this.client(before, client);
    const again = tries > 0 ? ' again' : '';
    if (stage === 'initialise') return `initialises itself${again}`;
    const batch = this.parts.batches.filter((one) => one.client === client && one.transaction === transaction)[
      position
    ];
    return stage === 'write' ? `writes ${batch?.name}${again}` : `ends transaction ${transaction + 1}${again}`;
  }

  private operationInWords(before: State, worker: number): string {
    const { operation } = this.workers.all.at(before.worker(worker) - 1);
    return this.nameOf(operation);
  }

  private nameOf({ kind, client, transaction, batch, outcome }: Operation): string {
    const name = this.parts.scenario.clients[client]?.name;
    switch (kind) {
      case 'initialise':
        return `${name}'s initialisation`;
      case 'write':
        return `the batch ${this.parts.batches[batch]?.name}`;
      case 'end':
        return `${name}'s end of transaction ${transaction + 1} (${outcome})`;
      case 'end_overdue':
        return 'whoever is held up';
    }
  }

  private requestInWords(request: Request): string {
    if (request.type === 'commit')
      return `the commit of ${this.entryName(request.commit)} to head ${request.commit.head}`;
    const { number, phase, producer } = request.change.next;
    return `the update to (${number}, ${phase}), epoch ${producer.producerEpoch}`;
  }

  private logInWords(state: State, head: number): string {
    const { commits } = this.parts.heads.logs.at(state.log(head)) as HeadLog;
    return `head ${head} [${commits.map((commit) => this.entryName(commit)).join(' ')}]`;
  }

  private entryName({ batch, entry }: Commit): string {
    if (batch !== undefined)
      return `${(this.parts.batches[batch] as NumberedBatch).name}:${entry.parts[0]?.producer?.transaction}`;
    const marker = entry.markers?.[0];
    return `${marker?.outcome}:${marker?.transaction}(${marker?.slots.join()})`;
  }

  private clientInWords(client: number, { stage, epoch, ends, acknowledged }: ClientState): string {
    const { name } = this.parts.scenario.clients[client] ?? {};
    const told = ends.map((end) => end.told ?? '-').join();
    return `${name} is told (${stage}, epoch ${epoch}, acknowledged ${acknowledged.toString(2)}, ends ${told})`;
  }

  private client(state: State, client: number): ClientState {
    return this.parts.clients.states.at(state.client(client));
  }

  private item(state: State): ItemState {
    return this.parts.item.histories.at(state.history).current;
  }
}

function itemInWords({ transaction }: ItemState): string {
  const { number, phase, producer, participants } = transaction;
  const heads = participants.heads.map(({ headNumber }) => headNumber).join();
  return `item (${number}, ${phase}), epoch ${producer.producerEpoch}, heads {${heads}}`;
}
