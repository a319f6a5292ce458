import { expect, it } from 'vitest';
import { only } from '../../../../functions/lambda/only.ts';
import { OPERATION_IDS, OPERATIONS, type Operation } from '../../../../shared/http/operation.ts';

const appends = only('append', () => new Response('reached'));

async function reaches(method: string, path: string): Promise<boolean> {
  const response = await appends(new Request(`https://log.example${path}`, { method }));
  if (response.status === 200) return true;
  expect([response.status, await response.json()]).toEqual([404, expect.objectContaining({ code: 'not_found' })]);
  return false;
}

it.each(OPERATION_IDS)('lets %s through if it appends, and only then', async (id) => {
  const { method, path, tag }: Operation = OPERATIONS[id];
  const example = path.replaceAll(/\{\w+\+?\}/g, 'x');
  expect(await reaches(method.toUpperCase(), example)).toBe(tag === 'append');
  expect(await reaches(method.toUpperCase(), `${example}?partition=0`)).toBe(tag === 'append');
});

it('has all that a producer needs', async () => {
  for (const path of ['/v1/topics/orders/records', '/v1/topics/orders', '/v1/records', '/v1/producers'])
    expect(await reaches('POST', path)).toBe(true);
});

it.each([
  ['GET', '/v1/topics/orders'],
  ['PUT', '/v1/topics/orders'],
  ['DELETE', '/v1/topics/orders'],
  ['OPTIONS', '/v1/records'],
  ['POST', '/v1/topics/orders/fetch-plan'],
  ['POST', '/v1/topics/orders/records/'],
  ['POST', '/v1/topics//records'],
  ['POST', '/v1/topics/'],
  ['POST', '//v1/records'],
  ['POST', '/v1/records/../topics/orders/fetch-plan'],
  ['POST', '/'],
])('does not let %s %s through', async (method, path) => {
  expect(await reaches(method, path)).toBe(false);
});
