import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { CompactSign, exportJWK, exportSPKI, generateKeyPair, type JWK, SignJWT, UnsecuredJWT } from 'jose';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { type JwksFetch, type JwtVerdict, jwtVerifier } from '../../../shared/access/jwt.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { memoryApp } from '../../support/memory-app.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

const ISSUER = 'https://issuer.example/';
const AUDIENCE = 'tailrace';
const TOLERANCE_S = 5;
const NOW_S = 1_700_000_000;
const clockAt = (seconds: number) => ({ nowMs: () => seconds * 1_000 });

type Pair = Awaited<ReturnType<typeof generateKeyPair>>;
let pair: Pair;
let stranger: Pair;
let publicKey: JWK;

beforeAll(async () => {
  pair = await generateKeyPair('ES256', { extractable: true });
  stranger = await generateKeyPair('ES256', { extractable: true });
  publicKey = { ...(await exportJWK(pair.publicKey)), kid: 'k', alg: 'ES256' };
});

interface TokenOptions {
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly header?: Readonly<Record<string, unknown>>;
  readonly key?: Pair['privateKey'];
}

function claimsWith(claims: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return { iss: ISSUER, aud: AUDIENCE, sub: 'me', exp: NOW_S + 60, tailrace: ALL_SCOPES, ...claims };
}

function tokenOf({ claims, header, key }: TokenOptions = {}): Promise<string> {
  return new SignJWT(claimsWith(claims))
    .setProtectedHeader({ alg: 'ES256', kid: 'k', ...header })
    .sign(key ?? pair.privateKey);
}

function verify(token: string, nowS = NOW_S, more: { scopesClaim?: string; keys?: { keys: JWK[] } } = {}) {
  return jwtVerifier(
    { issuer: ISSUER, audience: AUDIENCE, keys: { keys: [publicKey] }, ...more },
    clockAt(nowS),
  )(token);
}

const INVALID: JwtVerdict = { ok: false, reason: 'invalid' };
const EXPIRED: JwtVerdict = { ok: false, reason: 'expired' };

describe('a token', () => {
  it('says who its bearer is and what they may do', async () => {
    expect(await verify(await tokenOf())).toEqual({
      ok: true,
      subject: 'me',
      scopes: ALL_SCOPES,
      expiresAtMs: (NOW_S + 60 + TOLERANCE_S) * 1_000,
    });
    const [scope] = ALL_SCOPES;
    expect(await verify(await tokenOf({ claims: { tailrace: scope } }))).toMatchObject({ scopes: ALL_SCOPES });
    const renamed = await tokenOf({ claims: { tailrace: undefined, 'https://x/s': ALL_SCOPES } });
    expect(await verify(renamed, NOW_S, { scopesClaim: 'https://x/s' })).toMatchObject({ scopes: ALL_SCOPES });
  });

  it.each(['RS256', 'PS256', 'ES384', 'EdDSA'])('may be signed with %s', async (alg) => {
    const { publicKey: its, privateKey } = await generateKeyPair(alg);
    const token = await tokenOf({ header: { alg }, key: privateKey });
    const keys = { keys: [{ ...(await exportJWK(its)), kid: 'k' }] };
    expect(await verify(token, NOW_S, { keys })).toMatchObject({ ok: true });
    expect(await verify(token)).toEqual(INVALID);
  });

  it.each<[string, unknown]>([
    ['missing', undefined],
    ['text', 'produce consume admin'],
    ['of an unknown action', [{ actions: ['root'], topics: ['*'] }]],
    ['half right', [...ALL_SCOPES, { actions: ['produce'], topics: ['a*b'] }]],
    ['null', null],
    ['empty', []],
  ])('gives no right where its claim is %s', async (_, claim) => {
    expect(await verify(await tokenOf({ claims: { tailrace: claim } }))).toMatchObject({ ok: true, scopes: [] });
  });

  it('has its claim itself, not by inheritance', async () => {
    for (const scopesClaim of ['constructor', '__proto__', 'toString'])
      expect(await verify(await tokenOf(), NOW_S, { scopesClaim })).toMatchObject({ ok: true, scopes: [] });
  });

  it('ends when it expires, and begins when it says, by the given clock', async () => {
    const token = await tokenOf({ claims: { nbf: NOW_S - 60, exp: NOW_S + 60 } });
    expect(await verify(token, NOW_S + 60 + TOLERANCE_S - 1)).toMatchObject({ ok: true });
    expect(await verify(token, NOW_S + 60 + TOLERANCE_S)).toEqual(EXPIRED);
    expect(await verify(token, NOW_S - 60 - TOLERANCE_S)).toMatchObject({ ok: true });
    expect(await verify(token, NOW_S - 60 - TOLERANCE_S - 1)).toEqual(INVALID);
  });

  it.each<[string, Readonly<Record<string, unknown>>]>([
    ['another issuer', { iss: 'https://evil.example/' }],
    ['an issuer that looks like it', { iss: ISSUER.slice(0, -1) }],
    ['no issuer', { iss: undefined }],
    ['another audience', { aud: 'other' }],
    ['other audiences', { aud: ['a', 'b'] }],
    ['no audience', { aud: undefined }],
    ['no expiry', { exp: undefined }],
    ['an expiry that is text', { exp: String(NOW_S + 60) }],
    ['a beginning that is text', { nbf: '0' }],
  ])('with %s is refused', async (_, claims) => {
    // SignJWT checks claims itself, so that what is wrong has to be signed as it is.
    const bytes = new TextEncoder().encode(JSON.stringify(claimsWith(claims)));
    const token = await new CompactSign(bytes).setProtectedHeader({ alg: 'ES256', kid: 'k' }).sign(pair.privateKey);
    expect(await verify(token)).toEqual(INVALID);
  });

  it('of several audiences is taken', async () => {
    expect(await verify(await tokenOf({ claims: { aud: ['a', AUDIENCE] } }))).toMatchObject({ ok: true });
  });
});

