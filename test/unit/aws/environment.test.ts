import { expect, it } from 'vitest';
import { parseSettings, type Settings, toEnvironment } from '../../../shared/aws/environment.ts';
import { EventLogError } from '../../../shared/log/errors.ts';

const REQUIRED = { TAILRACE_TABLE: 't', TAILRACE_BUCKET: 'b' };

const JWT = {
  ...REQUIRED,
  TAILRACE_AUTHENTICATION: 'jwt',
  TAILRACE_JWT_ISSUER: 'https://issuer.example/',
  TAILRACE_JWT_AUDIENCE: 'tailrace',
  TAILRACE_JWT_KEYS_URL: 'https://issuer.example/keys',
};

it('leaves to the defaults what is not given, or empty', () => {
  const settings = parseSettings({ ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '', PATH: '/bin' });
  expect(Object.entries(settings).filter(([, value]) => value !== undefined)).toEqual([
    ['tableName', 't'],
    ['bucketName', 'b'],
  ]);
});

it('reads what toEnvironment wrote', () => {
  const settings: Settings = {
    tableName: 'table',
    bucketName: 'bucket',
    hotBucketName: 'hot--use1-az4--x-s3',
    inlineBytesMax: 0,
    cacheBytesMax: 1_024,
    commitTimeoutMs: 5_000,
    itemTimeoutMs: 900,
    objectTimeoutMs: 9_000,
    allowedOrigins: ['https://a.example', 'http://localhost:8080'],
    authentication: ['iam', 'api_keys', 'jwt'],
    jwtIssuer: 'https://issuer.example/',
    jwtAudience: 'tailrace',
    jwtKeysUrl: 'https://issuer.example/.well-known/jwks.json',
    jwtScopesClaim: 'https://example.com/scopes',
  };
  expect(parseSettings(toEnvironment(settings))).toEqual(settings);
});

it.each([
  ['TAILRACE_TABLE', { TAILRACE_BUCKET: 'b' }],
  ['TAILRACE_TABLE', { ...REQUIRED, TAILRACE_TABLE: '' }],
  ['TAILRACE_BUCKET', { TAILRACE_TABLE: 't' }],
  ['TAILRACE_HOT_BUCKET', { ...REQUIRED, TAILRACE_HOT_BUCKET: 'bucket' }],
  ['TAILRACE_HOT_BUCKET', { ...REQUIRED, TAILRACE_HOT_BUCKET: 'hot--x-s3' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '8k' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '-1' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '1e3' }],
  // An inline batch is one item, which holds 400 KB.
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '400000' }],
  ['TAILRACE_COMMIT_TIMEOUT_MS', { ...REQUIRED, TAILRACE_COMMIT_TIMEOUT_MS: '0' }],
  ['TAILRACE_AUTHENTICATION', { ...REQUIRED, TAILRACE_AUTHENTICATION: 'api_keys,none' }],
  ['TAILRACE_JWT_ISSUER', { ...JWT, TAILRACE_JWT_ISSUER: '' }],
  ['TAILRACE_JWT_AUDIENCE', { ...JWT, TAILRACE_JWT_AUDIENCE: '' }],
  ['TAILRACE_JWT_KEYS_URL', { ...JWT, TAILRACE_JWT_KEYS_URL: '' }],
  ['TAILRACE_JWT_KEYS_URL', { ...JWT, TAILRACE_JWT_KEYS_URL: 'http://issuer.example/keys' }],
  ['TAILRACE_JWT_KEYS_URL', { ...JWT, TAILRACE_JWT_KEYS_URL: 'http://localhost.example/keys' }],
  // Tokens are named, and nobody would ask for them.
  ['TAILRACE_JWT_ISSUER', { ...JWT, TAILRACE_AUTHENTICATION: 'api_keys' }],
  ['TAILRACE_JWT_AUDIENCE', { ...REQUIRED, TAILRACE_JWT_AUDIENCE: 'tailrace' }],
  ['TAILRACE_ALLOWED_ORIGINS', { ...REQUIRED, TAILRACE_ALLOWED_ORIGINS: 'https://a.example/path' }],
])('names %s where it is wrong', (name, environment) => {
  const parsing = (): Settings => parseSettings(environment);
  expect(parsing).toThrow(EventLogError);
  expect(parsing).toThrow(name);
});
