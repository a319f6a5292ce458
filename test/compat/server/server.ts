export interface Sasl {
  readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512' | 'OAUTHBEARER';
  readonly username: string;
  /** Of OAUTHBEARER: the token. */
  readonly password: string;
}

/** What the tests run against. */
export interface CompatServer {
  /** `127.0.0.1:<port>`; no authentication. */
  readonly bootstrap: string;
  /** Where clients authenticate by SASL without TLS; absent where the server has no such listener. */
  readonly sasl?: { readonly bootstrap: string; readonly username: string; readonly password: string };
  /** Where clients authenticate by a token, without TLS; absent where the server takes none. */
  readonly tokens?: { readonly bootstrap: string; readonly username: string; readonly token: string };
  /** Where clients authenticate by SASL over TLS; absent where the server has no such listener. */
  readonly tls?: {
    readonly bootstrap: string;
    readonly username: string;
    readonly password: string;
    /** The certificate that clients are to trust, as PEM. */
    readonly ca: string;
  };
  /**
   * A listener on the loopback, at `port`, that tells clients to connect to `advertisedPort`, where a case puts a proxy
   * before it. Absent where somebody else runs the server.
   */
  readonly behindProxy?: { readonly port: number; readonly advertisedPort: number };
  /** Resolves when it has ended, by `stop` or by itself. Absent where somebody else runs the server. */
  readonly ended?: Promise<void>;
  stop(): Promise<void>;
}
