import type { CompatServer } from './server/server.ts';

/** What `main.ts` tells the tests. */
export interface Plan {
  readonly server: Omit<CompatServer, 'ended' | 'stop'>;
  /** The command of the Java client's agent. */
  readonly reference: readonly string[];
  /** The file to which each outcome is appended. */
  readonly outcomes: string;
  readonly clients: Readonly<
    Record<
      string,
      { readonly command: readonly string[]; readonly cases: readonly string[]; readonly listed: readonly string[] }
    >
  >;
}

export interface Outcome {
  readonly client: string;
  readonly name: string;
  readonly result: 'passes' | 'fails' | 'unsupported';
  readonly reason?: string;
}

declare module 'vitest' {
  interface ProvidedContext {
    plan: Plan;
  }
}
