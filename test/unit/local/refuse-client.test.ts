import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTailrace, type Tailrace } from '../../../shared/local/start.ts';

let tailrace: Tailrace;
beforeAll(async () => {
  tailrace = await startTailrace({ memory: true });
});
afterAll(() => tailrace.close());

/** What the server answers to raw bytes, until it ends the connection. */
function exchange(sent: string): Promise<string> {
  const { port } = new URL(tailrace.url);
  return new Promise((resolve, reject) => {
    let received = '';
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(sent));
    socket.on('data', (data) => {
      received += data.toString();
    });
    socket.on('close', () => resolve(received));
    socket.on('error', reject);
  });
}

describe('a request that Node rejects before it is one', () => {
  it.each([
    [431, 'headers_too_large', `GET /v1/topics HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`],
    [400, 'invalid_request', 'NONSENSE\r\n\r\n'],
    [400, 'invalid_request', 'POST /v1/topics/t HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n'],
  ])('is answered with a problem of status %s, %s', async (status, code, sent) => {
    const [head = '', body = ''] = (await exchange(sent)).split('\r\n\r\n');
    expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} \\w`));
    expect(head).toContain('Content-Type: application/problem+json');
    expect(JSON.parse(body)).toMatchObject({ status, code, type: `/errors/${code}`, outcome: 'not_applied' });
    expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
  });

  it('leaves the server answering others', async () => {
    await exchange('\r\n\r\nx\r\n\r\n');
    expect((await fetch(`${tailrace.url}/v1/health`)).status).toBe(200);
  });
});
