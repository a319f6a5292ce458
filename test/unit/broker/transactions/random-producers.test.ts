import { expect, it } from 'vitest';
import type { BrokerContext } from '../../../../shared/broker/context.ts';
import { bindTransaction } from '../../../../shared/broker/transactions/append/bind.ts';
import type { Completing } from '../../../../shared/broker/transactions/complete.ts';
import { endTransaction } from '../../../../shared/broker/transactions/end.ts';
import { enlist } from '../../../../shared/broker/transactions/enlist.ts';
import { initialiseProducer } from '../../../../shared/broker/transactions/initialise.ts';
import { transactionFromAttributes } from '../../../../shared/broker/transactions/items.ts';
import { endOverdue } from '../../../../shared/broker/transactions/overdue.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { ProducerName } from '../../../../shared/log/transaction/transaction.ts';
import type { StoredTransaction } from '../../../../shared/log/transaction/transitions.ts';
import { aroundStores } from '../../../../shared/storage/around-stores.ts';
import type { Attributes, ItemKey } from '../../../../shared/storage/ports.ts';
import { TRANSACTION, transactionKey } from '../../../../shared/storage/transaction-keys.ts';
import { type Fault, faultyStores } from '../../../support/faulty-stores.ts';
import { memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { head, page, transactionProcess } from '../../../support/transaction-world.ts';

/**
 * Producers that share a transactional id, over a store with faults, in processes that die. Judged by every change of the
 * item, and by what was marked, settled and told.
 */

const ID = { transactionalId: 'sums' };
const KEY = transactionKey(ID.transactionalId).pk;
const RUNS = Number(process.env.TRANSACTION_RUNS ?? 40);
const TIMEOUT_MS = 4_000;
const LATE_MS_MAX = 8_000;
const FAULTS: readonly Fault[] = ['throttled', 'lost_request', 'lost_reply', 'late', 'repeated'];

interface Process {
  readonly context: BrokerContext;
  readonly completing: Completing;
}

class Run {
  readonly random: SeededRandom;
  readonly raisesEpoch: boolean;
  readonly bare = memoryStores();
  readonly problems: string[] = [];
  readonly counts = new Map<string, number>();
  /** What a transaction's participants were given, by its producer id and number. */
  readonly #given = new Map<string, Map<string, string>>();
  /** Participants that somebody was told are enlisted, likewise. */
  readonly #enlisted = new Map<string, Set<string>>();
  readonly #outcomes = new Map<string, string>();
  #isHealed = false;
  #last: StoredTransaction | undefined;

  constructor(seed: number, raisesEpoch: boolean) {
    this.random = new SeededRandom(seed);
    this.raisesEpoch = raisesEpoch;
  }

  async go(): Promise<void> {
    await this.bare.clock.run(async () => {
      await Promise.all([0, 1, 2].map(() => this.#producer()).concat(this.#helper()));
      await this.bare.clock.sleep(3 * LATE_MS_MAX);
      this.#isHealed = true;
      const process = this.#process();
      const producer = await initialiseProducer(process.context, process.completing, {
        ...ID,
        timeoutMs: TIMEOUT_MS,
      });
      if (this.#last?.phase !== 'empty') this.problems.push(`it stays ${this.#last?.phase}`);
      await this.#transaction(process, producer);
      await this.bare.clock.sleep(3 * LATE_MS_MAX);
    });
  }

  /** A process with faults of its own. It may be dead after some requests. */
  #process(): Process {
    const { random } = this;
    const faultRate = [0, 0.05, 0.2][random.below(3)] as number;
    let requestsLeft = random.below(3) === 0 ? random.below(20) : Number.POSITIVE_INFINITY;
    const observed = { ...this.bare, ...this.#observed() };
    const stores = faultyStores(observed, () => {
      if (this.#isHealed) return { delayMs: 1 };
      if (requestsLeft-- <= 0) return { delayMs: 10_000_000 };
      const delayMs = 1 + random.below(random.below(15) === 0 ? 3_000 : 20);
      if (random.next() >= faultRate) return { delayMs };
      return { delayMs, fault: FAULTS[random.below(FAULTS.length)], lateMs: random.below(LATE_MS_MAX) };
    });
    const work = async (): Promise<void> => {
      await this.bare.clock.sleep(1 + random.below(random.below(10) === 0 ? 2_000 : 20));
      if (this.#isHealed) return;
      if (random.below(12) === 0) throw new EventLogError('storage_unavailable', 'No reply.');
      if (random.below(25) === 0) await this.bare.clock.sleep(10_000_000);
    };
    return {
      context: transactionProcess(stores, { commitTimeoutMs: 3_000 }).context,
      completing: {
        mark: async ({ headNumber }, { producerId, transaction, outcome }) => {
          await work();
          this.#give(`head ${headNumber}`, producerId, transaction, outcome);
        },
        settle: async (settled, { producerId, number, outcome }) => {
          await work();
          this.#give(`page ${settled.page}`, producerId, number, outcome);
        },
      },
    };
  }

  #give(participant: string, producerId: number, number: number, outcome: string): void {
    const key = `${producerId} ${number}`;
    const given = this.#given.get(key) ?? new Map<string, string>();
    this.#given.set(key, given);
    if ((given.get(participant) ?? outcome) !== outcome) this.problems.push(`${key}: ${participant} has two outcomes`);
    given.set(participant, outcome);
    this.#outcome(key, outcome);
  }

  #outcome(key: string, outcome: string): void {
    if ((this.#outcomes.get(key) ?? outcome) !== outcome) this.problems.push(`${key} has two outcomes`);
    this.#outcomes.set(key, outcome);
  }

  /** The stores, with each change of the item judged. */
  #observed() {
    return aroundStores(this.bare, (request, send) => async (...args) => {
      const answer = await send(...args);
      const isChange = request === 'updateItem' && (args[0] as ItemKey).pk === KEY && (answer as { ok: boolean }).ok;
      if (isChange) {
        const { attributes } = answer as { readonly attributes: Attributes };
        if (attributes[TRANSACTION.expiresAt] !== undefined) this.problems.push('it can expire');
        this.#judge(transactionFromAttributes(ID.transactionalId, attributes) as StoredTransaction);
      }
      return answer;
    });
  }

  #judge(now: StoredTransaction): void {
    const before = this.#last;
    this.#last = now;
    if (before === undefined) return;
    const key = `${before.producer.producerId} ${before.number}`;
    const step = `${before.number} ${before.phase} → ${now.number} ${now.phase}`;
    this.#count(`${before.phase} → ${now.phase}`);
    const isNext = now.number === before.number + 1 && now.phase === 'empty';
    const legal: Readonly<Record<string, boolean>> = {
      empty: isNext || (now.number === before.number && now.phase === 'open'),
      open: now.number === before.number && now.phase !== 'empty',
      committing: isNext,
      aborting: isNext,
    };
    if (!legal[before.phase]) this.problems.push(`a late request changed it: ${step}`);
    const [old, current] = [before.producer, now.producer];
    if (current.producerId < old.producerId || current.producerEpoch < old.producerEpoch)
      this.problems.push(`the epoch falls: ${step}`);
    if (before.phase === 'open' && now.phase === 'open') {
      const kept = before.participants.heads.length + before.participants.pages.length;
      if (now.participants.heads.length + now.participants.pages.length <= kept)
        this.problems.push(`participants are lost: ${step}`);
    }
    if (before.phase === 'committing' || before.phase === 'aborting') {
      const outcome = before.phase === 'committing' ? 'committed' : 'aborted';
      this.#outcome(key, outcome);
      const names = [
        ...before.participants.heads.map(({ headNumber }) => `head ${headNumber}`),
        ...before.participants.pages.map((each) => `page ${each.page}`),
      ];
      for (const name of new Set([...names, ...(this.#enlisted.get(key) ?? [])]))
        if (this.#given.get(key)?.get(name) !== outcome)
          this.problems.push(`${key} is finished, and ${name} was not ${outcome}`);
    }
  }

  #count(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  /** The answer, or the error; `undefined` if there is none in time. The request goes on. */
  async #ask<T>(request: Promise<T>): Promise<T | EventLogError | undefined> {
    const caught = request.catch((error: unknown) => {
      if (error instanceof EventLogError && error.code !== 'internal') return error;
      this.problems.push(`it failed: ${error instanceof Error ? error.stack : error}`);
      return undefined;
    });
    return Promise.race([caught, this.bare.clock.sleep(5_000).then(() => undefined)]);
  }

  async #producer(): Promise<void> {
    const { random, bare } = this;
    let process = this.#process();
    let producer: ProducerName | undefined;
    for (let i = 0; i < 12; i++) {
      await bare.clock.sleep(random.below(random.below(4) === 0 ? 9_000 : 300));
      if (random.below(4) === 0) process = this.#process();
      if (producer === undefined || random.below(10) === 0) {
        const given = producer !== undefined && random.below(2) === 0 ? { producer } : {};
        const { context, completing } = process;
        const answer = await this.#ask(
          initialiseProducer(context, completing, { ...ID, timeoutMs: TIMEOUT_MS, ...given }),
        );
        producer = answer instanceof EventLogError ? undefined : answer;
        if (producer === undefined) continue;
      }
      producer = await this.#transaction(process, producer);
    }
  }

  /** Returns who goes on, or `undefined` for an initialisation. */
  async #transaction(process: Process, producer: ProducerName): Promise<ProducerName | undefined> {
    const { random, raisesEpoch } = this;
    // The epoch of version 1 does not tell transactions apart, so its clients initialise themselves again after an answer that
    // they did not get.
    let number: number | undefined;
    for (let writes = 1 + random.below(4); writes > 0; writes--) {
      const other = random.below(3) === 0 ? this.#process() : process;
      const numbers = [random.below(4), random.below(4)];
      const isPage = random.below(3) === 0;
      const participants = isPage
        ? { pages: numbers.map((each) => page(each)) }
        : { heads: numbers.map((each) => head(each)) };
      const request: Promise<{ readonly number: number; readonly isRemembered?: boolean }> =
        isPage || !raisesEpoch
          ? enlist(other.context, { ...ID, producer, participants })
          : bindTransaction(other.context, {
              ...ID,
              producer,
              heads: numbers.map((each) => head(each)),
              enlists: true,
            });
      const answer = await this.#ask(request);
      if (answer === undefined || answer instanceof EventLogError) {
        if (answer?.code === 'producer_fenced' || answer?.code === 'unknown_transactional_id') return undefined;
        if (!raisesEpoch) return undefined;
        continue;
      }
      number = answer.number;
      const key = `${producer.producerId} ${number}`;
      const names = this.#enlisted.get(key) ?? new Set();
      this.#enlisted.set(key, names);
      if (answer.isRemembered !== true) for (const each of numbers) names.add(`${isPage ? 'page' : 'head'} ${each}`);
    }
    const outcome = random.below(3) === 0 ? ('aborted' as const) : ('committed' as const);
    for (let tries = 0; tries < 4; tries++) {
      const other = random.below(3) === 0 ? this.#process() : process;
      const send = () => endTransaction(other.context, other.completing, { ...ID, producer, outcome, raisesEpoch });
      if (raisesEpoch && random.below(6) === 0) void this.#ask(send());
      const answer = await this.#ask(send());
      if (answer === undefined) {
        if (!raisesEpoch) return undefined;
        continue;
      }
      if (!(answer instanceof EventLogError)) {
        this.#count(`told ${outcome}`);
        if (number !== undefined) this.#outcome(`${producer.producerId} ${number}`, outcome);
        return answer;
      }
      if (answer.code === 'invalid_transaction_state' || answer.code === 'producer_fenced') return undefined;
      if (!raisesEpoch && answer.outcome === 'unknown') return undefined;
    }
    return undefined;
  }

  async #helper(): Promise<void> {
    for (let i = 0; i < 25; i++) {
      await this.bare.clock.sleep(this.random.below(2_500));
      const { context, completing } = this.#process();
      await this.#ask(endOverdue(context, completing, this.#last?.producer.producerId ?? 0));
    }
  }
}

it.each([
  { version: 2, raisesEpoch: true },
  { version: 1, raisesEpoch: false },
])(
  'gives each transaction one outcome, which all of its participants get (version $version)',
  async ({ raisesEpoch }) => {
    const counts = new Map<string, number>();
    for (let seed = 1; seed <= RUNS; seed++) {
      const run = new Run(seed, raisesEpoch);
      await run.go();
      expect(run.problems, `seed ${seed}`).toEqual([]);
      for (const [what, count] of run.counts) counts.set(what, (counts.get(what) ?? 0) + count);
    }
    // All of it comes about.
    for (const what of [
      'empty → open',
      'open → open',
      'open → committing',
      'open → aborting',
      'committing → empty',
      'aborting → empty',
      'empty → empty',
      'told committed',
      'told aborted',
    ])
      expect(counts.get(what) ?? 0, what).toBeGreaterThan(RUNS / 10);
  },
);
