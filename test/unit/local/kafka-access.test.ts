import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect as connectPlain } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { JwtSettings } from '../../../shared/access/jwt.ts';
import { SASL_AUTHENTICATE } from '../../../shared/kafka/protocol/messages/access/sasl-authenticate.ts';
import { SASL_HANDSHAKE } from '../../../shared/kafka/protocol/messages/access/sasl-handshake.ts';
import { DESCRIBE_CLUSTER } from '../../../shared/kafka/protocol/messages/cluster/describe-cluster.ts';
import { METADATA } from '../../../shared/kafka/protocol/messages/cluster/metadata.ts';
import { checkKafkaAccess, type KafkaOptions } from '../../../shared/local/kafka.ts';
import { startTailrace, type Tailrace, type TailraceOptions } from '../../../shared/local/start.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { makeCertificate } from '../../support/certificate.ts';
import { KafkaConnection } from '../../support/kafka-gateway.ts';

const run = promisify(execFile);
const MAIN = join(import.meta.dirname, '../../../shared/local/main.ts');
const started: Tailrace[] = [];
let tls: { cert: string; key: string };
let other: { cert: string; key: string };
let jwt: JwtSettings;
let token: string;

beforeAll(async () => {
  [tls, other] = [await makeCertificate(), await makeCertificate()];
  const pair = await generateKeyPair('ES256');
  const key = { ...(await exportJWK(pair.publicKey)), alg: 'ES256', kid: 'k' };
  jwt = { issuer: 'i', audience: 'a', keys: { keys: [key] } };
  token = await new SignJWT({ iss: 'i', aud: 'a', sub: 's', tailrace: ALL_SCOPES })
    .setExpirationTime('1h')
    .setProtectedHeader({ alg: 'ES256', kid: 'k' })
    .sign(pair.privateKey);
});

afterEach(async () => {
  for (const tailrace of started.splice(0)) await tailrace.close();
});

async function start(options: TailraceOptions): Promise<{ tailrace: Tailrace; port: number }> {
  const tailrace = await startTailrace({ memory: true, kafka: {}, ...options });
  started.push(tailrace);
  return { tailrace, port: Number(tailrace.bootstrapServers?.split(':').at(-1)) };
}

describe('a listener with a certificate', () => {
  it('is one that only clients with TLS 1.2 or later use', async () => {
    const { port } = await start({ kafka: { tls } });
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const connection = new KafkaConnection(connect({ port, host: '127.0.0.1', ca: tls.cert, maxVersion }));
      await connection.opened;
      expect(await connection.send(METADATA, 12, { topics: [] })).toMatchObject({ errorCode: 0 });
      connection.cut();
    }
    const old = connect({
      port,
      host: '127.0.0.1',
      ca: tls.cert,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    await expect(new KafkaConnection(old).opened).rejects.toThrow();
    const plain = new KafkaConnection(connectPlain(port, '127.0.0.1'));
    await plain.opened;
    expect(await plain.send(METADATA, 12, { topics: [] })).toBe('closed');
  });

  it('closes with connections whose handshake goes on', async () => {
    const { tailrace, port } = await start({ kafka: { tls } });
    const silent = new KafkaConnection(connectPlain(port, '127.0.0.1'));
    await silent.opened;
    await tailrace.close();
    await silent.closed;
  });

  it('is refused where certificate and key are none, or not of each other, and the key is told to nobody', async () => {
    for (const wrong of [
      { cert: tls.cert, key: other.key },
      { cert: 'x', key: tls.key },
      { cert: tls.cert, key: 'secret-text' },
    ]) {
      const error = await startTailrace({ memory: true, kafka: { tls: wrong } }).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'invalid_request', details: { field: 'kafka.tls' } });
      expect(String(error)).not.toMatch(/PRIVATE|secret/);
    }
  });
});

