export interface Sasl {
  readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';
  readonly username: string;
  readonly password: string;
}

/** What the tests run against. */
export interface CompatServer {
  /** `127.0.0.1:<port>`; no authentication. */
  readonly bootstrap: string;
  /** Where clients authenticate by SASL without TLS; absent where the server has no such listener. */
  readonly sasl?: { readonly bootstrap: string; readonly username: string; readonly password: string };
  /** Resolves when it has ended, by `stop` or by itself. Absent where somebody else runs the server. */
  readonly ended?: Promise<void>;
  stop(): Promise<void>;
}
