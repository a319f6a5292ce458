import type { World } from './world.ts';

/** Programs of Apache Kafka that are clients: they have no agent, and cases of their own. */
export const PROGRAM_NAMES = ['console', 'connect', 'mirror-maker', 'streams'] as const;
export type ProgramName = (typeof PROGRAM_NAMES)[number];

/** What a server and a client must do together; rejects where they don't. */
export interface Case {
  /** Persisted in passes.json. */
  readonly name: string;
  /** Of the quick core that `npm test` runs. */
  readonly isCore?: boolean;
  /** Leaves it out where the server has nothing to try it on. */
  readonly needs?: 'sasl' | 'tokens' | 'tls' | 'behindProxy';
  /** Whose case it is, where it isn't everybody's: programs that aren't libraries have their own. */
  readonly of?: ProgramName;
  /** Where it takes longer than others: several programs start in it. */
  readonly timeoutMs?: number;
  readonly run: (world: World) => Promise<void>;
}
