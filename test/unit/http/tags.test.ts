import { describe, expect, it } from 'vitest';
import type { Operation } from '../../../shared/http/operation.ts';
import { OPERATION_IDS, OPERATIONS } from '../../../shared/http/operations.ts';
import { memoryApp } from '../../support/memory-app.ts';

describe('a server of some tags', () => {
  const tags = ['append', 'service'] as const;
  const { call } = memoryApp({ http: { tags } });

  it.each(OPERATION_IDS)('serves %s only if it has one of them', async (id) => {
    const { method, path, tag }: Operation = OPERATIONS[id];
    const example = path.replaceAll(/\{\w+\+?\}/g, 'x');
    const response = await call(method.toUpperCase(), example);
    const { code } = response.status === 404 ? ((await response.json()) as { code: string }) : { code: undefined };
    const isServed = code !== 'not_found' && response.status !== 405;
    expect(isServed).toBe(tags.some((each) => each === tag));
  });

  it.each([
    ['GET', '/v1/topics/orders/tail'],
    ['PUT', '/v1/topics/orders/'],
    ['POST', '/v1/topics/orders/records/'],
    ['POST', '/v1/topics//records'],
    ['POST', '//v1/records'],
    ['POST', '/v1/records/../topics/orders/fetch-plan'],
  ])('says for %s %s where the rest is', async (method, path) => {
    const response = await call(method, path);
    const { code, detail } = (await response.json()) as { code: string; detail: string };
    expect([response.status, code]).toEqual([404, 'not_found']);
    expect(detail).toContain('append, service');
  });

  it('describes what it serves and nothing else', async () => {
    const { paths, tags: described } = (await (await call('GET', '/openapi.json')).json()) as {
      paths: Record<string, Record<string, { tags: string[] }>>;
      tags: { name: string; description: string }[];
    };
    const used = Object.values(paths).flatMap((methods) => Object.values(methods).flatMap((each) => each.tags));
    expect([...new Set(used)].sort()).toEqual(['append', 'service']);
    expect(described.map(({ name }) => name).sort()).toEqual(['append', 'service']);
    expect(described.every(({ description }) => description.length > 0)).toBe(true);
  });
});
