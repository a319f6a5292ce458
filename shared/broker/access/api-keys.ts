import { createHash, timingSafeEqual } from 'node:crypto';
import { toHex } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { API_KEY_NAME_LENGTH_MAX, OFFSET_MAX } from '../../log/limits.ts';
import { parseScopes, type Scope } from '../../log/scopes.ts';
import { API_KEY, API_KEYS, apiKeyKey } from '../../storage/keys.ts';
import type { Attributes } from '../../storage/ports.ts';
import type { BrokerContext } from '../context.ts';
import { type Page, type PageRequest, queryPage } from '../page.ts';
import { NO_TOPIC } from '../usage/usage-meter.ts';
import {
  makeScramVerifier,
  packScramVerifier,
  SCRAM_HASH_NAMES,
  SCRAM_HASHES,
  SCRAM_SALT_BYTES,
  type ScramHash,
  type ScramVerifier,
  scramVerifiersOf,
} from './scram-verifiers.ts';

/**
 * API keys: `tlr_<id>_<secret>`. The id finds the item. Only the holder keeps the secret, 256 random bits; the item stores
 * its SHA-256. A plain hash is enough: passwords can be guessed, but nobody can try 2^256 secrets. For SCRAM, whose password is the
 * whole key, the item has its verifiers too.
 */
export interface CreateApiKeyRequest {
  /** The purpose of the key, for people. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The time at which the key expires. Default: never. */
  readonly expiresAtMs?: number | undefined;
}

export interface ApiKeyDescription {
  readonly id: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly createdAtMs: number;
  readonly expiresAtMs?: number;
  readonly revokedAtMs?: number;
}

export interface CreatedApiKey extends ApiKeyDescription {
  /** The whole key. It is returned only this once. */
  readonly key: string;
}

export type ApiKeyVerdict =
  | { readonly ok: true; readonly id: string; readonly scopes: readonly Scope[]; readonly expiresAtMs?: number }
  /** `expired` and `revoked` are returned only if the secret is correct. */
  | { readonly ok: false; readonly reason: 'unknown' | 'expired' | 'revoked' };

/** A key that was looked up by its id: nobody has shown that they have it. */
export interface FoundApiKey {
  /** Whether the key is valid now. */
  readonly verdict: ApiKeyVerdict;
  /** Empty if there is no such key, or it was made before there were verifiers. */
  readonly scram: Partial<Record<ScramHash, ScramVerifier>>;
}

const ID_BYTES = 8;
const SECRET_BYTES = 32;
const ID = /^[0-9a-f]{16}$/;
const KEY = /^tlr_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/;
const NAME = /^[^\p{C}]+$/u;

/** Whether a token can only be an API key. */
export function looksLikeApiKey(token: string): boolean {
  return token.startsWith('tlr_');
}

/** The hash of a token, to recognise the token without keeping it. */
export function hashOfToken(token: string): string {
  return sha256(token).toString('base64url');
}

/**
 * Makes a key. If the reply is lost, nobody has the key; the list still shows it. 1 PutItem.
 * @throws EventLogError `invalid_request`
 */
export async function createApiKey(context: BrokerContext, request: CreateApiKeyRequest): Promise<CreatedApiKey> {
  const { name, expiresAtMs } = request;
  if (typeof name !== 'string' || name.length > API_KEY_NAME_LENGTH_MAX || !NAME.test(name))
    throw invalidField('name', `A key's name must have 1 to ${API_KEY_NAME_LENGTH_MAX} characters, all visible.`);
  const scopes = parseScopes(request.scopes);
  const createdAtMs = context.clock.nowMs();
  if (expiresAtMs !== undefined && !(Number.isSafeInteger(expiresAtMs) && expiresAtMs > createdAtMs))
    throw invalidField('expiresAtMs', `expiresAtMs must be in the future, and at most ${OFFSET_MAX}.`);
  const secret = Buffer.from(context.random.bytes(SECRET_BYTES)).toString('base64url');
  const salts = SCRAM_HASH_NAMES.map(() => context.random.bytes(SCRAM_SALT_BYTES));
  const attributes: Attributes = {
    [API_KEY.secretHash]: new Uint8Array(sha256(secret)),
    [API_KEY.name]: name,
    [API_KEY.scopes]: JSON.stringify(scopes),
    [API_KEY.createdAtMs]: createdAtMs,
    ...(expiresAtMs === undefined ? {} : { [API_KEY.expiresAtMs]: expiresAtMs }),
  };
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  for (;;) {
    const id = toHex(context.random.bytes(ID_BYTES));
    const key = `tlr_${id}_${secret}`;
    const made = await items.put(apiKeyKey(id), { ...attributes, ...(await scramAttributes(key, salts)) }, [
      { if: 'item_absent' },
    ]);
    // A key with our secret is our own put, whose reply was lost. Any other key has the same id by chance.
    if (made.ok || hasSecret(made.attributes, secret)) return { ...describe(id, attributes), key };
  }
}

