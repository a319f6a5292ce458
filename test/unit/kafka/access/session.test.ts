import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type CredentialSettings, Credentials } from '../../../../shared/access/credentials.ts';
import { AUTHENTICATION_MS_MAX, Session } from '../../../../shared/kafka/access/session.ts';
import { KAFKA_ERRORS } from '../../../../shared/kafka/error-codes.ts';
import { SASL_AUTHENTICATE } from '../../../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { API_VERSIONS } from '../../../../shared/kafka/protocol/messages/cluster/api-versions.ts';
import { METADATA } from '../../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { ALL_SCOPES } from '../../../../shared/log/scopes.ts';
import {
  type KafkaConnection,
  type KafkaGatewayOptions,
  kafkaGateway,
  type TestGateway,
} from '../../../support/kafka-gateway.ts';
import { SeededRandom } from '../../../support/memory-broker.ts';
import { clientFinal, clientFirst } from '../../../support/scram-client.ts';
import { turn } from '../../../support/simulated-clock.ts';

const KEYS: CredentialSettings = { apiKeys: true };
const started: TestGateway[] = [];
let pair: Awaited<ReturnType<typeof generateKeyPair>>;
let jwt: NonNullable<CredentialSettings['jwt']>;

beforeAll(async () => {
  pair = await generateKeyPair('ES256');
  const key = { ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'k' };
  jwt = { issuer: 'https://issuer.example/', audience: 'tailrace', keys: { keys: [key] } };
});

afterEach(async () => {
  vi.restoreAllMocks();
  for (const gateway of started.splice(0)) await gateway.close();
});

async function start(options: KafkaGatewayOptions = { credentials: KEYS }): Promise<TestGateway> {
  const gateway = await kafkaGateway(options);
  started.push(gateway);
  return gateway;
}

function tokenOf({ clock }: TestGateway, { lifetimeS = 60, sub = 'me' } = {}): Promise<string> {
  const exp = Math.floor(clock.nowMs() / 1_000) + lifetimeS;
  return new SignJWT({ iss: jwt.issuer, aud: jwt.audience, sub, exp, tailrace: ALL_SCOPES })
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(pair.privateKey);
}

const plainToken = (id: string, key: string): Buffer => Buffer.from(`\0${id}\0${key}`);
const bearerToken = (token: string): Buffer => Buffer.from(`n,,\x01auth=Bearer ${token}\x01\x01`);

function handshake(connection: KafkaConnection, mechanism: string, version = 1) {
  return connection.send(SASL_HANDSHAKE, version, { mechanism });
}

function authenticate(connection: KafkaConnection, authBytes: Uint8Array, version = 2) {
  return connection.send(SASL_AUTHENTICATE, version, { authBytes });
}

/** The answer to the token, of a client that has done all right before. */
async function plainLogin(connection: KafkaConnection, token: Uint8Array) {
  expect(await handshake(connection, 'PLAIN')).toMatchObject({ errorCode: 0 });
  return authenticate(connection, token);
}

const mayAsk = async (connection: KafkaConnection): Promise<boolean> =>
  (await connection.send(METADATA, 12, { topics: [] })) !== 'closed';

const FAILED = { errorCode: KAFKA_ERRORS.SASL_AUTHENTICATION_FAILED, sessionLifetimeMs: 0 };
const OUT_OF_ORDER = { errorCode: KAFKA_ERRORS.ILLEGAL_SASL_STATE };

