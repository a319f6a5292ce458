import { createHash, createHmac } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { Credentials } from '../../../../shared/access/credentials.ts';
import { makeScramVerifier } from '../../../../shared/broker/access/scram-verifiers.ts';
import type { Exchange } from '../../../../shared/kafka/access/mechanism.ts';
import { ScramExchange } from '../../../../shared/kafka/access/scram.ts';
import { ALL_SCOPES } from '../../../../shared/log/scopes.ts';
import { apiKeyKey } from '../../../../shared/storage/keys.ts';
import { memoryBroker, memoryStores, SeededRandom } from '../../../support/memory-broker.ts';
import { clientFinal, clientFirst, type ScramClient } from '../../../support/scram-client.ts';

/** RFC 7677, section 3. */
const EXAMPLE = {
  client: { hash: 'sha256', user: 'user', password: 'pencil', nonce: 'rOprNGfwEbeRWgbNEkqO' },
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverFinal: 'v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
} as const;

const stores = memoryStores();
const broker = memoryBroker(stores);
const { clock } = stores;
const credentials = new Credentials({ apiKeys: true }, { broker, clock });
let id: string;
let key: string;

beforeAll(async () => {
  ({ id, key } = await broker.createApiKey({ name: 'a', scopes: ALL_SCOPES }));
});

function exchange(hash: 'sha256' | 'sha512', seed = 1, saltSecret = new Uint8Array(32)): Exchange {
  return new ScramExchange(hash, { broker, clock, credentials, random: new SeededRandom(seed), saltSecret });
}

async function textOf(step: Promise<{ readonly answer: Uint8Array }>): Promise<string> {
  return Buffer.from((await step).answer).toString();
}

const REFUSED = { code: 'unauthenticated', details: { reason: 'invalid' } };

describe('the example of RFC 7677', () => {
  it('is what the client of these tests sends', () => {
    const { client, serverFirst } = EXAMPLE;
    expect(clientFirst(client).toString()).toBe('n,,n=user,r=rOprNGfwEbeRWgbNEkqO');
    const { message, serverFinal } = clientFinal(client, serverFirst);
    expect([message.toString(), serverFinal]).toEqual([EXAMPLE.clientFinal, EXAMPLE.serverFinal]);
  });

  it('is checked by what is stored of the password', async () => {
    const { client, serverFirst } = EXAMPLE;
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
    const { storedKey, serverKey, iterations } = await makeScramVerifier('sha256', client.password, salt);
    expect(iterations).toBe(4_096);
    const withoutProof = EXAMPLE.clientFinal.split(',p=')[0];
    const signed = `n=user,r=${client.nonce},${serverFirst},${withoutProof}`;
    const sign = (by: Uint8Array): Buffer => createHmac('sha256', by).update(signed).digest();
    expect(`v=${sign(serverKey).toString('base64')}`).toBe(EXAMPLE.serverFinal);
    const proof = Buffer.from(EXAMPLE.clientFinal.split(',p=')[1] ?? '', 'base64');
    const clientKey = proof.map((byte, i) => byte ^ (sign(storedKey)[i] as number));
    expect(createHash('sha256').update(clientKey).digest()).toEqual(storedKey);
  });
});

