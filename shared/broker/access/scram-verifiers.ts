import { createHash, createHmac, pbkdf2 } from 'node:crypto';
import { promisify } from 'node:util';
import { ByteReader, ByteWriter } from '../../log/bytes.ts';
import { API_KEY } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';

/**
 * What a server keeps of a password to check it by SCRAM (RFC 5802). Neither the password nor a proof of it can be made from
 * this: who reads the item can pretend to be the server, but not the holder of the key.
 */
export interface ScramVerifier {
  readonly salt: Uint8Array;
  readonly iterations: number;
  readonly storedKey: Uint8Array;
  readonly serverKey: Uint8Array;
}

/** The hashes, by Node's names, and the attribute of an API key's item that has the verifier. */
export const SCRAM_HASHES = { sha256: API_KEY.scramSha256, sha512: API_KEY.scramSha512 } as const;
export type ScramHash = keyof typeof SCRAM_HASHES;
export const SCRAM_HASH_NAMES = Object.keys(SCRAM_HASHES) as readonly ScramHash[];

/** The fewest that clients accept. More would only slow down who has the key: nobody can try 2^256 secrets. */
export const SCRAM_ITERATIONS = 4_096;
export const SCRAM_SALT_BYTES = 32;

const derive = promisify(pbkdf2);

/** Takes some milliseconds of a thread of its own. */
export async function makeScramVerifier(hash: ScramHash, password: string, salt: Uint8Array): Promise<ScramVerifier> {
  const length = createHash(hash).digest().length;
  const salted = await derive(password, salt, SCRAM_ITERATIONS, length, hash);
  const clientKey = createHmac(hash, salted).update('Client Key').digest();
  return {
    salt,
    iterations: SCRAM_ITERATIONS,
    storedKey: createHash(hash).update(clientKey).digest(),
    serverKey: createHmac(hash, salted).update('Server Key').digest(),
  };
}

export function packScramVerifier({ salt, iterations, storedKey, serverKey }: ScramVerifier): Uint8Array {
  const writer = new ByteWriter();
  writer.int32(iterations);
  for (const bytes of [salt, storedKey, serverKey]) writer.write(bytes);
  return writer.finish();
}

/** The verifiers of a key; none if it was made before there were any. */
export function scramVerifiersOf(attributes: Attributes): Partial<Record<ScramHash, ScramVerifier>> {
  const verifiers: Partial<Record<ScramHash, ScramVerifier>> = {};
  for (const hash of SCRAM_HASH_NAMES) {
    const packed = attributes[SCRAM_HASHES[hash]];
    if (packed instanceof Uint8Array) verifiers[hash] = unpackScramVerifier(packed);
  }
  return verifiers;
}

function unpackScramVerifier(packed: Uint8Array): ScramVerifier {
  const reader = new ByteReader(packed);
  const iterations = reader.int32();
  const salt = reader.view(SCRAM_SALT_BYTES);
  const length = reader.remaining / 2;
  return { iterations, salt, storedKey: reader.view(length), serverKey: reader.view(length) };
}
