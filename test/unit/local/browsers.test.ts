import { execFile } from 'node:child_process';
import http from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, describe, expect, it } from 'vitest';
import type { Operation } from '../../../shared/http/operation.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../shared/http/operations.ts';
import { CORS_REQUEST_HEADERS } from '../../../shared/http/request/cors.ts';
import { startTailrace, type Tailrace, type TailraceOptions } from '../../../shared/local/start.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';

const MAIN = join(import.meta.dirname, '../../../shared/local/main.ts');
const PAGE = 'http://localhost:5173';
const started: Tailrace[] = [];

afterEach(async () => {
  for (const tailrace of started.splice(0)) await tailrace.close();
});

async function start(options: TailraceOptions): Promise<Tailrace> {
  const tailrace = await startTailrace({ memory: true, ...options });
  started.push(tailrace);
  return tailrace;
}

interface Answer {
  readonly status: number | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

/** `fetch` lets a caller set neither Host nor Origin. */
function send(url: string, method: string, headers: Readonly<Record<string, string>>, body = ''): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks).toString() });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

/** Whether a browser would let the page send the request, by the preflight's answer (the Fetch standard, 4.8). */
async function mayBeSent(url: string, origin: string, method: string, names: readonly string[]): Promise<boolean> {
  const { status = 0, headers } = await send(url, 'OPTIONS', {
    origin,
    'access-control-request-method': method,
    'access-control-request-headers': names.map((name) => name.toLowerCase()).join(','),
  });
  const listed = (name: string): string[] =>
    String(headers[name] ?? '')
      .toLowerCase()
      .split(', ');
  return (
    status >= 200 &&
    status < 300 &&
    headers['access-control-allow-origin'] === origin &&
    (['GET', 'HEAD', 'POST'].includes(method) ||
      listed('access-control-allow-methods').includes(method.toLowerCase())) &&
    names.every((name) => listed('access-control-allow-headers').includes(name.toLowerCase()))
  );
}

describe('a web page of an allowed origin', () => {
  it('may send every operation, with all headers that the API takes', async () => {
    const { url } = await start({ allowedOrigins: ['https://console.example', PAGE] });
    const paths: string[] = [];
    for (const id of OPERATION_IDS) {
      const { method, path }: Operation = OPERATIONS[id];
      const at = url + path.replaceAll(/\{\w+\+?\}/g, '0');
      expect([id, await mayBeSent(at, PAGE, method.toUpperCase(), CORS_REQUEST_HEADERS)]).toEqual([id, true]);
      expect([id, await mayBeSent(at, 'http://localhost:5174', method.toUpperCase(), [])]).toEqual([id, false]);
      paths.push(path);
    }
    expect(paths.length).toBeGreaterThan(15);
  });

  it('reads answers, and why it was refused; a page of another origin does neither', async () => {
    const { url } = await start({ allowedOrigins: [PAGE], keys: true });
    const { broker } = started[0] as Tailrace;
    const { key } = await broker.createApiKey({ name: 'page', scopes: ALL_SCOPES });
    const authorization = `Bearer ${key}`;
    const put = await send(`${url}/v1/topics/t`, 'PUT', { origin: PAGE, authorization });
    expect([put.status, put.headers['access-control-allow-origin'], put.headers.vary]).toEqual([201, PAGE, 'Origin']);
    expect(put.headers['access-control-expose-headers']).toContain('Request-Id');
    const refused = await send(`${url}/v1/topics/t`, 'PUT', { origin: PAGE });
    expect([refused.status, refused.headers['access-control-allow-origin']]).toEqual([401, PAGE]);
    const other = await send(`${url}/v1/topics/u`, 'PUT', { origin: 'https://evil.example', authorization });
    expect([other.status, other.headers['access-control-allow-origin']]).toEqual([403, undefined]);
    expect(JSON.parse(other.body)).toMatchObject({ detail: expect.stringContaining('--allow-origin') });
    expect((await broker.listTopics()).items.map(({ name }) => name)).toEqual(['t']);
  });

  it('may be any page by *, if requests need keys', async () => {
    const { url } = await start({ allowedOrigins: ['*'], keys: true });
    expect(await mayBeSent(`${url}/v1/topics/t`, 'https://any.example', 'PUT', ['authorization'])).toBe(true);
    await expect(startTailrace({ memory: true, allowedOrigins: ['*'] })).rejects.toMatchObject({
      code: 'invalid_request',
      details: { field: 'allowedOrigins' },
    });
  });
});

describe('an allowed host name', () => {
  const get = async (url: string, host: string) => (await send(`${url}/v1/health`, 'GET', { host })).status;

  it('is answered beside those of this machine', async () => {
    const { url } = await start({ allowedHosts: ['log.example'] });
    const { port } = new URL(url);
    const answers = [];
    for (const host of ['log.example', 'LOG.example:443', `localhost:${port}`, 'other.example', 'log.example.evil'])
      answers.push(await get(url, host));
    expect(answers).toEqual([200, 200, 200, 403, 403]);
    const own = await send(`${url}/v1/topics/t`, 'PUT', { host: 'log.example', origin: 'https://log.example' });
    expect(own.status).toBe(201);
  });

  it('is any where the server listens beyond this machine, unless some are named', async () => {
    const open = await start({ host: '0.0.0.0' });
    expect(await get(open.url, 'any.example')).toBe(200);
    const named = await start({ host: '0.0.0.0', allowedHosts: ['log.example'] });
    expect([await get(named.url, 'log.example'), await get(named.url, 'any.example')]).toEqual([200, 403]);
  });

  it('is refused where it is none', async () => {
    await expect(startTailrace({ memory: true, allowedHosts: ['log.example:80'] })).rejects.toMatchObject({
      details: { field: 'allowedHosts' },
    });
  });
});

describe('npm start', () => {
  const run = promisify(execFile);

  it.each([
    [['--allow-origin', 'http://localhost:5173/'], "Write 'http://localhost:5173'"],
    [['--allow-origin', PAGE, '--allow-origin', '*'], 'any web page could use it'],
    [['--allow-host', 'http://log.example'], 'must contain host names such as'],
  ])('says what is wrong with %j', async (parameters, why) => {
    await expect(
      run(process.execPath, [MAIN, '--memory', '--port', '0', ...parameters], { timeout: 20_000 }),
    ).rejects.toMatchObject({
      code: 1,
      stderr: expect.stringContaining(why),
    });
  });
});
