import { Broker } from '../../../shared/broker/broker.ts';
import type { CommitOutcome } from '../../../shared/broker/groups/offsets/commit-offsets.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { FaultyProcesses, GivenUp } from '../faulty-processes.ts';
import { Judge } from './judge.ts';

export const TOPICS = [
  { name: 'small', partitions: 3 },
  { name: 'wide', partitions: 20 },
];
export const ALL = TOPICS.flatMap(({ name, partitions }) =>
  Array.from({ length: partitions }, (_, i) => `${name}/${i}`),
);
export const SESSION_MS = 6_000;
export const REBALANCE_MS = 8_000;

/** What the consumers of a run share. */
export class World extends FaultyProcesses {
  readonly isStatic: boolean;
  readonly isCooperative: boolean;
  /** Whether the group may become a classic one while it has members. */
  readonly mayDowngrade: boolean;
  readonly judge: Judge;
  /** How many of the consumers that come speak KIP-848. */
  consumerShare: number;
  /** Without faults. */
  readonly plain: Broker;
  readonly #topics = new Map<string, string>();

  constructor(seed: number, runMs: number) {
    const groupMigrationPolicy = seed % 3 === 2 ? 'upgrade' : 'bidirectional';
    super(seed, runMs, (random) => ({ initialRebalanceDelayMs: random.below(3) * 500, groupMigrationPolicy }));
    this.mayDowngrade = groupMigrationPolicy === 'bidirectional';
    this.isStatic = this.random.below(4) === 0;
    this.isCooperative = this.random.below(3) > 0;
    this.consumerShare = this.random.below(3) / 2;
    this.plain = new Broker({ ...this.bare, random: this.random });
    this.judge = new Judge(this.bare, this.#topics);
  }

  async makeTopics(): Promise<void> {
    for (const topic of TOPICS) await this.clock.run(this.plain.putTopic(topic));
    for (const { name } of TOPICS)
      this.#topics.set((await this.clock.run(this.plain.describeTopic(name))).topicId, name);
  }

  /** Stands still now and then for longer than a session. */
  async pause(): Promise<void> {
    if (!this.drawPause()) return;
    this.marks.add('stood still');
    await this.clock.sleep(this.random.below(3 * SESSION_MS));
  }

  async commit(send: () => Promise<readonly CommitOutcome[]>, offset: number): Promise<void> {
    try {
      const [outcome] = await this.once(send, 3_000);
      if (outcome?.ok) this.judge.acknowledged(offset);
      this.marks.add(outcome?.ok ? 'committed' : `commit: ${outcome?.error.code}`);
    } catch (error) {
      const isExpected = ['throttled', 'storage_unavailable'].includes(codeOfError(error));
      if (!(error instanceof GivenUp) && !isExpected) this.judge.problems.push(`a commit failed: ${error}`);
    }
  }
}

export function codeOfError(error: unknown): string {
  return error instanceof EventLogError ? error.code : String(error);
}