describe('where requests need keys', () => {
  it("so do those of Kafka's clients, and both protocols take the same tokens", async () => {
    const { tailrace, port } = await start({ keys: true, jwt });
    const { id, key } = await tailrace.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    for (const [mechanism, authBytes, bearer] of [
      ['PLAIN', Buffer.from(`\0${id}\0${key}`), key],
      ['OAUTHBEARER', Buffer.from(`n,,\x01auth=Bearer ${token}\x01\x01`), token],
    ] as const) {
      const connection = new KafkaConnection(connectPlain(port, '127.0.0.1'));
      await connection.opened;
      await connection.send(SASL_HANDSHAKE, 1, { mechanism });
      expect(await connection.send(SASL_AUTHENTICATE, 2, { authBytes })).toMatchObject({ errorCode: 0 });
      expect(await connection.send(METADATA, 12, { topics: [] })).toMatchObject({ errorCode: 0 });
      connection.cut();
      const response = await fetch(`${tailrace.url}/v1/topics`, { headers: { authorization: `Bearer ${bearer}` } });
      expect(response.status).toBe(200);
    }
    const nobody = new KafkaConnection(connectPlain(port, '127.0.0.1'));
    await nobody.opened;
    expect(await nobody.send(METADATA, 12, { topics: [] })).toBe('closed');
  });

  it('secrets are sent as they are only where nobody else can read them, unless that is allowed', async () => {
    const at = (options: KafkaOptions, isLocal: boolean, tokens?: JwtSettings) =>
      checkKafkaAccess(options, { keys: true, isLocal, jwt: tokens });
    expect(at({}, true)).toEqual(['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN']);
    expect(at({}, true, jwt)).toEqual(['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN', 'OAUTHBEARER']);
    expect(at({}, false, jwt)).toEqual(['SCRAM-SHA-512', 'SCRAM-SHA-256']);
    expect(at({ tls }, false)).toEqual(['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN']);
    expect(at({ allowCleartextCredentials: true }, false, jwt)).toHaveLength(4);
    expect(at({ mechanisms: ['PLAIN'], tls }, false)).toEqual(['PLAIN']);
    expect(at({ mechanisms: ['SCRAM-SHA-256'] }, false)).toEqual(['SCRAM-SHA-256']);
    const refused = { details: { field: 'kafka.mechanisms' } };
    for (const mechanism of ['PLAIN', 'OAUTHBEARER'] as const)
      expect(() => at({ mechanisms: [mechanism] }, false, jwt)).toThrow(expect.objectContaining(refused));
    expect(() => at({ mechanisms: ['OAUTHBEARER'] }, true)).toThrow(expect.objectContaining(refused));
    expect(() => at({ mechanisms: ['GSSAPI' as never] }, true)).toThrow(expect.objectContaining(refused));
    expect(checkKafkaAccess({}, { keys: false, isLocal: true, jwt: undefined })).toEqual([]);
    expect(() => checkKafkaAccess({ mechanisms: ['PLAIN'] }, { keys: false, isLocal: true, jwt: undefined })).toThrow(
      expect.objectContaining(refused),
    );
    const everywhere = startTailrace({ memory: true, host: '0.0.0.0', kafka: { mechanisms: ['PLAIN'] } });
    await expect(everywhere).rejects.toMatchObject(refused);
  });
});

describe('the address that clients are told', () => {
  const told = async (address: string, port: number): Promise<unknown> => {
    const connection = new KafkaConnection(connectPlain(port, address));
    await connection.opened;
    const answer = await connection.send(METADATA, 12, { topics: [] });
    connection.cut();
    return answer;
  };
  const brokers = (host: string, port: number) => ({ brokers: [{ nodeId: 1, host, port }] });

  it.each(['0.0.0.0', '::'])('is the one that they have reached, where the listener has all (%s)', async (host) => {
    const { tailrace, port } = await start({ host, jwt, kafka: { allowCleartextCredentials: true } });
    const { id, key } = await tailrace.broker.createApiKey({ name: 'a', scopes: ALL_SCOPES });
    for (const address of ['127.0.0.1', '127.0.0.2']) {
      const connection = new KafkaConnection(connectPlain(port, address));
      await connection.opened;
      await connection.send(SASL_HANDSHAKE, 1, { mechanism: 'PLAIN' });
      await connection.send(SASL_AUTHENTICATE, 2, { authBytes: Buffer.from(`\0${id}\0${key}`) });
      expect(await connection.send(METADATA, 12, { topics: [] })).toMatchObject(brokers(address, port));
      expect(await connection.send(DESCRIBE_CLUSTER, 0, {})).toMatchObject({ brokers: [{ host: address, port }] });
      connection.cut();
    }
  });

  it('is another one if that is wanted', async () => {
    const { port } = await start({ kafka: { advertised: { host: 'log.example' } } });
    expect(await told('127.0.0.1', port)).toMatchObject(brokers('log.example', port));
    const both = await start({ kafka: { advertised: { host: 'log.example', port: 19_092 } } });
    expect(await told('127.0.0.1', both.port)).toMatchObject(brokers('log.example', 19_092));
  });
});

describe('npm start', () => {
  it('says what is wrong with what it was told of Kafka', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'tailrace-tls-'));
    const cert = join(folder, 'cert.pem');
    await writeFile(cert, 'x');
    const cases: [string[], RegExp, number][] = [
      [['--kafka-port', '9', '--kafka-tls-cert', cert], /belong together/, 2],
      [['--kafka-port', 'x'], /--kafka-port takes/, 2],
      [['--kafka-advertise', 'a:b:1'], /--kafka-advertise takes HOST or HOST:PORT/, 2],
      [['--kafka-advertise', '[::1'], /--kafka-advertise takes HOST or HOST:PORT/, 2],
      [['--kafka-advertise', 'a:0'], /--kafka-advertise takes HOST or HOST:PORT/, 2],
      [['--kafka-advertise', 'a:70000'], /--kafka-advertise takes a whole number/, 2],
      [['--no-kafka', '--kafka-advertise', 'a'], /--no-kafka leaves no place/, 2],
      [['--no-kafka', '--kafka-cleartext'], /--no-kafka leaves no place/, 2],
      [['--kafka-port', '0', '--kafka-tls-cert', cert, '--kafka-tls-key', join(folder, 'none')], /can't be read/, 2],
      [['--kafka-port', '0', '--kafka-tls-cert', cert, '--kafka-tls-key', cert], /must be PEM/, 1],
    ];
    await Promise.all(
      cases.map(([options, message, code]) =>
        expect(run(process.execPath, [MAIN, '--memory', ...options])).rejects.toMatchObject({
          code,
          stderr: expect.stringMatching(message),
        }),
      ),
    );
    await rm(folder, { recursive: true });
  });
});