describe('who shows a key', () => {
  it('is let in by PLAIN, and nobody before that', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    expect(await connection.send(API_VERSIONS, 3, {})).toMatchObject({ errorCode: 0 });
    expect(await handshake(connection, 'PLAIN')).toEqual({
      errorCode: 0,
      mechanisms: ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN', 'OAUTHBEARER'],
    });
    expect(await authenticate(connection, plainToken(id, key))).toMatchObject({
      ...{ errorCode: 0, errorMessage: null, sessionLifetimeMs: 0 },
      authBytes: new Uint8Array(0),
    });
    expect(await mayAsk(connection)).toBe(true);
    expect(await mayAsk(await gateway.connect())).toBe(false);
    expect(gateway.clock.refusalsDelayed).toBe(0);
  });

  it.each(['SCRAM-SHA-256', 'SCRAM-SHA-512'] as const)('is let in by %s', async (mechanism) => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const hash = mechanism === 'SCRAM-SHA-256' ? 'sha256' : 'sha512';
    for (const password of [key, `${key}x`]) {
      const client = { hash, user: id, password, nonce: 'n' } as const;
      const connection = await gateway.connect();
      await handshake(connection, mechanism);
      const first = await authenticate(connection, clientFirst(client));
      if (first === 'closed') throw new Error('closed');
      expect(first).toMatchObject({ errorCode: 0, sessionLifetimeMs: 0 });
      const { message, serverFinal } = clientFinal(client, Buffer.from(first.authBytes).toString());
      const last = await authenticate(connection, message);
      if (password === key)
        expect(last).toMatchObject({ errorCode: 0, authBytes: new Uint8Array(Buffer.from(serverFinal)) });
      else expect(last).toMatchObject(FAILED);
      expect(await mayAsk(connection)).toBe(password === key);
    }
  });

  it('is let in by OAUTHBEARER with a token, for as long as the token is valid', async () => {
    const gateway = await start({ credentials: { ...KEYS, jwt } });
    const connection = await gateway.connect();
    await handshake(connection, 'OAUTHBEARER');
    // The clocks may differ by five seconds.
    expect(await authenticate(connection, bearerToken(await tokenOf(gateway)))).toMatchObject({
      ...{ errorCode: 0, sessionLifetimeMs: 65_000 },
    });
    expect(await mayAsk(connection)).toBe(true);
    await gateway.clock.advance(64_999);
    expect(await mayAsk(connection)).toBe(true);
    await gateway.clock.advance(1);
    expect(await mayAsk(connection)).toBe(false);
  });

  it('is refused with anything else, after a delay, and heard no longer', async () => {
    const gateway = await start({ credentials: { ...KEYS, jwt } });
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const other = await gateway.broker.createApiKey({ name: 'b', scopes: ALL_SCOPES });
    const token = await tokenOf(gateway);
    const wrong: [string, Uint8Array][] = [
      ['PLAIN', plainToken(id, `${key}x`)],
      ['PLAIN', plainToken(id, key.slice(21))],
      ['PLAIN', plainToken(id, other.key)],
      ['PLAIN', plainToken('', key)],
      ['PLAIN', plainToken(id, '')],
      ['PLAIN', plainToken(id, token)],
      ['PLAIN', Buffer.from(`${other.id}\0${id}\0${key}`)],
      ['PLAIN', Buffer.from(`\0${id}\0${key}\0`)],
      ['PLAIN', Buffer.from(key)],
      ['PLAIN', new Uint8Array(0)],
      ['PLAIN', Buffer.concat([plainToken(id, key), Buffer.from([0xff])])],
      ['PLAIN', Buffer.alloc(64 * 1024 + 1, 0x61)],
      ['OAUTHBEARER', Buffer.from(token)],
      ['OAUTHBEARER', bearerToken(`${token}x`)],
      ['OAUTHBEARER', Buffer.from(`n,,\x01auth=Bearer ${token}\x01`)],
      ['OAUTHBEARER', Buffer.from(`n,,\x01auth=Basic ${token}\x01\x01`)],
      ['OAUTHBEARER', Buffer.from(`n,,\x01auth=Bearer ${token}\x01auth=Bearer ${token}\x01\x01`)],
      ['OAUTHBEARER', Buffer.from(`y,,\x01auth=Bearer ${token}\x01\x01`)],
      ['SCRAM-SHA-256', plainToken(id, key)],
    ];
    for (const [i, [mechanism, bytes]] of wrong.entries()) {
      const connection = await gateway.connect();
      await handshake(connection, mechanism);
      const answer = await authenticate(connection, bytes);
      expect([i, answer]).toMatchObject([i, { ...FAILED, authBytes: new Uint8Array(0) }]);
      // Nothing of it is sent back.
      if (bytes.length > 0 && bytes.length < 1_000)
        expect(JSON.stringify(answer)).not.toContain(Buffer.from(bytes).toString());
      await connection.closed;
      expect(gateway.clock.refusalsDelayed).toBe(i + 1);
    }
    expect(gateway.errors).toEqual([]);
  });

  it('is not told that it is wrong if the storage fails, so that it tries again', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await handshake(connection, 'PLAIN');
    vi.spyOn(gateway.broker, 'verifyApiKey').mockRejectedValue(new EventLogError('storage_unavailable', 'Down.'));
    expect(await authenticate(connection, plainToken(id, key))).toBe('closed');
    expect(gateway.errors).toMatchObject([{ code: 'storage_unavailable' }]);
  });
});