it('is refused unread where it is longer than 8 KiB', async () => {
  const clock = new SimulatedClock(NOW_S * 1_000);
  const jwt = { issuer: ISSUER, audience: AUDIENCE, keys: { keys: [publicKey] } };
  const { call } = memoryApp({ clock, http: { access: { mode: 'authenticated', jwt } } });
  for (const [length, status] of [
    [5_000, 200],
    [7_000, 401],
  ] as const) {
    const token = await tokenOf({ claims: { filler: 'x'.repeat(length) } });
    const response = await call('GET', '/v1/topics', { headers: { Authorization: `Bearer ${token}` } });
    expect([length, response.status]).toEqual([length, status]);
  }
});

describe('a forged token', () => {
  it('without a signature is refused', async () => {
    const unsigned = new UnsecuredJWT(claimsWith()).encode();
    const [header, payload] = (await tokenOf()).split('.');
    for (const token of [unsigned, `${unsigned}.`, `${header}.${payload}.`, `${header}.${payload}`])
      expect(await verify(token)).toEqual(INVALID);
  });

  it('signed with the public key as if it were a secret is refused', async () => {
    const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    for (const alg of ['HS256', 'HS384', 'HS512']) {
      const signed = `${encode({ alg, kid: 'k' })}.${encode(claimsWith())}`;
      for (const secret of [JSON.stringify(publicKey), await exportSPKI(pair.publicKey), publicKey.x ?? '', '']) {
        const mac = createHmac(`sha${alg.slice(2)}`, secret)
          .update(signed)
          .digest('base64url');
        expect(await verify(`${signed}.${mac}`)).toEqual(INVALID);
      }
      // Nor where the issuer's set has a shared secret by mistake.
      const secret = Buffer.alloc(32, 7);
      const mac = createHmac(`sha${alg.slice(2)}`, secret)
        .update(signed)
        .digest('base64url');
      const keys = { keys: [{ kty: 'oct', k: secret.toString('base64url'), kid: 'k' }] };
      expect(await verify(`${signed}.${mac}`, NOW_S, { keys })).toEqual(INVALID);
    }
  });

  it('signed by another key is refused, whatever its header brings along', async () => {
    const jwk = await exportJWK(stranger.publicKey);
    for (const header of [
      {},
      { kid: 'other' },
      { kid: undefined },
      { jwk },
      { jku: 'https://evil.example/' },
      { x5u: 'https://evil.example/' },
    ])
      expect(await verify(await tokenOf({ key: stranger.privateKey, header }))).toEqual(INVALID);
  });

  it('with any bit flipped, or of any text, is refused', async () => {
    const token = await tokenOf();
    const [, payload = ''] = token.split('.');
    for (let at = 0; at < token.length; at++) {
      const changed = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`;
      // The last character of each part has bits to spare, which decoders pass over.
      const decoded = (text: string): string =>
        text
          .split('.')
          .map((part) => Buffer.from(part, 'base64url').toString('hex'))
          .join('.');
      if (decoded(changed) !== decoded(token)) expect([at, await verify(changed)]).toEqual([at, INVALID]);
    }
    const part = fc.oneof(
      fc.string(),
      fc.json().map((text) => Buffer.from(text).toString('base64url')),
      fc.constant(payload),
      fc
        .record(
          {
            alg: fc.constantFrom('ES256', 'RS256', 'none', 'HS256'),
            kid: fc.constantFrom('k', 'x'),
            crit: fc.anything(),
            b64: fc.boolean(),
          },
          { requiredKeys: [] },
        )
        .map((header) => Buffer.from(JSON.stringify(header)).toString('base64url')),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 6 }), async (parts) => {
        expect(await verify(parts.join('.'))).toEqual(INVALID);
      }),
      { numRuns: 500 },
    );
  });
});

describe("the issuer's keys", () => {
  const answering = (keys: readonly JWK[]): Response => Response.json({ keys });

  function remote(fetch: JwksFetch): ReturnType<typeof remoteBy<SimulatedClock>> {
    return remoteBy(fetch, new SimulatedClock(NOW_S * 1_000));
  }

  function remoteBy<Clock extends { nowMs(): number }>(fetch: JwksFetch, clock: Clock) {
    const jwt = { issuer: ISSUER, audience: AUDIENCE, jwksUrl: 'https://issuer.example/keys', fetch };
    return { clock, jwt, verify: jwtVerifier(jwt, clock) };
  }

  it('are fetched once, by the given fetch, and without being redirected', async () => {
    const asked: unknown[] = [];
    const { verify } = remote(async (url, { redirect, method }) => {
      asked.push([url, redirect, method]);
      return answering([publicKey]);
    });
    const token = await tokenOf();
    const all = await Promise.all([verify(token), verify(token), verify(token)]);
    expect(all.every(({ ok }) => ok)).toBe(true);
    expect(await verify(await tokenOf({ header: { kid: 'unheard of' } }))).toEqual(INVALID);
    expect(asked).toEqual([['https://issuer.example/keys', 'manual', 'GET']]);
  });

  it.each<[string, () => Promise<Response>]>([
    ['refuse to connect', () => Promise.reject(new TypeError('fetch failed: 10.0.0.7 issuer-internal'))],
    ['answer 500', async () => new Response('issuer-internal', { status: 500 })],
    ['redirect', async () => new Response(null, { status: 302, headers: { location: 'https://evil.example' } })],
    ['answer no JSON', async () => new Response('<html>issuer-internal')],
    ['answer other JSON', async () => Response.json({ 'issuer-internal': true })],
  ])('that %s are a 503 that tells nothing, and are not asked for at once again', async (_, answer) => {
    let asked = 0;
    const { clock, jwt } = remote(() => {
      asked++;
      return answer();
    });
    const { call, errors } = memoryApp({ clock, http: { access: { mode: 'authenticated', jwt } } });
    const headers = { Authorization: `Bearer ${await tokenOf()}` };
    const response = await call('GET', '/v1/topics', { headers });
    const text = await response.text();
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '1']);
    expect(JSON.parse(text)).toMatchObject({ code: 'storage_unavailable', outcome: 'not_applied', retry: 'as_is' });
    expect(text).not.toMatch(/issuer-internal|10\.0\.0|jose|JWK|example/i);
    expect(errors).toEqual([]);
    // Those without a token, or with one that needs no key, learn the same as ever.
    expect((await call('GET', '/v1/topics')).status).toBe(401);
    expect(asked).toBe(1);
    expect((await call('GET', '/v1/topics', { headers })).status).toBe(503);
    expect(asked).toBe(1);
    await clock.advance(5_000);
    expect((await call('GET', '/v1/topics', { headers })).status).toBe(503);
    expect(asked).toBe(2);
  });

  it('are taken up again when they are back', async () => {
    let isUp = false;
    const { clock, verify } = remote(async () => {
      if (!isUp) throw new TypeError('fetch failed');
      return answering([publicKey]);
    });
    const token = await tokenOf();
    await expect(verify(token)).rejects.toMatchObject({ code: 'storage_unavailable' });
    isUp = true;
    await expect(verify(token)).rejects.toMatchObject({ code: 'storage_unavailable' });
    await clock.advance(5_000);
    expect(await verify(token)).toMatchObject({ ok: true });
  });

  it('are looked for also when the clock was set back', async () => {
    vi.useFakeTimers({ toFake: ['Date'], now: NOW_S * 1_000 });
    try {
      let key = publicKey;
      const { verify } = remoteBy(async () => answering([key]), { nowMs: Date.now });
      const before = await tokenOf();
      expect(await verify(before)).toMatchObject({ ok: true });
      key = { ...(await exportJWK(stranger.publicKey)), kid: 'new', alg: 'ES256' };
      vi.setSystemTime((NOW_S - 3_600) * 1_000);
      const after = await tokenOf({ key: stranger.privateKey, header: { kid: 'new' } });
      expect(await verify(after)).toMatchObject({ ok: true });
      expect(await verify(before)).toEqual(INVALID);
    } finally {
      vi.useRealTimers();
    }
  });
});
