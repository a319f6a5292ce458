import net from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { LocalHttpServer } from '../../../shared/local/http-server.ts';

const servers: LocalHttpServer[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.cut();
});

async function serve(fetch: (request: Request) => Response | Promise<Response>) {
  const server = new LocalHttpServer({ fetch, ownProcess: false });
  servers.push(server);
  const { port } = new URL(await server.listen(0, '127.0.0.1'));
  return { server, port: Number(port) };
}

/** A connection that has sent a request; `text` is all that came back once it is closed. */
function connect(port: number, request = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n') {
  const socket = net.connect(port, '127.0.0.1', () => socket.write(request));
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  socket.on('error', () => {});
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  const text = closed.then(() => Buffer.concat(chunks).toString('latin1'));
  return { socket, text };
}

const once = (socket: net.Socket, event: string): Promise<unknown> =>
  new Promise((resolve) => socket.once(event, resolve));

describe('LocalHttpServer, when it finishes', () => {
  test('sends the whole of an answer that a slow client has not taken yet', async () => {
    const size = 30_000_000;
    const { server, port } = await serve(() => new Response(new Uint8Array(size)));
    const { socket, text } = connect(port);
    await once(socket, 'data');
    socket.pause();
    const finished = server.finish();
    await new Promise((resolve) => setTimeout(resolve, 300));
    socket.resume();
    await finished;
    expect((await text).length).toBeGreaterThan(size);
  });

  test('tells the client of a request under way, and of one that comes in the meantime, to close the connection', async () => {
    let answer = (_: Response): void => {};
    const { server, port } = await serve((request) =>
      request.url.endsWith('/slow') ? new Promise((resolve) => (answer = resolve)) : new Response('quick'),
    );
    const slow = connect(port, 'GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const kept = connect(port);
    await once(kept.socket, 'data');
    const finished = server.finish();
    kept.socket.write('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    const [before = '', after = ''] = (await kept.text).split('quick');
    expect([before.includes('connection: close'), /connection: close/i.test(after)]).toEqual([false, true]);
    answer(new Response('slow'));
    expect(await slow.text).toMatch(/connection: close[\s\S]*slow$/i);
    await finished;
  });

  test('ends idle connections, and those on which only a part of a request came', async () => {
    const { server, port } = await serve(() => new Response('quick'));
    const idle = connect(port);
    await once(idle.socket, 'data');
    const partial = connect(port, 'GET / HTTP/1.1\r\nHo');
    await once(partial.socket, 'connect');
    await server.finish();
    await idle.text;
    expect(await partial.text).toBe('');
  });

  test('still answers those who connect, as long as they come one after the other', async () => {
    const { server, port } = await serve(() => new Response('refused', { status: 503 }));
    const beganMs = performance.now();
    const finished = server.finish();
    while (performance.now() - beganMs < 200) expect(await connect(port).text).toMatch(/503[\s\S]*connection: close/i);
    await finished;
  });

  test('does not wait for those who never stop to connect', async () => {
    const { server, port } = await serve(() => new Response('refused', { status: 503 }));
    let over = false;
    const finished = server.finish().then(() => {
      over = true;
    });
    const beganMs = performance.now();
    while (!over && performance.now() - beganMs < 3_000) await connect(port).text;
    expect(over).toBe(true);
    await finished;
  });

  test('takes no connections afterwards', async () => {
    const { server, port } = await serve(() => new Response('quick'));
    await server.finish();
    const error = await once(connect(port).socket, 'error');
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('waits for a request that hangs until it is cut', async () => {
    const { server, port } = await serve(() => new Promise(() => {}));
    const { text } = connect(port);
    const finished = server.finish();
    const first = await Promise.race([
      finished.then(() => 'finished'),
      new Promise((r) => setTimeout(r, 300, 'waits')),
    ]);
    expect(first).toBe('waits');
    server.cut();
    await finished;
    expect(await text).toBe('');
  });
});

const GET = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n';

describe('LocalHttpServer, when something that is not HTTP comes behind a request', () => {
  const POST = 'POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nab';

  test('answers the request, and then ends the connection', async () => {
    let answer: ((_: Response) => void) | undefined;
    const { port } = await serve((request) =>
      request.method === 'GET' ? new Response('first') : new Promise((resolve) => (answer = resolve)),
    );
    const { socket, text } = connect(port, `${GET}${POST}\u00fc\r\n`);
    await once(socket, 'data');
    await new Promise((resolve) => setTimeout(resolve, 50));
    answer?.(new Response('applied'));
    const answers = (await text).split('HTTP/1.1 ');
    expect(answers).toEqual([
      '',
      expect.stringMatching(/^200[\s\S]*first$/),
      expect.stringMatching(/^200[\s\S]*applied$/),
    ]);
    expect(answers[2]).toMatch(/connection: close/i);
  });

  test('puts nothing into an answer that has begun', async () => {
    const { port } = await serve(
      () =>
        new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(new TextEncoder().encode('begun'));
            },
          }),
        ),
    );
    const { socket, text } = connect(port, GET);
    await once(socket, 'data');
    socket.write('NONSENSE\r\n\r\n');
    expect(await text).toMatch(/begun\r\n$/);
  });

  test('refuses it at once if the request is not whole', async () => {
    const { port } = await serve(async (request) => new Response(await request.text()));
    const chunked = 'POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n';
    expect(await connect(port, chunked).text).toMatch(/^HTTP\/1\.1 400 Bad Request[\s\S]*"outcome":"not_applied"/);
  });
});