describe('a wrong order', () => {
  it('is answered, and ends the connection', async () => {
    const gateway = await start({ credentials: KEYS, mechanisms: ['PLAIN'] });
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const tokenFirst = await gateway.connect();
    expect(await authenticate(tokenFirst, plainToken(id, key))).toMatchObject(OUT_OF_ORDER);
    await tokenFirst.closed;

    const twice = await gateway.connect();
    await handshake(twice, 'PLAIN');
    expect(await handshake(twice, 'PLAIN')).toMatchObject(OUT_OF_ORDER);
    await twice.closed;

    const unknown = await gateway.connect();
    const mechanisms = ['PLAIN'];
    expect(await handshake(unknown, 'GSSAPI')).toEqual({
      ...{ errorCode: KAFKA_ERRORS.UNSUPPORTED_SASL_MECHANISM, mechanisms },
    });
    await unknown.closed;
    const notOffered = await gateway.connect();
    expect(await handshake(notOffered, 'SCRAM-SHA-256')).toMatchObject({ mechanisms, errorCode: 33 });

    const tokenAgain = await gateway.connect();
    await plainLogin(tokenAgain, plainToken(id, key));
    expect(await authenticate(tokenAgain, plainToken(id, key))).toMatchObject(OUT_OF_ORDER);
    await tokenAgain.closed;
  });

  it.each(['nothing', 'a handshake'])('of a request after %s ends the connection', async (before) => {
    const gateway = await start();
    const connection = await gateway.connect();
    if (before !== 'nothing') await handshake(connection, 'PLAIN');
    expect(await mayAsk(connection)).toBe(false);
    expect(gateway.errors).toEqual([]);
  });

  it('of requests that follow a wrong token at once answers none of them', async () => {
    const gateway = await start();
    const connection = await gateway.connect();
    await handshake(connection, 'PLAIN');
    const answers = await Promise.all([
      authenticate(connection, plainToken('a', 'b')),
      connection.send(API_VERSIONS, 3, {}),
      connection.send(METADATA, 12, { topics: null }),
    ]);
    expect(answers).toMatchObject([FAILED, 'closed', 'closed']);
  });

  it('is told where nobody needs a credential', async () => {
    const gateway = await start({});
    const connection = await gateway.connect();
    expect(await mayAsk(connection)).toBe(true);
    expect(await handshake(connection, 'PLAIN')).toEqual({ ...OUT_OF_ORDER, mechanisms: [] });
    await connection.closed;
    expect(await authenticate(await gateway.connect(), plainToken('a', 'b'))).toMatchObject(OUT_OF_ORDER);
  });
});

