import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../../shared/aws/environment.ts';
import {
  GATEWAY_VARIABLES,
  parseGatewayEnvironment,
  toGatewayVariables,
} from '../../../shared/aws/gateway-environment.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { makeCertificate } from '../../support/certificate.ts';

const REQUIRED = { TAILRACE_TABLE: 't', TAILRACE_BUCKET: 'b', TAILRACE_KAFKA_TLS: 'load_balancer' };
const JWT = {
  TAILRACE_AUTHENTICATION: 'api_keys,jwt',
  TAILRACE_JWT_ISSUER: 'https://issuer.example/',
  TAILRACE_JWT_AUDIENCE: 'tailrace',
  TAILRACE_JWT_KEYS_URL: 'https://issuer.example/keys',
};

function parse(environment: Readonly<Record<string, string>>) {
  const all = { ...REQUIRED, ...environment };
  return parseGatewayEnvironment(all, parseSettings(all));
}

it('leaves to the defaults what is not given, or empty', () => {
  expect(parse({ TAILRACE_KAFKA_PORT: '', TAILRACE_KAFKA_MECHANISMS: '', TAILRACE_KAFKA_ADVERTISED_HOST: '' })).toEqual(
    {
      host: '0.0.0.0',
      port: 9_092,
      advertisedHost: undefined,
      advertisedPort: 9_092,
      tls: { type: 'load_balancer' },
      mechanisms: ['SCRAM-SHA-512', 'SCRAM-SHA-256', 'PLAIN'],
      autoCreateTopics: true,
      partitionsDefault: 1,
      lingerMs: 10,
      drainMs: 30_000,
      healthPort: 8_080,
    },
  );
});

it('reads what is given, and advertises the port that it listens on', () => {
  const given = {
    TAILRACE_KAFKA_HOST: '::',
    TAILRACE_KAFKA_PORT: '9094',
    TAILRACE_KAFKA_ADVERTISED_HOST: 'kafka.example.com',
    TAILRACE_KAFKA_AUTO_CREATE_TOPICS: 'false',
    TAILRACE_KAFKA_PARTITIONS_DEFAULT: '6',
    TAILRACE_KAFKA_LINGER_MS: '0',
    TAILRACE_KAFKA_DRAIN_MS: '110000',
    TAILRACE_KAFKA_HEALTH_PORT: '8081',
  };
  expect(parse(given)).toMatchObject({
    host: '::',
    port: 9_094,
    advertisedHost: 'kafka.example.com',
    advertisedPort: 9_094,
    autoCreateTopics: false,
    partitionsDefault: 6,
    lingerMs: 0,
    drainMs: 110_000,
    healthPort: 8_081,
  });
  expect(parse({ ...given, TAILRACE_KAFKA_ADVERTISED_PORT: '443' }).advertisedPort).toBe(443);
});

it('is written as it is read', () => {
  const written = toGatewayVariables({
    advertisedHost: 'k.example',
    tls: 'none',
    autoCreateTopics: false,
    drainMs: 5_000,
  });
  expect(written).toEqual({
    TAILRACE_KAFKA_ADVERTISED_HOST: 'k.example',
    TAILRACE_KAFKA_TLS: 'none',
    TAILRACE_KAFKA_AUTO_CREATE_TOPICS: 'false',
    TAILRACE_KAFKA_DRAIN_MS: '5000',
  });
  expect(parse(written)).toMatchObject({ advertisedHost: 'k.example', autoCreateTopics: false, drainMs: 5_000 });
});

describe('mechanisms', () => {
  it('send no secret where connections are not encrypted', () => {
    expect(parse({ TAILRACE_KAFKA_TLS: 'none' }).mechanisms).toEqual(['SCRAM-SHA-512', 'SCRAM-SHA-256']);
  });

  it('include OAUTHBEARER if tokens are accepted', () => {
    expect(parse(JWT).mechanisms).toContain('OAUTHBEARER');
  });

  it('are only those that are named', () => {
    expect(parse({ TAILRACE_KAFKA_MECHANISMS: 'PLAIN, SCRAM-SHA-512' }).mechanisms).toEqual(['SCRAM-SHA-512', 'PLAIN']);
  });
});

