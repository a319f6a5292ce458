import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { memoryApp } from '../support/memory-app.ts';
import { httpSuite } from './http/suite.ts';

httpSuite('The HTTP API in this process', async () => {
  const { app, broker } = memoryApp();
  return {
    fetch: async (path, init) => app.fetch(new Request(`http://localhost${path}`, init)),
    close: () => broker.close(),
  };
});

httpSuite('The HTTP API behind a server of Node', async () => {
  const { app, broker } = memoryApp();
  const server = createAdaptorServer({ fetch: app.fetch, overrideGlobalObjects: false }) as Server;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    fetch: (path, init) => fetch(`http://127.0.0.1:${port}${path}`, init),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await broker.close();
    },
  };
});
