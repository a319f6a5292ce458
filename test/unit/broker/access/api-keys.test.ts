import { createHash, timingSafeEqual } from 'node:crypto';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { CreateApiKeyRequest } from '../../../../shared/broker/access/api-keys.ts';
import {
  makeScramVerifier,
  packScramVerifier,
  type ScramVerifier,
} from '../../../../shared/broker/access/scram-verifiers.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import type { Scope } from '../../../../shared/log/scopes.ts';
import { API_KEYS, apiKeyKey } from '../../../../shared/storage/keys.ts';
import { codeOf, memoryBroker, memoryStores } from '../../../support/memory-broker.ts';

vi.mock('node:crypto', async (importOriginal) => {
  const real = await importOriginal<typeof import('node:crypto')>();
  return { ...real, timingSafeEqual: vi.fn(real.timingSafeEqual) };
});

const SCOPES: readonly Scope[] = [{ actions: ['produce'], topics: ['orders-*'], groups: [] }];
const stores = memoryStores();
const broker = memoryBroker(stores);

beforeEach(() => {
  vi.mocked(timingSafeEqual).mockClear();
});

describe('an API key', () => {
  it('is of its documented form, and stored without its secret', async () => {
    const { key, ...made } = await broker.createApiKey({ name: 'billing', scopes: SCOPES });
    expect(key).toMatch(/^tlr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/);
    expect(made).toEqual({ id: key.slice(4, 20), name: 'billing', scopes: SCOPES, createdAtMs: stores.clock.nowMs() });
    const { attributes = {} } = await stores.items.get(apiKeyKey(made.id));
    const secret = key.slice(21);
    const { scram256, scram512, ...rest } = attributes;
    expect(rest).toEqual({
      hash: new Uint8Array(createHash('sha256').update(secret).digest()),
      name: 'billing',
      scopes: JSON.stringify(SCOPES),
      created: made.createdAtMs,
    });
    // Iterations, salt, and two keys.
    expect([scram256, scram512].map((packed) => (packed as Uint8Array).length)).toEqual([4 + 32 + 64, 4 + 32 + 128]);
    const salts = [scram256, scram512].map((packed) => Buffer.from(packed as Uint8Array).toString('hex', 4, 36));
    expect(new Set(salts).size).toBe(2);
    for (const value of Object.values(attributes))
      if (value instanceof Uint8Array) expect(Buffer.from(value).includes(secret)).toBe(false);
    expect(JSON.stringify(await broker.listApiKeys())).not.toContain(secret);
  });

  it('is good as it was made, and no other text is', async () => {
    const { key, id } = await broker.createApiKey({ name: 'a', scopes: SCOPES });
    expect(await broker.verifyApiKey(key)).toEqual({ ok: true, id, scopes: SCOPES });
    for (let at = 0; at < key.length; at++) {
      const other = key[at] === 'a' ? 'b' : 'a';
      const verdict = await broker.verifyApiKey(`${key.slice(0, at)}${other}${key.slice(at + 1)}`);
      expect([at, verdict]).toEqual([at, { ok: false, reason: 'unknown' }]);
    }
    // The last character of 43 has two bits to spare, which a decoder would pass over.
    for (const last of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
      const { ok } = await broker.verifyApiKey(`${key.slice(0, -1)}${last}`);
      expect(ok).toBe(last === key.at(-1));
    }
    for (const text of ['', 'tlr_', key.slice(0, -1), `${key}A`, ` ${key}`, `${key}\n`, key.toUpperCase(), `x${key}`])
      expect(await broker.verifyApiKey(text)).toEqual({ ok: false, reason: 'unknown' });
  });

  it('is compared in constant time', async () => {
    const { key } = await broker.createApiKey({ name: 'a', scopes: SCOPES });
    await broker.verifyApiKey(key);
    await broker.verifyApiKey(`${key.slice(0, 21)}${'x'.repeat(43)}`);
    expect(vi.mocked(timingSafeEqual).mock.calls.map(([a, b]) => [a.byteLength, b.byteLength])).toEqual([
      [32, 32],
      [32, 32],
    ]);
  });

  it('ends when it expires, to the millisecond', async () => {
    const expiresAtMs = stores.clock.nowMs() + 1_000;
    const { key, id } = await broker.createApiKey({ name: 'a', scopes: SCOPES, expiresAtMs });
    await stores.clock.advance(999);
    expect(await broker.verifyApiKey(key)).toEqual({ ok: true, id, scopes: SCOPES, expiresAtMs });
    await stores.clock.advance(1);
    expect(await broker.verifyApiKey(key)).toEqual({ ok: false, reason: 'expired' });
  });

  it('ends when it is revoked, and stays in the list', async () => {
    const { key, id } = await broker.createApiKey({ name: 'gone', scopes: SCOPES });
    await broker.revokeApiKey(id);
    const revokedAtMs = stores.clock.nowMs();
    expect(await broker.verifyApiKey(key)).toEqual({ ok: false, reason: 'revoked' });
    await stores.clock.advance(5);
    await broker.revokeApiKey(id);
    const { items } = await broker.listApiKeys({ limit: 1_000 });
    expect(items.find((each) => each.id === id)).toMatchObject({ name: 'gone', revokedAtMs });
    // Whether a key was revoked is told only to its holder.
    expect(await broker.verifyApiKey(`${key.slice(0, 21)}${'x'.repeat(43)}`)).toEqual({ ok: false, reason: 'unknown' });
    expect(await codeOf(broker.revokeApiKey('0'.repeat(16)))).toBe('not_found');
    for (const wrong of ['', 'x', '0'.repeat(15), '0'.repeat(17), 'A'.repeat(16)])
      expect(await codeOf(broker.revokeApiKey(wrong))).toBe('invalid_request');
  });

  it('is found by its id, with what SCRAM needs, and never its secret', async () => {
    const { key, id } = await broker.createApiKey({ name: 'a', scopes: SCOPES });
    const { verdict, scram } = await broker.findApiKey(id);
    expect(verdict).toEqual({ ok: true, id, scopes: SCOPES });
    for (const hash of ['sha256', 'sha512'] as const) {
      const stored = scram[hash] as ScramVerifier;
      expect(packScramVerifier(stored)).toEqual(packScramVerifier(await makeScramVerifier(hash, key, stored.salt)));
    }
    await broker.revokeApiKey(id);
    expect((await broker.findApiKey(id)).verdict).toEqual({ ok: false, reason: 'revoked' });
    for (const other of ['0'.repeat(16), '', 'admin', `${id}\n`])
      expect(await broker.findApiKey(other)).toEqual({ verdict: { ok: false, reason: 'unknown' }, scram: {} });
  });

  it('is listed in pages, in the order of the ids', async () => {
    const fresh = memoryBroker(memoryStores());
    const made: string[] = [];
    for (let i = 0; i < 7; i++) made.push((await fresh.createApiKey({ name: `k${i}`, scopes: SCOPES })).id);
    const listed: string[] = [];
    let pageToken: string | undefined;
    do {
      const page = await fresh.listApiKeys({ limit: 3, pageToken });
      listed.push(...page.items.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== undefined);
    expect(listed).toEqual(made.sort());
  });

  it('is made once where the reply to its put was lost, and gets another id where its id is taken', async () => {
    const lossy = memoryStores();
    const put = lossy.items.put.bind(lossy.items);
    lossy.items.put = async (key, attributes, conditions) => {
      await put(key, attributes, conditions);
      return put(key, attributes, conditions);
    };
    const { id } = await memoryBroker(lossy).createApiKey({ name: 'a', scopes: SCOPES });
    expect((await memoryBroker(lossy).listApiKeys()).items.map((each) => each.id)).toEqual([id]);

    const taken = memoryStores();
    const random = (first: number) => {
      let asked = 0;
      // The secret is asked for first, and then ids.
      return { bytes: (length: number) => new Uint8Array(length).fill(length === 32 ? first : asked++) };
    };
    const one = await memoryBroker(taken, {}, random(1)).createApiKey({ name: 'one', scopes: SCOPES });
    const two = await memoryBroker(taken, {}, random(2)).createApiKey({ name: 'two', scopes: SCOPES });
    expect([one.id, two.id]).toEqual(['0'.repeat(16), '01'.repeat(8)]);
    expect(await memoryBroker(taken).verifyApiKey(one.key)).toMatchObject({ ok: true });
  });

  it('costs a request each', async () => {
    const counted = memoryBroker(memoryStores());
    const { key, id } = await counted.createApiKey({ name: 'a', scopes: SCOPES });
    await counted.verifyApiKey(key);
    await counted.verifyApiKey('garbage');
    await counted.listApiKeys();
    await counted.revokeApiKey(id);
    expect(counted.usage()).toMatchObject([{ counts: { putItem: 1, getItem: 1, query: 1, updateItem: 1 } }]);
  });
});

describe('what is refused', () => {
  const scope = { actions: ['produce'], topics: ['a'], groups: [] };
  const now = stores.clock.nowMs();
  it.each<[string, unknown]>([
    ['no name', { name: '', scopes: [scope] }],
    ['a long name', { name: 'n'.repeat(101), scopes: [scope] }],
    ['an invisible name', { name: 'a\nb', scopes: [scope] }],
    ['an unpaired surrogate', { name: '\ud800', scopes: [scope] }],
    ['no scopes', { name: 'n', scopes: [] }],
    ['scopes that are no list', { name: 'n', scopes: scope }],
    ['many scopes', { name: 'n', scopes: Array.from({ length: 21 }, () => scope) }],
    ['no action', { name: 'n', scopes: [{ ...scope, actions: [] }] }],
    ['an unknown action', { name: 'n', scopes: [{ ...scope, actions: ['root'] }] }],
    ['an action of prototypes', { name: 'n', scopes: [{ ...scope, actions: ['constructor'] }] }],
    ['a scope with more', { name: 'n', scopes: [{ ...scope, regex: '.*' }] }],
    ['an asterisk in the middle', { name: 'n', scopes: [{ ...scope, topics: ['a*b'] }] }],
    ['two asterisks', { name: 'n', scopes: [{ ...scope, topics: ['a**'] }] }],
    ['an empty pattern', { name: 'n', scopes: [{ ...scope, topics: [''] }] }],
    ['a long pattern', { name: 'n', scopes: [{ ...scope, topics: ['a'.repeat(257)] }] }],
    ['a pattern that is no text', { name: 'n', scopes: [{ ...scope, groups: [1] }] }],
    ['many patterns', { name: 'n', scopes: [{ ...scope, topics: Array.from({ length: 201 }, () => 'a') }] }],
    [
      'many patterns together',
      { name: 'n', scopes: [scope, { ...scope, groups: Array.from({ length: 200 }, () => 'a') }] },
    ],
    ['an expiry in the past', { name: 'n', scopes: [scope], expiresAtMs: now }],
    ['an expiry that is no time', { name: 'n', scopes: [scope], expiresAtMs: Number.NaN }],
  ])('%s', async (_, request) => {
    await expect(broker.createApiKey(request as CreateApiKeyRequest)).rejects.toBeInstanceOf(EventLogError);
    expect(await codeOf(broker.createApiKey(request as CreateApiKeyRequest))).toBe('invalid_request');
  });

  it('takes the largest scopes there are', async () => {
    const before = (await stores.items.query({ pk: API_KEYS, limit: 1_000 })).items.length;
    const pattern = `${'€'.repeat(255)}*`;
    const scopes: Scope[] = [{ actions: ['admin'], topics: Array.from({ length: 200 }, () => pattern), groups: [] }];
    const { key } = await broker.createApiKey({ name: 'large', scopes });
    expect(await broker.verifyApiKey(key)).toMatchObject({ ok: true, scopes });
    expect((await stores.items.query({ pk: API_KEYS, limit: 1_000 })).items).toHaveLength(before + 1);
  });
});
