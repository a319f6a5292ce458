import { ACKNOWLEDGED, goesOn, OUTCOME } from './outcomes.ts';
import type { Log, Planner } from './planner.ts';
import { type Batch, type NumberedClient, type Scenario, TAIL_NODE_ENTRIES } from './scenarios.ts';
import { type State, WRITER } from './state.ts';

interface LogRead {
  readonly wrong: string | undefined;
  /** By batch; −1 for one that is not there. */
  readonly offsets: readonly number[];
  /** By slot. */
  readonly newestEpochs: readonly (number | undefined)[];
  /** The batches, all of whose attempts were shut out. */
  readonly shutOut: ReadonlySet<number>;
}

/** What must hold in every state of the model. */
export class Invariants {
  private readonly clients: readonly NumberedClient[];
  private readonly batches: readonly Batch[];
  private readonly planner: Planner;
  private readonly writers: number;
  private readonly isYoung: boolean;
  /** By log, as a log never changes. */
  private readonly reads: LogRead[] = [];

  constructor(clients: readonly NumberedClient[], planner: Planner, { writers, young = false }: Scenario) {
    this.clients = clients;
    this.batches = clients.flatMap(({ batches }) => batches);
    this.planner = planner;
    this.writers = writers;
    this.isYoung = young;
  }

  violation(state: State): string | undefined {
    const log = this.planner.logs[state.log] as Log;
    this.reads[log.id] ??= this.readLog(log);
    const read = this.reads[log.id] as LogRead;
    return read.wrong ?? this.storage(state, log) ?? this.outcomes(state, read);
  }

  /** Once each, and in each partition in the producer's order, with nothing of an epoch after a newer one. */
  private readLog(log: Log): LogRead {
    const offsets = this.batches.map(() => -1);
    const next: number[] = [];
    let wrong: string | undefined;
    const newestEpochs: (number | undefined)[] = [];
    const shutOut = new Set(log.commits.flatMap(({ shutsOut }) => shutsOut ?? []));
    const last = new Map<number, { epoch: number; sequence: number }>();
    for (const { batch, slot } of log.commits.flatMap(({ appends }) => appends)) {
      const { name, producer } = this.batches[batch] as Batch;
      const offset = next[slot] ?? 0;
      next[slot] = offset + 1;
      if (offsets[batch] !== -1) wrong ??= `${name} is in the log twice, at offsets ${offsets[batch]} and ${offset}`;
      offsets[batch] = offset;
      if (producer === undefined) continue;
      const { epoch, sequence } = producer;
      const newest = newestEpochs[slot] ?? epoch;
      if (epoch < newest) wrong ??= `${name} stands behind a batch of epoch ${newest}, which fences it`;
      newestEpochs[slot] = Math.max(newest, epoch);
      const before = last.get(slot);
      const follows = before?.epoch === epoch ? before.sequence + 1 : 0;
      if ((before !== undefined || this.isYoung) && sequence !== follows)
        wrong ??= `${name} stands where sequence ${follows} belongs`;
      last.set(slot, producer);
    }
    return { wrong, offsets, newestEpochs, shutOut };
  }

  private storage(state: State, log: Log): string | undefined {
    let sequence = 0;
    while (sequence < state.firstEntry) {
      const entries = state.node(sequence);
      if (entries === 0) return `entry ${sequence} is neither in the tail nor in a tail node`;
      sequence += entries;
      if (sequence > state.firstEntry) return `entry ${sequence - 1} is both in the tail and in a tail node below it`;
    }
    for (const { data, shutsOut } of log.commits) {
      if (shutsOut === undefined && !state.hasData(data.batch, data.attempt))
        return `the entry of ${this.batches[data.batch]?.name} lacks its data`;
    }
    if (state.closed > 0 && log.commits.length >= state.closed) return 'a closed head has taken a commit';
    return undefined;
  }

  private outcomes(state: State, read: LogRead): string | undefined {
    for (const client of this.clients) {
      for (let batch = client.first; batch < client.first + client.batches.length; batch++) {
        const wrong = this.outcomeOf(state, batch, client, read);
        if (wrong !== undefined) return `${this.batches[batch]?.name} ${wrong}`;
      }
    }
    return undefined;
  }

  private outcomeOf(
    state: State,
    batch: number,
    client: NumberedClient,
    { offsets, newestEpochs, shutOut }: LogRead,
  ): string | undefined {
    const outcome = state.outcome(batch);
    if (outcome === OUTCOME.none || outcome === OUTCOME.unknown) return undefined;
    const { expectedOffset, producer, keyed, slot } = this.batches[batch] as Batch;
    const offset = offsets[batch] as number;
    if (outcome >= ACKNOWLEDGED) {
      const told = outcome - ACKNOWLEDGED;
      if (told !== (expectedOffset ?? told)) return `got offset ${told}, not the one it was to have`;
      return told === offset ? undefined : `was acknowledged at offset ${told}, where it is not`;
    }
    // An earlier try, of which nothing was heard, may be in the log.
    if (offset >= 0 && state.tries(batch) === 1) return `was refused, and is in the log at offset ${offset}`;
    // An attempt under a key that is rejected speaks for all; and none is applied whose offset was passed before.
    const speaksForAll = keyed === true || expectedOffset === 0;
    if (offset >= 0 && speaksForAll && (outcome === OUTCOME.offsetMismatch || outcome === OUTCOME.shutOut))
      return `was rejected for good, and is in the log at offset ${offset}`;
    if (outcome === OUTCOME.shutOut && !shutOut.has(batch)) return 'was told that it was shut out, which it was not';
    if (outcome === OUTCOME.fenced && (newestEpochs[slot] ?? -1) <= (producer?.epoch ?? 0))
      return 'was fenced, yet its partition holds no newer epoch';
    if (outcome !== OUTCOME.outOfOrder) return undefined;
    if (client.inFlight === 1) return 'was refused as out of order after all before it had been acknowledged';
    return this.isYoung && producer?.sequence === 0 ? 'was refused as out of order, yet it is the first' : undefined;
  }

  /** With no step left: every client knows what it can know, and nothing waits. */
  unfinished(state: State): string | undefined {
    const log = this.planner.logs[state.log] as Log;
    if (log.commits.length - state.firstEntry >= TAIL_NODE_ENTRIES) return 'the tail is never moved';
    for (const client of this.clients) {
      for (let batch = client.first; batch < client.first + client.batches.length; batch++) {
        if (state.outcome(batch) === OUTCOME.none) return `${this.batches[batch]?.name} never gets an answer`;
        // What a client sends next depends on what it was told.
        if (!goesOn(client, state.outcome(batch))) break;
      }
    }
    // Idle ones come first.
    return state.writer(this.writers - 1) === WRITER.idle ? undefined : 'a writer waits for ever';
  }
}