describe('tokens without a header, as old clients send them', () => {
  it('are taken after a handshake of version 0', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    expect(await handshake(connection, 'PLAIN', 0)).toMatchObject({ errorCode: 0 });
    expect(await connection.sendFrame(plainToken(id, key))).toEqual(new Uint8Array(0));
    expect(await mayAsk(connection)).toBe(true);
    // A further authentication needs the newer way.
    expect(await handshake(connection, 'PLAIN', 0)).toMatchObject(OUT_OF_ORDER);

    const scram = await gateway.connect();
    const client = { hash: 'sha256', user: id, password: key, nonce: 'n' } as const;
    await handshake(scram, 'SCRAM-SHA-256', 0);
    const first = await scram.sendFrame(clientFirst(client));
    const { message, serverFinal } = clientFinal(client, Buffer.from(first as Uint8Array).toString());
    expect(Buffer.from((await scram.sendFrame(message)) as Uint8Array).toString()).toBe(serverFinal);
    expect(await mayAsk(scram)).toBe(true);
  });

  it('end the connection if they are wrong, or wrapped', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await handshake(connection, 'PLAIN', 0);
    expect(await connection.sendFrame(plainToken(id, `${key}x`))).toBe('closed');
    const wrapped = await gateway.connect();
    await handshake(wrapped, 'PLAIN', 0);
    expect(await authenticate(wrapped, plainToken(id, key))).toBe('closed');
    const bare = await gateway.connect();
    await handshake(bare, 'PLAIN', 1);
    expect(await bare.sendFrame(plainToken(id, key))).toBe('closed');
    expect(gateway.errors).toEqual([]);
  });
});

describe('a session', () => {
  it('lasts as long as its key, and longer with a newer credential of the same caller', async () => {
    const gateway = await start({ credentials: { ...KEYS, jwt } });
    const connection = await gateway.connect();
    await handshake(connection, 'OAUTHBEARER');
    await authenticate(connection, bearerToken(await tokenOf(gateway)));
    await gateway.clock.advance(65_000);
    // The session has ended: only this way goes on.
    expect(await handshake(connection, 'OAUTHBEARER')).toMatchObject({ errorCode: 0 });
    const longer = bearerToken(await tokenOf(gateway, { lifetimeS: 600 }));
    expect(await authenticate(connection, longer)).toMatchObject({ errorCode: 0, sessionLifetimeMs: 605_000 });
    expect(await mayAsk(connection)).toBe(true);
    // Between handshake and token nothing else is taken.
    await handshake(connection, 'OAUTHBEARER');
    expect(await mayAsk(connection)).toBe(false);
  });

  it('ends when its key expires, also for a client that was not told', async () => {
    const gateway = await start();
    const expiresAtMs = gateway.clock.nowMs() + 10_000;
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES, expiresAtMs });
    const connections = [await gateway.connect(), await gateway.connect()];
    for (const [version, connection] of connections.entries()) {
      await handshake(connection, 'PLAIN');
      const answer = await authenticate(connection, plainToken(id, key), version);
      expect(answer).toMatchObject({ errorCode: 0, sessionLifetimeMs: version === 0 ? 0 : 10_000 });
    }
    await gateway.clock.advance(9_999);
    for (const connection of connections) expect(await mayAsk(connection)).toBe(true);
    await gateway.clock.advance(1);
    expect(await connections[0]?.send(API_VERSIONS, 3, {})).toBe('closed');
    const [, again] = connections as [KafkaConnection, KafkaConnection];
    await handshake(again, 'PLAIN');
    const message = 'Authentication failed: the credential has expired.';
    expect(await authenticate(again, plainToken(id, key))).toMatchObject({ ...FAILED, errorMessage: message });
  });

  it('tells no longer a lifetime than clients can count', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({
      ...{ name: 'a', scopes: ALL_SCOPES, expiresAtMs: Number.MAX_SAFE_INTEGER },
    });
    const answer = await plainLogin(await gateway.connect(), plainToken(id, key));
    expect(answer).toMatchObject({ sessionLifetimeMs: 7 * 24 * 3_600_000 });
  });

  it('stays with its caller and mechanism', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const other = await gateway.broker.createApiKey({ name: 'b', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await plainLogin(connection, plainToken(id, key));
    expect(await plainLogin(connection, plainToken(id, key))).toMatchObject({ errorCode: 0 });
    expect(await plainLogin(connection, plainToken(other.id, other.key))).toMatchObject(FAILED);
    await connection.closed;
    const mechanism = await gateway.connect();
    await plainLogin(mechanism, plainToken(id, key));
    expect(await handshake(mechanism, 'SCRAM-SHA-256')).toMatchObject(OUT_OF_ORDER);
  });

  it('of a revoked key ends within a minute, and costs one request for all its connections', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connections = await Promise.all([1, 2, 3].map(() => gateway.connect()));
    for (const connection of connections) await plainLogin(connection, plainToken(id, key));
    const find = vi.spyOn(gateway.broker, 'findApiKey');
    await gateway.clock.advance(29_999);
    for (const connection of connections) expect(await mayAsk(connection)).toBe(true);
    expect(find).toHaveBeenCalledTimes(0);
    await gateway.clock.advance(1);
    for (const connection of connections) expect(await mayAsk(connection)).toBe(true);
    expect(find.mock.calls).toEqual([[id]]);
    await gateway.broker.revokeApiKey(id);
    await gateway.clock.advance(29_999);
    for (const connection of connections) expect(await mayAsk(connection)).toBe(true);
    await gateway.clock.advance(1);
    for (const connection of connections) expect(await mayAsk(connection)).toBe(false);
  });

  it('of a revoked key ends also if the clock is set back', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await plainLogin(connection, plainToken(id, key));
    await gateway.broker.revokeApiKey(id);
    await gateway.clock.advance(-3_600_000);
    expect(await mayAsk(connection)).toBe(false);
  });

  it('outlives a storage that fails for a moment, and not longer', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const connection = await gateway.connect();
    await plainLogin(connection, plainToken(id, key));
    const find = vi.spyOn(gateway.broker, 'findApiKey');
    find.mockRejectedValue(new EventLogError('storage_unavailable', 'Down.'));
    await gateway.clock.advance(30_000);
    expect([await mayAsk(connection), await mayAsk(connection)]).toEqual([true, true]);
    expect(find).toHaveBeenCalledTimes(1);
    await gateway.clock.advance(29_999);
    expect(await mayAsk(connection)).toBe(true);
    await gateway.clock.advance(5_000);
    expect(await mayAsk(connection)).toBe(false);
    expect(gateway.errors).toMatchObject([{ code: 'storage_unavailable' }]);
  });
});

