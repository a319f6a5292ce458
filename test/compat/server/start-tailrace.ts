import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import type { JwtSettings } from '../../../shared/access/jwt.ts';
import { startTailrace as start } from '../../../shared/local/index.ts';
import { type KafkaListener, type KafkaOptions, listenForKafka } from '../../../shared/local/kafka.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import { reservePorts } from '../../localstack/emulator.ts';
import { makeCertificate } from '../../support/certificate.ts';
import type { CompatServer } from './server.ts';

const HOST = '127.0.0.1';
/** As the real Kafka here. Sessions are the shortest, so that a test in which a member dies does not wait up to 45 seconds. */
const SETTINGS: KafkaOptions = {
  autoCreateTopics: false,
  groupMinSessionTimeoutMs: 3_000,
  groupConsumerSessionTimeoutMs: 3_000,
};

/** An issuer of tokens, and a token of it with all rights. */
async function makeIssuer(): Promise<{ readonly jwt: JwtSettings; readonly username: string; readonly token: string }> {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const [issuer, audience, username] = ['https://issuer.test', 'compat', 'compat-client'];
  const keys = { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', kid: 'key' }] };
  const token = await new SignJWT({ iss: issuer, aud: audience, sub: username, tailrace: ALL_SCOPES })
    .setExpirationTime('1h')
    .setProtectedHeader({ alg: 'ES256', kid: 'key' })
    .sign(privateKey);
  return { jwt: { issuer, audience, keys }, username, token };
}

/**
 * Starts an embedded log on the loopback, in a folder that is gone afterwards, with four listeners for Kafka's clients: one
 * asks for nothing, one for the API key or the token that are made here, one for the key over TLS, and one is reached through
 * a proxy.
 */
export async function startTailrace(options: KafkaOptions = {}): Promise<CompatServer> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'tailrace-compat-log-'));
  const tailrace = await start({ dataFolder, kafka: { ...SETTINGS, ...options } });
  const { broker } = tailrace;
  const stopping = new AbortController();
  const reserved = await reservePorts(1);
  const [advertisedPort = 0] = reserved.ports;
  const { id, key } = await broker.createApiKey({ name: 'compat', scopes: ALL_SCOPES });
  const [issuer, certificate] = [await makeIssuer(), await makeCertificate()];
  const listen = (own: KafkaOptions, keys: boolean): Promise<KafkaListener> =>
    listenForKafka({
      broker,
      host: HOST,
      options: { ...SETTINGS, ...own },
      access: { keys, isLocal: true, jwt: keys ? issuer.jwt : undefined },
      stopping: stopping.signal,
    });
  const sasl = await listen({}, true);
  const tls = await listen({ tls: certificate }, true);
  const behindProxy = await listen({ advertised: { host: HOST, port: advertisedPort } }, false);
  await reserved.release();
  return {
    bootstrap: String(tailrace.bootstrapServers),
    sasl: { bootstrap: sasl.bootstrapServers, username: id, password: key },
    tokens: { bootstrap: sasl.bootstrapServers, username: issuer.username, token: issuer.token },
    tls: { bootstrap: tls.bootstrapServers, username: id, password: key, ca: certificate.cert },
    behindProxy: { port: Number(behindProxy.bootstrapServers.split(':').at(-1)), advertisedPort },
    async stop() {
      stopping.abort();
      for (const { server } of [sasl, tls, behindProxy]) {
        server.cut();
        await server.finish();
      }
      await tailrace.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
