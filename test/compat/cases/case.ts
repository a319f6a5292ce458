import type { World } from './world.ts';

/** What a server and a client must do together; rejects where they don't. */
export interface Case {
  /** Persisted in passes.json. */
  readonly name: string;
  /** Of the quick core that `npm test` runs. */
  readonly isCore?: boolean;
  /** Leaves it out where the server has nothing to try it on. */
  readonly needs?: 'sasl' | 'behindProxy';
  /** Whose case it is, where it isn't everybody's: the console tools have their own. */
  readonly of?: 'console';
  readonly run: (world: World) => Promise<void>;
}