describe.each(['sha256', 'sha512'] as const)('SCRAM with %s', (hash) => {
  const client = (changed: Partial<ScramClient> = {}): ScramClient => ({
    ...{ hash, user: id, password: key, nonce: 'abc' },
    ...changed,
  });

  it('admits who has the key, and shows that the server knows it', async () => {
    const server = exchange(hash);
    const first = await textOf(server.take(clientFirst(client())));
    expect(first).toMatch(/^r=abc[A-Za-z0-9+/]{32},s=[A-Za-z0-9+/]{43}=,i=4096$/);
    const { message, serverFinal } = clientFinal(client(), first);
    const { answer, credential } = await server.take(message);
    expect(Buffer.from(answer).toString()).toBe(serverFinal);
    expect(credential).toEqual({
      principal: { id: `key:${id}`, scopes: ALL_SCOPES },
      keyId: id,
      checkedAtMs: clock.nowMs(),
      endsAtMs: Number.POSITIVE_INFINITY,
    });
  });

  it('has another nonce each time', async () => {
    const answers = await Promise.all([1, 2].map((seed) => textOf(exchange(hash, seed).take(clientFirst(client())))));
    expect(new Set(answers).size).toBe(2);
  });

  it.each<[string, Partial<ScramClient>, Parameters<typeof clientFinal>[2]]>([
    ['another password', { password: 'tlr_0000000000000000_x' }, {}],
    ['the nonce of the client alone', {}, { nonce: 'abc' }],
    ['another nonce', {}, { nonce: `abc${'x'.repeat(32)}` }],
    ['another channel binding', {}, { binding: 'eSws' }],
  ])('refuses %s', async (_, wrong, changed) => {
    const server = exchange(hash);
    const first = await textOf(server.take(clientFirst(client())));
    // Whatever is wrong, the proof itself is right for it.
    await expect(server.take(clientFinal(client(wrong), first, changed).message)).rejects.toMatchObject(REFUSED);
  });

  it('refuses a proof in which one bit differs, and one of another length', async () => {
    const length = hash === 'sha256' ? 32 : 64;
    for (let bit = 0; bit < length * 8; bit += 37) {
      const server = exchange(hash);
      const { message } = clientFinal(client(), await textOf(server.take(clientFirst(client()))));
      const [before, given] = message.toString().split(',p=');
      const proof = Buffer.from(given ?? '', 'base64');
      proof.writeUInt8((proof[bit >> 3] as number) ^ (1 << (bit & 7)), bit >> 3);
      await expect(server.take(Buffer.from(`${before},p=${proof.toString('base64')}`))).rejects.toMatchObject(REFUSED);
    }
    for (const proof of ['', 'AAAA', Buffer.alloc(length - 1).toString('base64')]) {
      const server = exchange(hash);
      const { message } = clientFinal(client(), await textOf(server.take(clientFirst(client()))));
      const [before] = message.toString().split(',p=');
      await expect(server.take(Buffer.from(`${before},p=${proof}`))).rejects.toMatchObject(REFUSED);
    }
    // Nor one that is right, with more behind it.
    const server = exchange(hash);
    const { message } = clientFinal(client(), await textOf(server.take(clientFirst(client()))));
    const [before, given] = message.toString().split(',p=');
    const longer = Buffer.concat([Buffer.from(given ?? '', 'base64'), Buffer.alloc(1)]).toString('base64');
    await expect(server.take(Buffer.from(`${before},p=${longer}`))).rejects.toMatchObject(REFUSED);
  });

  it('takes each token once: a proof is worth nothing in another exchange', async () => {
    const server = exchange(hash, 1);
    const { message } = clientFinal(client(), await textOf(server.take(clientFirst(client()))));
    const other = exchange(hash, 2);
    await other.take(clientFirst(client()));
    await expect(other.take(message)).rejects.toMatchObject(REFUSED);
    await expect(exchange(hash).take(message)).rejects.toMatchObject(REFUSED);
  });

  it('answers an unknown user as a known one, the same each time, and refuses it at the end', async () => {
    const unknown = client({ user: '0123456789abcdef' });
    const saltOf = async (user: string, seed: number, secret?: Uint8Array<ArrayBuffer>): Promise<string> => {
      const first = await textOf(exchange(hash, seed, secret).take(clientFirst(client({ user }))));
      expect(first).toMatch(/^r=abc[A-Za-z0-9+/]{32},s=[A-Za-z0-9+/]{43}=,i=4096$/);
      return first.split(',')[1] ?? '';
    };
    const salt = await saltOf(unknown.user, 1);
    expect(await saltOf(unknown.user, 2)).toBe(salt);
    expect(await saltOf('fedcba9876543210', 1)).not.toBe(salt);
    expect(await saltOf('admin', 1)).not.toBe(salt);
    expect(await saltOf(unknown.user, 1, new Uint8Array(32).fill(1))).not.toBe(salt);
    const server = exchange(hash);
    const first = await textOf(server.take(clientFirst(unknown)));
    await expect(server.take(clientFinal(unknown, first).message)).rejects.toMatchObject(REFUSED);
  });

  it('does not know keys that were made before there was SCRAM', async () => {
    const old = await broker.createApiKey({ name: 'old', scopes: ALL_SCOPES });
    for (const name of ['scram256', 'scram512'])
      await stores.items.update(apiKeyKey(old.id), [{ do: 'remove', name }], []);
    const oldClient = client({ user: old.id, password: old.key });
    const server = exchange(hash);
    const first = await textOf(server.take(clientFirst(oldClient)));
    await expect(server.take(clientFinal(oldClient, first).message)).rejects.toMatchObject(REFUSED);
    expect(await broker.verifyApiKey(old.key)).toMatchObject({ ok: true });
  });

  it('tells only the holder that a key has expired, and nobody that it was revoked', async () => {
    const expiresAtMs = clock.nowMs() + 1_000;
    const short = await broker.createApiKey({ name: 'short', scopes: ALL_SCOPES, expiresAtMs });
    const revoked = await broker.createApiKey({ name: 'revoked', scopes: ALL_SCOPES });
    await broker.revokeApiKey(revoked.id);
    await clock.advance(1_000);
    for (const [user, password, reason] of [
      [short.id, short.key, 'expired'],
      [short.id, revoked.key, 'invalid'],
      [revoked.id, revoked.key, 'invalid'],
    ] as const) {
      const who = client({ user, password });
      const server = exchange(hash);
      const first = await textOf(server.take(clientFirst(who)));
      await expect(server.take(clientFinal(who, first).message)).rejects.toMatchObject({ details: { reason } });
    }
  });

  it('takes a client that acts for itself, or takes the server for one without channel binding', async () => {
    for (const header of ['y,,', `n,a=${id},`]) {
      const server = exchange(hash);
      const first = await textOf(server.take(clientFirst(client(), header)));
      const binding = Buffer.from(header).toString('base64');
      expect((await server.take(clientFinal(client(), first, { binding }).message)).credential?.keyId).toBe(id);
    }
  });

  it.each([
    '',
    'n',
    'n,,',
    'n,,n=,r=abc',
    'n,,n=ID,r=',
    'n,,r=abc,n=ID',
    'n,,n=ID,r=a c',
    'p=tls-unique,,n=ID,r=abc',
    'n,a=other,n=ID,r=abc',
    'n,,m=x,n=ID,r=abc',
    'n=ID,r=abc',
    'n,,n=ID,r=abc,',
    'n,,n=ID,r=abc\n',
  ])('refuses %j as the first message', async (text) => {
    await expect(exchange(hash).take(Buffer.from(text.replace('ID', id)))).rejects.toMatchObject(REFUSED);
  });

  it('refuses what is no text', async () => {
    await expect(exchange(hash).take(Buffer.from([0xff, 0xfe]))).rejects.toMatchObject(REFUSED);
    const server = exchange(hash);
    await server.take(clientFirst(client()));
    await expect(server.take(Buffer.from([0xff]))).rejects.toMatchObject(REFUSED);
  });
});
