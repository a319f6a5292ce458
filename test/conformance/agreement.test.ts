import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EventLogError } from '../../shared/log/errors.ts';
import { DynamoItemStore } from '../../shared/storage/dynamodb/item-store.ts';
import { type DataFolder, openDataFolder } from '../../shared/storage/file/data-folder.ts';
import { EXPIRES_AT } from '../../shared/storage/key-parts.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import type {
  Attributes,
  AttributeValue,
  Condition,
  ExpiringItems,
  ItemRange,
  ItemStore,
  Update,
} from '../../shared/storage/ports.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { DynamoTable } from '../support/dynamo-table.ts';
import { stubDynamoClient } from '../support/stub-client.ts';

/** Any sequence of operations has the same answers from every adapter, units and errors included. */

let path: string;
let folder: DataFolder;
beforeAll(async () => {
  path = await mkdtemp(join(tmpdir(), 'tailrace-'));
  folder = await openDataFolder(path);
});
afterAll(async () => {
  await folder.close();
  await rm(path, { recursive: true });
});

type Operation =
  | { readonly kind: 'get' | 'delete'; readonly sk: string; readonly conditions: readonly Condition[] }
  | {
      readonly kind: 'put';
      readonly sk: string;
      readonly attributes: Attributes;
      readonly conditions: readonly Condition[];
    }
  | {
      readonly kind: 'update';
      readonly sk: string;
      readonly updates: readonly Update[];
      readonly conditions: readonly Condition[];
    }
  | { readonly kind: 'query'; readonly range: Omit<ItemRange, 'pk'> }
  | { readonly kind: 'remove_expired'; readonly second: number };

// Few keys, names and values, so that operations meet each other.
const sk = fc.constantFrom('a', 'b', 'ä', '\uff5e', '😀', 'a\0');
const attributeName = fc.constantFrom('n', 'm', 'list', 'other', '__proto__', 'constructor', 'ü', EXPIRES_AT);
const integer = fc.oneof(
  fc.integer({ min: -2, max: 2 }),
  fc.maxSafeInteger(),
  fc.constantFrom(Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER, -0),
);
const someBytes = fc.oneof(
  fc.constantFrom(0, 1, 2).map((value) => new Uint8Array([value])),
  fc.uint8Array({ maxLength: 200 }),
);
const list = fc.array(someBytes, { maxLength: 4 });
const value = fc.oneof(integer, someBytes, list, fc.constantFrom('', 'x'), fc.string({ unit: 'grapheme' }));
const attributes = fc
  .array(fc.tuple(attributeName, value), { maxLength: 5 })
  .map((pairs): Attributes => Object.fromEntries(pairs));
const count = fc.integer({ min: 0, max: 4 });

const condition: fc.Arbitrary<Condition> = fc.oneof(
  fc.constantFrom<Condition>({ if: 'item_exists' }, { if: 'item_absent' }),
  fc.record({ if: fc.constant('equals' as const), name: attributeName, value: fc.oneof(integer, fc.constant('x')) }),
  fc.record({ if: fc.constant('absent' as const), name: attributeName }),
  fc.record({ if: fc.constant('at_most' as const), name: attributeName, value: integer }),
  fc.record({ if: fc.constant('lacks' as const), name: fc.constant('list'), value: someBytes }),
  fc.record({ if: fc.constant('shorter_than' as const), name: fc.constant('list'), length: count }),
);
const conditions: fc.Arbitrary<readonly Condition[]> = fc.oneof(
  fc.constant<readonly Condition[]>([]),
  fc.array(condition, { maxLength: 3 }),
);
const update: fc.Arbitrary<Update> = fc.oneof(
  fc.record({ do: fc.constant('set' as const), name: attributeName, value }),
  fc.record({ do: fc.constant('add' as const), name: fc.constantFrom('n', 'm', '__proto__', EXPIRES_AT), by: integer }),
  fc.record({ do: fc.constant('append' as const), name: fc.constant('list'), values: list }),
  fc.record({ do: fc.constant('remove_first' as const), name: fc.constant('list'), count }),
  fc.record({ do: fc.constant('remove' as const), name: attributeName }),
);
const optionalSk = fc.option(sk, { nil: undefined });
const range = fc
  .record({ from: optionalSk, to: optionalSk, descending: fc.boolean(), limit: fc.integer({ min: 1, max: 8 }) })
  .map(({ from, to, ...rest }) => ({
    ...rest,
    ...(from === undefined ? {} : { from }),
    ...(to === undefined ? {} : { to }),
  }));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ kind: fc.constantFrom('get' as const, 'delete' as const), sk, conditions }),
  fc.record({ kind: fc.constant('put' as const), sk, attributes, conditions }),
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      sk,
      updates: fc.array(update, { maxLength: 3 }),
      conditions,
    }),
  },
  fc.record({ kind: fc.constant('query' as const), range }),
  fc.record({ kind: fc.constant('remove_expired' as const), second: fc.integer({ min: -3, max: 3 }) }),
);

