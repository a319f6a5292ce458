import { createServer, type Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { startTailrace } from '../../../shared/local/start.ts';

/**
 * One of the servers of `floor.ts`, in a process of its own: reports its address, and on every message the CPU that it
 * has used.
 */

const ANSWER = '{"partition":0,"offset":123456,"timestamp":1795657759105}';
const HEADERS = { 'Content-Type': 'application/json', 'Request-Id': '0123456789abcdef01234567' };

/** Reads the body, as an append must, and answers at once. */
function answering(request: Request): Promise<Response> {
  return request.arrayBuffer().then(() => new Response(ANSWER, { status: 200, headers: HEADERS }));
}

function bare(): Server {
  return createServer((request, response) => {
    request.on('data', () => {});
    request.on('end', () => {
      response.writeHead(200, { ...HEADERS, 'Content-Length': ANSWER.length });
      response.end(ANSWER);
    });
  });
}

function routed(): Server {
  const app = new Hono();
  app.post('/v1/topics/:topic', (c) => answering(c.req.raw));
  return createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: true }) as Server;
}

async function addressOf(kind: string, folder: string): Promise<string> {
  if (kind === 'memory' || kind === 'files') {
    const { url, broker } = await startTailrace({
      ...(kind === 'memory' ? { memory: true } : { dataFolder: folder }),
      ownProcess: true,
    });
    await broker.putTopic({ name: 'bench' });
    return url;
  }
  const server =
    kind === 'node'
      ? bare()
      : kind === 'adapter'
        ? (createAdaptorServer({ fetch: answering, overrideGlobalObjects: true }) as Server)
        : routed();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`;
}

const [kind = '', folder = ''] = process.argv.slice(2);
process.send?.(await addressOf(kind, folder));
// The main thread's share; SQLite's and the garbage collector's threads are in the whole.
process.on('message', () => process.send?.({ main: process.threadCpuUsage(), all: process.cpuUsage() }));
process.on('disconnect', () => process.exit());