describe('a token that is longer than 64 KiB', () => {
  /** Right but for its length: what is in it is ignored. */
  const longFirst = (id: string, bytes: number): Buffer => {
    const token = clientFirst({ hash: 'sha256', user: id, password: 'p', nonce: 'n' });
    return Buffer.concat([token, Buffer.from(`,x=${'a'.repeat(bytes - token.length - 3)}`)]);
  };

  it.each(['at first', 'later'])('is refused %s', async (when) => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    for (const [bytes, expected] of [
      [64 * 1024, { errorCode: 0 }],
      [64 * 1024 + 1, FAILED],
    ] as const) {
      const connection = await gateway.connect();
      if (when === 'later') {
        const client = { hash: 'sha256', user: id, password: key, nonce: 'n' } as const;
        await handshake(connection, 'SCRAM-SHA-256');
        const first = await authenticate(connection, clientFirst(client));
        if (first === 'closed') throw new Error('closed');
        const { message } = clientFinal(client, Buffer.from(first.authBytes).toString());
        expect(await authenticate(connection, message)).toMatchObject({ errorCode: 0 });
      }
      await handshake(connection, 'SCRAM-SHA-256');
      expect(await authenticate(connection, longFirst(id, bytes))).toMatchObject(expected);
    }
  });
});

