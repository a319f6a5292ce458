import { expect, it } from 'vitest';
import { EventLogError } from '../../shared/log/errors.ts';
import { parseSettings, type Settings, toEnvironment } from '../../shared/settings.ts';

const REQUIRED = { TAILRACE_TABLE: 't', TAILRACE_BUCKET: 'b' };

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
    inlineBytesMax: 0,
    cacheBytesMax: 1_024,
    commitTimeoutMs: 5_000,
    itemTimeoutMs: 900,
    objectTimeoutMs: 9_000,
    allowedOrigins: ['https://a.example', 'http://localhost:8080'],
  };
  expect(parseSettings(toEnvironment(settings))).toEqual(settings);
});

it.each([
  ['TAILRACE_TABLE', { TAILRACE_BUCKET: 'b' }],
  ['TAILRACE_TABLE', { ...REQUIRED, TAILRACE_TABLE: '' }],
  ['TAILRACE_BUCKET', { TAILRACE_TABLE: 't' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '8k' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '-1' }],
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '1e3' }],
  // An inline batch is one item, which holds 400 KB.
  ['TAILRACE_INLINE_BYTES_MAX', { ...REQUIRED, TAILRACE_INLINE_BYTES_MAX: '400000' }],
  ['TAILRACE_COMMIT_TIMEOUT_MS', { ...REQUIRED, TAILRACE_COMMIT_TIMEOUT_MS: '0' }],
  ['TAILRACE_ALLOWED_ORIGINS', { ...REQUIRED, TAILRACE_ALLOWED_ORIGINS: 'https://a.example/path' }],
])('names %s where it is wrong', (name, environment) => {
  const parsing = (): Settings => parseSettings(environment);
  expect(parsing).toThrow(EventLogError);
  expect(parsing).toThrow(name);
});
