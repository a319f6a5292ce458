import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { composeBroker, composeObjects } from '../../../shared/aws/open.ts';
import { systemClock } from '../../../shared/storage/system/clock.ts';
import { systemRandom } from '../../../shared/storage/system/random.ts';
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

it('keeps hot objects in the hot bucket, if there is one, and all others in the bucket', async () => {
  const asked = new Set<string>();
  server.removeAllListeners('request');
  server.on('request', (request, response) => {
    asked.add(`${request.headers.host} ${request.url}`);
    request.resume();
    response.writeHead(403).end();
  });
  const settings = { tableName: 't', bucketName: 'records' };
  const askedFor = async (more: object, key: string): Promise<string> => {
    asked.clear();
    const objects = composeObjects({ ...settings, ...more }, { clock: systemClock, random: systemRandom });
    await codeOf(objects.get(key, { start: 0, end: 1 }));
    return [...asked].join();
  };
  const hot = { hotBucketName: 'hot--use1-az4--x-s3' };
  const [hotKey, segmentKey] = ['hot/2026112607/a', 'segments/t/0/a'];
  expect(await askedFor(hot, hotKey)).toContain('/hot--use1-az4--x-s3//?session=');
  expect(await askedFor(hot, segmentKey)).toContain('/records/segments/t/0/a');
  expect(await askedFor({}, hotKey)).toContain('/records/hot/2026112607/a');
  expect(await askedFor({}, segmentKey)).toContain('/records/segments/t/0/a');
});
