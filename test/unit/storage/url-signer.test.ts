import { expect, test } from 'vitest';
import { createUrlSigner } from '../../../shared/storage/file/url-signer.ts';

const signer = createUrlSigner({ secret: new Uint8Array(32).fill(1), baseUrl: () => 'http://localhost:8080' });
const sign = () => new URL(signer.sign('hot/1/a', { start: 10, end: 20 }, 5_000).url);

test('signs a URL that says all it means', () => {
  const url = sign();
  expect(`${url.origin}${url.pathname}`).toBe('http://localhost:8080/v1/objects/hot/1/a');
  expect([...url.searchParams.keys()]).toEqual(['start', 'end', 'expires', 'signature']);
  expect(url.searchParams.get('start')).toBe('10');
  expect(url.searchParams.get('end')).toBe('20');
  expect(url.searchParams.get('expires')).toBe('5000');
  expect(url.searchParams.get('signature')).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(signer.sign('hot/1/a', { start: 10, end: 20 }, 5_000).headers).toEqual({});
});

test('accepts it until it expires', () => {
  expect(signer.verify('hot/1/a', sign().searchParams, 4_999)).toBe(true);
  expect(signer.verify('hot/1/a', sign().searchParams, 5_000)).toBe(false);
});

test.each([
  ['start', '9'],
  ['start', '010'],
  ['end', '21'],
  ['expires', '6000'],
  ['expires', '5000.0'],
  ['signature', ''],
  ['signature', 'AAAA'],
  ['signature', 'A'.repeat(43)],
])('refuses it with %s = %j', (name, value) => {
  const params = sign().searchParams;
  params.set(name, value);
  expect(signer.verify('hot/1/a', params, 0)).toBe(false);
  params.delete(name);
  expect(signer.verify('hot/1/a', params, 0)).toBe(false);
});

test('refuses it for another key or under another secret', () => {
  expect(signer.verify('hot/1/b', sign().searchParams, 0)).toBe(false);
  const other = createUrlSigner({ secret: new Uint8Array(32).fill(2), baseUrl: () => '' });
  expect(other.verify('hot/1/a', sign().searchParams, 0)).toBe(false);
});

test('refuses what moves a boundary between two fields', () => {
  const params = sign().searchParams;
  params.set('start', '1');
  params.set('end', '020');
  expect(signer.verify('hot/1/a', params, 0)).toBe(false);
});