let runs = 0;
const table = new DynamoItemStore({
  client: stubDynamoClient(new DynamoTable().answer),
  tableName: 't',
  clock: systemClock,
  random: systemRandom,
});

test('memory and SQLite agree', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 40 }), fc.boolean(), async (operations, atOnce) => {
      const pk = `run-${runs++}`;
      const expected = await answers(new MemoryItemStore(), pk, operations, atOnce);
      expect(await answers(folder.items, pk, operations, atOnce)).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

// DynamoDB and the others differ on purpose where an attribute changes its type, or a list is shortened that is not there.
const TYPED: Readonly<Record<string, fc.Arbitrary<AttributeValue>>> = {
  n: integer.map((number) => number + 0),
  m: integer.map((number) => number + 0),
  list,
  other: fc.string({ unit: 'grapheme' }),
  ü: someBytes,
  constructor: fc.constantFrom('', 'x'),
};
const typedValue = fc.oneof(
  ...Object.entries(TYPED).map(([name, values]) => values.map((typed) => ({ name, value: typed }))),
);
const typedAttributes = fc
  .array(typedValue, { maxLength: 5 })
  .map((pairs): Attributes => Object.fromEntries(pairs.map(({ name, value: typed }) => [name, typed])));
const typedCondition = condition.filter((each) => {
  if (each.if === 'equals') return (each.name === 'n' || each.name === 'm') === (typeof each.value === 'number');
  return each.if !== 'at_most' || each.name === 'n' || each.name === 'm';
});
const typedConditions = fc.array(typedCondition, { maxLength: 2 });
const typedUpdate: fc.Arbitrary<Update> = fc.oneof(
  typedValue.map(({ name, value: typed }) => ({ do: 'set' as const, name, value: typed })),
  update.filter((each) => each.do !== 'set' && (each.do !== 'add' || each.name !== '__proto__')),
);
const typedOperation: fc.Arbitrary<Exclude<Operation, { kind: 'remove_expired' }>> = fc.oneof(
  fc.record({ kind: fc.constantFrom('get' as const, 'delete' as const), sk, conditions: typedConditions }),
  fc.record({ kind: fc.constant('put' as const), sk, attributes: typedAttributes, conditions: typedConditions }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('update' as const),
      sk,
      updates: fc.array(typedUpdate, { maxLength: 3 }),
      conditions: typedConditions,
    }),
  },
  fc.record({ kind: fc.constant('query' as const), range }),
);

test('memory and DynamoDB agree', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(typedOperation, { maxLength: 30 }), async (operations) => {
      const pk = `run-${runs++}`;
      const memory = new MemoryItemStore();
      for (const each of operations) {
        if (each.kind === 'update' && each.updates.some((one) => one.do === 'remove_first')) {
          const { attributes: before } = await memory.get({ pk, sk: each.sk });
          if (before?.list === undefined) continue;
        }
        const expected = settled(await perform(memory, pk, each).catch(failure));
        expect(settled(await perform(table, pk, each).catch(failure))).toEqual(expected);
      }
    }),
    { numRuns: 200 },
  );
});

/** Without `more`, which DynamoDB may say of a page that ends with the last item. */
function settled(answer: unknown): unknown {
  return typeof answer === 'object' && answer !== null && 'more' in answer ? { ...answer, more: undefined } : answer;
}

async function answers(
  store: ItemStore & ExpiringItems,
  pk: string,
  operations: Operation[],
  atOnce: boolean,
): Promise<unknown[]> {
  const run = (operation: Operation) => {
    if (operation.kind === 'remove_expired') return removeAll(store, operation.second);
    return perform(store, pk, operation).catch(failure);
  };
  if (atOnce) return Promise.all(operations.map(run));
  const results: unknown[] = [];
  for (const operation of operations) results.push(await run(operation));
  return results;
}

/** In one call, since the folder also holds what earlier runs have left. */
async function removeAll(store: ExpiringItems, second: number): Promise<void> {
  const { more } = await store.removeExpired(second * 1_000, 1_000);
  if (more) throw new Error('More items than a step removes have expired.');
}

async function perform(
  store: ItemStore,
  pk: string,
  operation: Exclude<Operation, { kind: 'remove_expired' }>,
): Promise<unknown> {
  switch (operation.kind) {
    case 'get':
      return store.get({ pk, sk: operation.sk });
    case 'delete':
      return store.delete({ pk, sk: operation.sk }, operation.conditions);
    case 'put':
      return store.put({ pk, sk: operation.sk }, operation.attributes, operation.conditions);
    case 'update':
      return store.update({ pk, sk: operation.sk }, operation.updates, operation.conditions);
    case 'query':
      return store.query({ pk, ...operation.range });
  }
}

function failure(error: unknown): unknown {
  if (!(error instanceof EventLogError)) throw error;
  return { code: error.code, outcome: error.outcome, retry: error.retry };
}
