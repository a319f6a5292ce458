import { describe, expect, it } from 'vitest';
import { checkOrigin, type OriginSettings } from '../../../../shared/http/request/origin.ts';

function check(headers: Record<string, string>, settings: Partial<OriginSettings> = {}): string | undefined {
  const request = new Request('http://127.0.0.1:8080/v1/topics', { headers });
  return checkOrigin(request, { allowedOrigins: [], ...settings });
}

describe('an origin', () => {
  it.each([{}, { origin: 'http://127.0.0.1:8080' }, { origin: 'https://127.0.0.1:8080' }])(
    'of the server itself may do all: %j',
    (headers) => {
      expect(check(headers)).toBeUndefined();
    },
  );

  it.each([
    'https://evil.example',
    'null',
    'http://127.0.0.1',
    'http://127.0.0.1:80801',
    'http://127.0.0.1:8080.evil.example',
    'http://evil.example/127.0.0.1:8080',
    'file://127.0.0.1:8080',
    '',
  ])('of another site is refused: %j', (origin) => {
    expect(() => check({ origin })).toThrow(/Web pages/);
  });

  it('that is allowed is named', () => {
    const settings = { allowedOrigins: ['https://console.example'] };
    expect(check({ origin: 'https://console.example' }, settings)).toBe('https://console.example');
    expect(() => check({ origin: 'https://console.example.evil' }, settings)).toThrow();
    expect(() => check({ origin: 'http://console.example' }, settings)).toThrow();
  });
});

describe('a host', () => {
  it.each([
    'localhost',
    'localhost:8080',
    'LOCALHOST:1',
    '127.0.0.1',
    '127.1.2.3:9',
    '[::1]:8080',
    'log.internal:80',
    'LOG.internal',
  ])('of this machine, or one that is allowed, is answered: %s', (host) => {
    expect(check({ host }, { allowedHosts: ['log.internal'] })).toBeUndefined();
  });

  it.each([
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example:8080',
    'log.internal.evil',
    'xlocalhost',
    '',
    '[::1',
  ])('of another name is refused: %j', (host) => {
    expect(() => check({ host }, { allowedHosts: ['log.internal'] })).toThrow(/does not answer under the host name/);
  });

  it('may be any where none are named', () => {
    expect(check({ host: 'evil.example' })).toBeUndefined();
  });

  it('that is not ours does not become ours by naming itself as origin', () => {
    const rebound = { host: 'evil.example:8080', origin: 'http://evil.example:8080' };
    expect(() => check(rebound, { allowedHosts: [] })).toThrow();
  });
});
