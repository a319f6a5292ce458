import { describe, expect, it } from 'vitest';
import type { Operation } from '../../../../shared/http/operation.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../../shared/http/operations.ts';
import {
  CORS_ANSWER_HEADERS,
  CORS_REQUEST_HEADERS,
  checkAllowedHosts,
  checkAllowedOrigins,
} from '../../../../shared/http/request/cors.ts';
import { BINDING_HEADERS } from '../../../../shared/http/request/input.ts';

const OPERATION_LIST: readonly Operation[] = OPERATION_IDS.map((id) => OPERATIONS[id]);

describe('what browsers are told', () => {
  it('names every request header that an operation takes, or refuses rather than ignores', () => {
    const taken = OPERATION_LIST.flatMap(({ headers }) => Object.keys(headers?.shape ?? {}));
    expect(taken).toContain('Producer-Seq');
    expect(CORS_REQUEST_HEADERS).toEqual(expect.arrayContaining([...new Set([...taken, ...BINDING_HEADERS])]));
  });

  it('names every header that an operation answers with', () => {
    const given = OPERATION_LIST.flatMap(({ answers }) =>
      Object.values(answers).flatMap(({ headers }) => Object.keys(headers ?? {})),
    );
    expect(given).toContain('Tailrace-Next-Offset');
    expect(CORS_ANSWER_HEADERS).toEqual(expect.arrayContaining([...new Set(given)]));
  });
});

describe('an origin in the settings', () => {
  const check = (origin: string, needCredentials = false) =>
    checkAllowedOrigins([origin], 'allowedOrigins', { needCredentials });

  it.each([
    'https://console.example',
    'http://localhost:5173',
    'http://127.0.0.1:3000',
    'http://[::1]:3000',
    'https://xn--bcher-kva.example',
    'capacitor://localhost',
    'chrome-extension://abcdefghijklmnop',
  ])('is taken as a browser sends it: %s', (origin) => {
    expect(() => check(origin)).not.toThrow();
  });

  it.each([
    ['https://console.example/', 'https://console.example'],
    ['https://console.example/app', 'https://console.example'],
    ['https://console.example?a', 'https://console.example'],
    ['https://console.example:443', 'https://console.example'],
    ['http://console.example:80', 'http://console.example'],
    ['HTTPS://Console.Example', 'https://console.example'],
    ['https://bücher.example', 'https://xn--bcher-kva.example'],
    [' https://console.example', 'https://console.example'],
    ['capacitor://Localhost', 'capacitor://localhost'],
  ])('that a browser writes otherwise is refused, with how it writes it: %j', (origin, written) => {
    expect(() => check(origin)).toThrow(`Write '${written}'`);
  });

  it.each([
    '',
    'null',
    'console.example',
    'localhost:5173',
    'https://',
    'file:///home',
    'https://*.example',
    'https://a:b@c.example',
  ])('that is none is refused, with an example: %j', (origin) => {
    expect(() => check(origin)).toThrow(
      /must contain origins such as https:\/\/console\.example.*Write it as scheme, host and port/,
    );
  });

  it('may be * where requests need credentials, and nowhere else', () => {
    expect(() => check('*', true)).not.toThrow();
    expect(() => check('*', false)).toThrow(/any web page could use it/);
  });
});

describe('a host name in the settings', () => {
  it.each(['log.example', 'log', 'LOG.example', '192.0.2.1', '[2001:db8::1]'])('is taken: %s', (host) => {
    expect(() => checkAllowedHosts([host], 'allowedHosts')).not.toThrow();
  });

  it.each([
    '',
    '*',
    '*.example',
    'log.example:8080',
    'http://log.example',
    'log.example/',
    '[::1',
    '-log',
    '2001:db8::1',
    'a b',
  ])('that is none is refused: %j', (host) => {
    expect(() => checkAllowedHosts([host], 'allowedHosts')).toThrow(/must contain host names such as/);
  });
});