it('takes a certificate and its key, and repeats neither if they do not fit', async () => {
  const { cert, key } = await makeCertificate();
  const tls = { TAILRACE_KAFKA_TLS: 'gateway', TAILRACE_KAFKA_TLS_CERT: cert, TAILRACE_KAFKA_TLS_KEY: key };
  expect(parse(tls).tls).toEqual({ type: 'gateway', tls: { cert, key } });
  const other = await makeCertificate();
  const wrong = errorOf({ ...tls, TAILRACE_KAFKA_TLS_KEY: other.key });
  expect(wrong.details.field).toBe('TAILRACE_KAFKA_TLS_CERT');
  expect(wrong.message).toContain('must be PEM, and belong together');
  for (const secret of [cert, key, other.key]) expect(wrong.message).not.toContain(secret.split('\n')[1]);
});

function errorOf(environment: Readonly<Record<string, string>>): EventLogError {
  try {
    parse(environment);
  } catch (error) {
    if (error instanceof EventLogError) return error;
    throw error;
  }
  throw new Error('It was accepted.');
}

describe('a wrong value is refused, by the name of its variable and its limits', () => {
  it.each([
    ['TAILRACE_KAFKA_TLS', '', /environment lacks TAILRACE_KAFKA_TLS/],
    ['TAILRACE_KAFKA_TLS', 'yes', /none, load_balancer, gateway, not 'yes'/],
    ['TAILRACE_KAFKA_TLS', 'gateway', /lacks TAILRACE_KAFKA_TLS_CERT/, 'TAILRACE_KAFKA_TLS_CERT'],
    ['TAILRACE_KAFKA_TLS_KEY', 'x', /requires TAILRACE_KAFKA_TLS to be gateway/],
    ['TAILRACE_KAFKA_PORT', '65536', /from 0 to 65535, not '65536'/],
    ['TAILRACE_KAFKA_PORT', '8080', /not be the port of Kafka's clients, 8080/, 'TAILRACE_KAFKA_HEALTH_PORT'],
    ['TAILRACE_KAFKA_ADVERTISED_PORT', '0', /from 1 to 65535/],
    ['TAILRACE_KAFKA_ADVERTISED_HOST', 'kafka:9092', /without a port, not 'kafka:9092'/],
    ['TAILRACE_KAFKA_ADVERTISED_HOST', 'a b', /host name or an address of at most 253/],
    ['TAILRACE_KAFKA_ADVERTISED_HOST', 'a'.repeat(254), /at most 253/],
    ['TAILRACE_KAFKA_MECHANISMS', 'GSSAPI', /takes SCRAM-SHA-512, .*not 'GSSAPI'/],
    ['TAILRACE_KAFKA_MECHANISMS', 'OAUTHBEARER', /requires TAILRACE_AUTHENTICATION to include jwt/],
    ['TAILRACE_KAFKA_AUTO_CREATE_TOPICS', 'yes', /true or false, not 'yes'/],
    ['TAILRACE_KAFKA_PARTITIONS_DEFAULT', '0', /from 1 to 10000/],
    ['TAILRACE_KAFKA_LINGER_MS', '1001', /from 0 to 1000/],
    ['TAILRACE_KAFKA_DRAIN_MS', '999', /from 1000 to 110000/],
    ['TAILRACE_KAFKA_DRAIN_MS', '120000', /from 1000 to 110000/],
    ['TAILRACE_KAFKA_HEALTH_PORT', 'x', /from 0 to 65535/],
    ['TAILRACE_AUTHENTICATION', 'iam', /takes api_keys, or api_keys,jwt, not 'iam'/],
  ])('%s=%s', (name, value, says, field = name) => {
    const { code, details, message } = errorOf({ [name]: value });
    expect([code, details.field]).toEqual(['invalid_request', field]);
    expect(message).toMatch(says);
  });

  it('and so is PLAIN without encryption, and tokens without API keys', () => {
    const plain = errorOf({ TAILRACE_KAFKA_TLS: 'none', TAILRACE_KAFKA_MECHANISMS: 'PLAIN' });
    expect(plain.message).toMatch(/PLAIN, which sends secrets as they are, and TAILRACE_KAFKA_TLS is none/);
    expect(errorOf({ ...JWT, TAILRACE_AUTHENTICATION: 'jwt' }).details.field).toBe('TAILRACE_AUTHENTICATION');
  });
});

it('is described in docs/operations.md, each variable', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/operations.md'), 'utf8');
  const missing = Object.values(GATEWAY_VARIABLES).filter(({ name }) => !text.includes(`\`${name}\``));
  expect(missing).toEqual([]);
});