async function scramAttributes(key: string, salts: readonly Uint8Array[]): Promise<Attributes> {
  const verifiers = SCRAM_HASH_NAMES.map(
    async (hash, i): Promise<[string, Uint8Array]> => [
      SCRAM_HASHES[hash],
      packScramVerifier(await makeScramVerifier(hash, key, salts[i] as Uint8Array)),
    ],
  );
  return Object.fromEntries(await Promise.all(verifiers));
}

/** Lists keys in the order of their ids, including revoked and expired keys; never their secrets. 1 Query a page. */
export async function listApiKeys(context: BrokerContext, request: PageRequest = {}): Promise<Page<ApiKeyDescription>> {
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  return queryPage(items, API_KEYS, request, describe);
}

/**
 * Takes effect immediately for servers that read the table. A server that has cached the key accepts it until the cache
 * entry expires. Revoking again changes nothing. 1 UpdateItem. @throws EventLogError `not_found`, `invalid_request`
 */
export async function revokeApiKey(context: BrokerContext, id: string): Promise<void> {
  if (!ID.test(id)) throw invalidField('id', 'The id of a key must be 16 lowercase hexadecimal digits.');
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const result = await items.update(
    apiKeyKey(id),
    [{ do: 'set', name: API_KEY.revokedAtMs, value: context.clock.nowMs() }],
    [{ if: 'item_exists' }, { if: 'absent', name: API_KEY.revokedAtMs }],
  );
  if (!result.ok && result.attributes === undefined)
    throw new EventLogError('not_found', 'There is no key with this id.');
}

/** Checks whether a text is a key that is valid now. The time does not depend on what is wrong with a secret. 1 GetItem. */
export async function verifyApiKey(context: BrokerContext, text: string): Promise<ApiKeyVerdict> {
  const [, id, secret] = KEY.exec(text) ?? [];
  if (id === undefined || secret === undefined) return { ok: false, reason: 'unknown' };
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const { attributes } = await items.get(apiKeyKey(id));
  if (attributes === undefined || !hasSecret(attributes, secret)) return { ok: false, reason: 'unknown' };
  return verdictOf(context, id, attributes);
}

/** Finds a key by its id, to check it by SCRAM, or again after its holder was checked. 1 GetItem. */
export async function findApiKey(context: BrokerContext, id: string): Promise<FoundApiKey> {
  if (!ID.test(id)) return UNKNOWN_KEY;
  const { items } = context.usage.of(NO_TOPIC, 'admin');
  const { attributes } = await items.get(apiKeyKey(id));
  if (attributes === undefined) return UNKNOWN_KEY;
  return { verdict: verdictOf(context, id, attributes), scram: scramVerifiersOf(attributes) };
}

const UNKNOWN_KEY: FoundApiKey = { verdict: { ok: false, reason: 'unknown' }, scram: {} };

function verdictOf(context: BrokerContext, id: string, attributes: Attributes): ApiKeyVerdict {
  const { scopes, expiresAtMs, revokedAtMs } = describe(id, attributes);
  if (revokedAtMs !== undefined) return { ok: false, reason: 'revoked' };
  if (expiresAtMs === undefined) return { ok: true, id, scopes };
  return context.clock.nowMs() < expiresAtMs ? { ok: true, id, scopes, expiresAtMs } : { ok: false, reason: 'expired' };
}

function hasSecret(attributes: Attributes | undefined, secret: string): boolean {
  const stored = attributes?.[API_KEY.secretHash];
  const given = sha256(secret);
  return stored instanceof Uint8Array && stored.length === given.length && timingSafeEqual(stored, given);
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function describe(id: string, attributes: Attributes): ApiKeyDescription {
  const expiresAtMs = attributes[API_KEY.expiresAtMs];
  const revokedAtMs = attributes[API_KEY.revokedAtMs];
  return {
    id,
    name: String(attributes[API_KEY.name]),
    scopes: JSON.parse(String(attributes[API_KEY.scopes])) as Scope[],
    createdAtMs: Number(attributes[API_KEY.createdAtMs]),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs: Number(expiresAtMs) }),
    ...(revokedAtMs === undefined ? {} : { revokedAtMs: Number(revokedAtMs) }),
  };
}
