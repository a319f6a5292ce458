import { describe, expect, it } from 'vitest';
import { type Access, ADMIN, CONSUME, PRODUCE, union, VERIFY } from '../../../infra/constructs/access.ts';
import { createUrlSigner } from '../../../shared/storage/file/url-signer.ts';
import { MemoryObjectStore } from '../../../shared/storage/memory/object-store.ts';
import { guardedStores, listed } from '../../support/guarded-stores.ts';
import { memoryBroker, memoryStores } from '../../support/memory-broker.ts';
import type { SimulatedClock } from '../../support/simulated-clock.ts';
import { seed } from './access-seeds.ts';
import { WORKS, type Work } from './access-works.ts';

describe.each(WORKS)('$name', ({ access, prepare, run }) => {
  it('needs no more than its access', async () => {
    const { refused } = await runGuarded(access, prepare, run);
    expect([...refused]).toEqual([]);
  });
});

it('grants nothing that no operation uses', async () => {
  const used = new Map<Access, Set<string>>();
  for (const { access, prepare, run } of WORKS) {
    const known = used.get(access) ?? new Set();
    used.set(access, known);
    for (const what of (await runGuarded(access, prepare, run)).used) known.add(what);
  }
  for (const [access, what] of used) expect([...what].sort()).toEqual(listed(access));
});

it('lets who may only append read neither records nor what others wrote', async () => {
  for (const forbidden of [
    'GetObject hot',
    'GetObject segment',
    'GetItem inlineBatch',
    'GetItem node',
    'DeleteItem topic',
    'PutItem topic',
  ])
    expect(listed(PRODUCE)).not.toContain(forbidden);
  const { refused } = await runGuarded(PRODUCE, seed, async (broker) => {
    const read = broker.read({ topic: 'orders', partition: 0, from: { offset: 39 } });
    await expect(
      read.then(async ({ batches }) => {
        for await (const _ of batches);
      }),
    ).rejects.toThrow();
  });
  expect([...refused]).toEqual(['GetItem inlineBatch']);
});

it('lets who may only read change nothing', () => {
  expect(listed(CONSUME).filter((what) => !/^(GetItem|Query|GetObject) /.test(what))).toEqual([]);
});

it('lets who verifies topics change nothing', () => {
  expect(listed(VERIFY).filter((what) => !/^(GetItem|Query|GetObject|ListBucket) /.test(what))).toEqual([]);
});

it('lets who administers topics neither read nor append records', () => {
  expect(listed(ADMIN).filter((what) => /Object|inlineBatch|node/.test(what))).toEqual([]);
});

it('joins accesses', () => {
  expect(listed(union(PRODUCE, CONSUME, ADMIN))).toEqual(
    [...new Set([...listed(PRODUCE), ...listed(CONSUME), ...listed(ADMIN)])].sort(),
  );
});

async function runGuarded(access: Access, prepare: Work['prepare'], run: Work['run']) {
  const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl: () => 'http://localhost' });
  const stores = { ...memoryStores(), objects: new MemoryObjectStore({ signer }) };
  const clock: SimulatedClock = stores.clock;
  const before = memoryBroker(stores);
  await clock.run(async () => prepare?.(before, stores));
  const guarded = guardedStores(stores, access);
  await clock.run(() => run(memoryBroker(guarded), guarded));
  return guarded;
}