describe('after a failure', () => {
  it('a session takes nothing, also if nobody knows whether the caller was right', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const access = {
      mechanisms: ['PLAIN'],
      ...{ broker: gateway.broker, clock: gateway.clock, random: new SeededRandom(1) },
      credentials: new Credentials(KEYS, { broker: gateway.broker, clock: gateway.clock }),
      saltSecret: new Uint8Array(32),
    } as const;
    for (const isDown of [false, true]) {
      const session = new Session(access);
      await session.handshake('PLAIN', 1);
      if (isDown)
        vi.spyOn(gateway.broker, 'verifyApiKey').mockRejectedValueOnce(
          new EventLogError('storage_unavailable', 'Down.'),
        );
      const token = plainToken(id, isDown ? key : 'wrong');
      await session.authenticate(token).catch((error: EventLogError) => expect(error.code).toBe('storage_unavailable'));
      expect([session.hasFailed, session.isAuthenticated, session.takesBareTokens]).toEqual([true, false, false]);
      expect(await session.admit(SASL_HANDSHAKE.key, 'nothing')).toBeUndefined();
      expect(await session.handshake('PLAIN', 1)).toMatchObject(OUT_OF_ORDER);
      expect(await session.authenticate(plainToken(id, key))).toMatchObject(OUT_OF_ORDER);
      expect(session.isAuthenticated).toBe(false);
    }
  });
});

describe('who has not shown anything', () => {
  it('has half a minute for it', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const [silent, late, quick] = [await gateway.connect(), await gateway.connect(), await gateway.connect()];
    await plainLogin(quick, plainToken(id, key));
    await handshake(late, 'PLAIN');
    await gateway.clock.advance(AUTHENTICATION_MS_MAX - 1);
    expect(await silent.send(API_VERSIONS, 3, {})).toMatchObject({ errorCode: 0 });
    await gateway.clock.advance(1);
    await Promise.all([silent.closed, late.closed]);
    await turn();
    expect(await mayAsk(quick)).toBe(true);
    // So has one that shows something else.
    await handshake(quick, 'PLAIN');
    await gateway.clock.advance(AUTHENTICATION_MS_MAX);
    expect(await authenticate(quick, plainToken(id, key))).toMatchObject(FAILED);
  });

  it('can send no large frame, and after that as large as all', async () => {
    const gateway = await start();
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const length = Buffer.alloc(4);
    length.writeInt32BE(100_000);
    expect(await (await gateway.connect()).sendBytes(length)).toBe('closed');
    const connection = await gateway.connect();
    await plainLogin(connection, plainToken(id, key));
    const topics = Array.from({ length: 8_000 }, (_, i) => ({ name: `topic-number-${i}`, topicId: 'A'.repeat(22) }));
    expect(await connection.send(METADATA, 12, { topics })).toMatchObject({ errorCode: 0 });
  });

  it('gets nothing else by tokens at random, and harms nobody', async () => {
    const gateway = await start({ credentials: { ...KEYS, jwt } });
    const { id, key } = await gateway.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    const random = new SeededRandom(3);
    const client = { hash: 'sha256', user: id, password: key, nonce: 'n' } as const;
    const right: [string, Buffer][] = [
      ['PLAIN', plainToken(id, key)],
      ['OAUTHBEARER', bearerToken(await tokenOf(gateway))],
      ['SCRAM-SHA-256', clientFirst(client)],
    ];
    for (let i = 0; i < 150; i++) {
      const [mechanism, token] = right[i % right.length] as [string, Buffer];
      const mutated = Buffer.from(token);
      const at = random.below(mutated.length);
      mutated.writeUInt8((mutated[at] as number) ^ (1 << random.below(8)), at);
      const connection = await gateway.connect();
      await handshake(connection, mechanism);
      const answer = await authenticate(connection, random.below(4) === 0 ? mutated.subarray(0, at) : mutated);
      // A first message of SCRAM may still be one, and the scheme of a token has no case.
      if (answer !== 'closed' && answer.errorCode === 0 && mechanism !== 'SCRAM-SHA-256')
        expect(mutated.toString().toLowerCase()).toBe(token.toString().toLowerCase());
      else if (mechanism !== 'SCRAM-SHA-256') expect(answer).toMatchObject(FAILED);
      connection.cut();
    }
    expect(gateway.errors).toEqual([]);
    expect(await plainLogin(await gateway.connect(), plainToken(id, key))).toMatchObject({ errorCode: 0 });
  });
});
