import { expect, it } from 'vitest';
import { composeHttp } from '../../../../functions/lambda/http.ts';
import { memoryBroker } from '../../../support/memory-broker.ts';

const ORIGIN = 'https://console.example';

it('leaves CORS headers to the address, of which a browser refuses doubles, and refuses other origins itself', async () => {
  const fetch = composeHttp(memoryBroker(), { tableName: 't', bucketName: 'b', allowedOrigins: [ORIGIN] });
  const get = (origin: string) => fetch(new Request('https://log.example/v1/topics', { headers: { origin } }));
  const allowed = await get(ORIGIN);
  expect(allowed.status).toBe(200);
  expect([...allowed.headers.keys()].filter((name) => name.startsWith('access-control-'))).toEqual([]);
  expect((await get('https://evil.example')).status).toBe(403);
});
