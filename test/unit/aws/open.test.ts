import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { composeBroker } from '../../../shared/aws/open.ts';
import { codeOf } from '../../support/memory-broker.ts';

/** Answers every request with the beginning of a body, and never with its end. */
let server: Server;

beforeEach(async () => {
  server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'application/x-amz-json-1.0', 'content-length': '1000' });
    response.write('{"Item":');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  vi.stubEnv('AWS_ENDPOINT_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv('AWS_REGION', 'us-east-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
});

afterEach(async () => {
  vi.unstubAllEnvs();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

it('waits no longer for the end of an answer than for its beginning', async () => {
  const broker = composeBroker({ tableName: 't', bucketName: 'b', itemTimeoutMs: 100, objectTimeoutMs: 100 });
  expect(await codeOf(broker.describeTopic('t'))).toBe('storage_unavailable');
});
