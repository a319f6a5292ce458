import { createSecureContext } from 'node:tls';

/** A certificate with its chain, and its private key, as PEM. */
export interface TlsSettings {
  readonly cert: string | Uint8Array;
  readonly key: string | Uint8Array;
}

/** Why they cannot be used, in OpenSSL's words, which name what it met and never a part of the key; `undefined` if they can. */
export function tlsProblem({ cert, key }: TlsSettings): string | undefined {
  try {
    createSecureContext({ cert: Buffer.from(cert), key: Buffer.from(key) });
    return undefined;
  } catch (cause) {
    return (cause as Error).message;
  }
}
