import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { ofVerdict, unauthenticated } from '../../access/credentials.ts';
import type { FoundApiKey } from '../../broker/access/api-keys.ts';
import {
  SCRAM_ITERATIONS,
  SCRAM_SALT_BYTES,
  type ScramHash,
  type ScramVerifier,
} from '../../broker/access/scram-verifiers.ts';
import { type Exchange, type MechanismContext, type Step, textOf } from './mechanism.ts';

/**
 * SCRAM (RFC 5802, RFC 7677) without channel binding: the user is the id of an API key, the password the whole key. The key
 * itself is never sent. Checking costs a few hashes; only making a key takes the iterations.
 */
export class ScramExchange implements Exchange {
  readonly #hash: ScramHash;
  readonly #context: MechanismContext;
  #begun: Begun | undefined;

  constructor(hash: ScramHash, context: MechanismContext) {
    this.#hash = hash;
    this.#context = context;
  }

  async take(token: Uint8Array): Promise<Step> {
    const text = textOf(token);
    if (text === undefined) throw unauthenticated('invalid');
    if (this.#begun === undefined) {
      this.#begun = await this.#begin(text);
      return { answer: Buffer.from(this.#begun.serverFirst) };
    }
    return this.#finish(text, this.#begun);
  }

  async #begin(text: string): Promise<Begun> {
    const { header, bare, user, nonce } = parseClientFirst(text);
    const found = await this.#context.broker.findApiKey(user);
    // An unknown user gets what a known one does, and fails only at the end, so that nobody finds out which ids there are.
    const verifier = found.scram[this.#hash] ?? this.#madeUp(user);
    const wholeNonce = nonce + Buffer.from(this.#context.random.bytes(NONCE_BYTES)).toString('base64');
    const salt = Buffer.from(verifier.salt).toString('base64');
    const serverFirst = `r=${wholeNonce},s=${salt},i=${verifier.iterations}`;
    return { found, verifier, header, clientFirst: bare, serverFirst, nonce: wholeNonce };
  }

  #finish(text: string, { found, verifier, header, clientFirst, serverFirst, nonce }: Begun): Step {
    const { withoutProof, binding, nonce: given, proof } = parseClientFinal(text);
    if (binding !== Buffer.from(header).toString('base64') || given !== nonce) throw unauthenticated('invalid');
    const signed = `${clientFirst},${serverFirst},${withoutProof}`;
    if (!this.#isProof(proof, verifier, signed)) throw unauthenticated('invalid');
    const credential = { ...ofVerdict(found.verdict), checkedAtMs: this.#context.clock.nowMs() };
    const signature = createHmac(this.#hash, verifier.serverKey).update(signed).digest('base64');
    return { answer: Buffer.from(`v=${signature}`), credential };
  }

  #isProof(proof: Uint8Array, { storedKey }: ScramVerifier, signed: string): boolean {
    const signature = createHmac(this.#hash, storedKey).update(signed).digest();
    if (proof.length !== signature.length) return false;
    const clientKey = signature.map((byte, i) => byte ^ (proof[i] as number));
    return timingSafeEqual(createHash(this.#hash).update(clientKey).digest(), storedKey);
  }

  /** The salt is the same each time, in every gateway. No proof fits the keys. */
  #madeUp(user: string): ScramVerifier {
    const make = (what: string): Buffer =>
      createHmac('sha512', this.#context.saltSecret).update(`${this.#hash} ${what} ${user}`).digest();
    const { length } = createHash(this.#hash).digest();
    return {
      salt: make('salt').subarray(0, SCRAM_SALT_BYTES),
      iterations: SCRAM_ITERATIONS,
      storedKey: make('key').subarray(0, length),
      serverKey: make('server').subarray(0, length),
    };
  }
}

const NONCE_BYTES = 24;

interface Begun {
  readonly found: FoundApiKey;
  readonly verifier: ScramVerifier;
  /** What the client said of channel binding and of whom it acts for. */
  readonly header: string;
  readonly clientFirst: string;
  readonly serverFirst: string;
  readonly nonce: string;
}

/** `n`: the client has no channel binding; `y`: it takes the server for one that has none. Extensions are ignored. */
const CLIENT_FIRST = /^([ny],(?:a=([^,\0]*))?,)(n=([^,\0]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]+=[^,\0]+)*)$/;
const CLIENT_FINAL = /^(c=([A-Za-z0-9+/]+=*),r=([\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]+=[^,\0]+)*),p=([A-Za-z0-9+/]+=*)$/;

interface ClientFirst {
  readonly header: string;
  readonly bare: string;
  readonly user: string;
  readonly nonce: string;
}

function parseClientFirst(text: string): ClientFirst {
  const [, header, actFor, bare, user, nonce] = CLIENT_FIRST.exec(text) ?? [];
  if (header === undefined || bare === undefined || user === undefined || nonce === undefined)
    throw unauthenticated('invalid');
  if (actFor !== undefined && actFor !== user) throw unauthenticated('invalid');
  return { header, bare, user, nonce };
}

interface ClientFinal {
  readonly withoutProof: string;
  readonly binding: string;
  readonly nonce: string;
  readonly proof: Uint8Array;
}

function parseClientFinal(text: string): ClientFinal {
  const [, withoutProof, binding, nonce, proof] = CLIENT_FINAL.exec(text) ?? [];
  if (withoutProof === undefined || binding === undefined || nonce === undefined || proof === undefined)
    throw unauthenticated('invalid');
  return { withoutProof, binding, nonce, proof: Buffer.from(proof, 'base64') };
}
