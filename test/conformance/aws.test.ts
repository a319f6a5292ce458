import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SDK_PACKAGES } from '../../shared/aws/sdk-packages.ts';
import { Broker } from '../../shared/broker/broker.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import type { Emulator } from '../localstack/emulator.ts';
import { EMULATOR_NAME, startChosenEmulator } from '../localstack/start-emulator.ts';
import { type AwsStores, makeAwsStores } from '../support/aws-stores.ts';
import { docExamples } from '../support/doc-examples.ts';
import { packPackage } from '../support/packed-package.ts';
import { itemStoreSuite } from './item-store-suite.ts';
import { objectStoreSuite } from './object-store-suite.ts';

/** The suites of the storage over the AWS adapters, on an emulator; and the requests of the broker, counted by the SDK. */

let emulator: Emulator;

beforeAll(async () => {
  emulator = await startChosenEmulator();
}, 300_000);

afterAll(async () => {
  await emulator?.stop();
}, 60_000);

async function makeStores(): Promise<AwsStores> {
  return makeAwsStores(emulator.endpoint);
}

objectStoreSuite(`S3ObjectStore on ${EMULATOR_NAME}`, async () => {
  const stores = await makeStores();
  return { store: stores.objects, close: async () => stores.close() };
});

/** What the emulator does otherwise than DynamoDB; LocalStack's DynamoDB Local passes all. */
const MINISTACK_GAPS = [
  {
    reason: 'MiniStack appends to what is no list',
    tests: ['refuses an update of an attribute of another type and changes nothing'],
  },
  {
    reason: 'MiniStack neither limits nor measures the size of items',
    tests: [
      'holds 400 KB in an item, its key and names counted, and refuses more',
      'bills reads by 4 KB and writes by 1 KB of the larger item',
      'ends a page at about 1 MB',
    ],
  },
];

itemStoreSuite(
  `DynamoItemStore on ${EMULATOR_NAME}`,
  async () => {
    const stores = await makeStores();
    return { store: stores.items, close: async () => stores.close() };
  },
  { skip: EMULATOR_NAME === 'MiniStack' ? MINISTACK_GAPS : [] },
);

describe(`Broker on ${EMULATOR_NAME}`, () => {
  test('makes the requests of the design, as the SDK sends them', async () => {
    const stores = await makeStores();
    const broker = new Broker({
      ...stores,
      clock: systemClock,
      random: systemRandom,
      settings: { headCacheMs: 60_000, topicCacheMs: 60_000 },
    });
    const sent = (): Record<string, number> => Object.fromEntries([...stores.sent].sort());
    const append = (bytes: number, partition: number): Promise<unknown> =>
      broker.appendRecords({
        topic: 't',
        records: [{ key: null, value: new Uint8Array(bytes), headers: [], partition }],
      });
    await broker.putTopic({ name: 't', partitions: 16 });
    await append(100, 0);
    await broker.idle();
    stores.sent.clear();

    for (let i = 0; i < 15; i++) await append(100, i);
    await broker.idle();
    expect(sent()).toEqual({ PutItemCommand: 15 + 2, UpdateItemCommand: 15 + 2 });

    stores.sent.clear();
    await append(50_000, 3);
    expect(sent()).toEqual({ PutObjectCommand: 1, UpdateItemCommand: 1 });

    await broker.idle();
    stores.sent.clear();
    const end = (await broker.describePartitions('t'))[3]?.highWatermark ?? 0;
    // The head and its segment list.
    expect(sent()).toEqual({ GetItemCommand: 2 });
    stores.sent.clear();
    const read = await broker.read({ topic: 't', partition: 3, from: { offset: end - 1 } });
    for await (const batch of read.batches) expect(batch.endOffset).toBe(end);
    expect(sent()).toEqual({ GetItemCommand: 1, GetObjectCommand: 1 });
    stores.sent.clear();
    await broker.read({ topic: 't', partition: 3, from: { offset: end } });
    expect(sent()).toEqual({ GetItemCommand: 1 });
    stores.close();
  });
});

describe(`The direct mode on ${EMULATOR_NAME}`, () => {
  test('does what the examples of the docs say, from the packed package', async () => {
    const examples = docExamples().filter(({ entry }) => entry === 'tailrace');
    const stores = await makeStores();
    const packed = await packPackage();
    try {
      const project = await packed.install(SDK_PACKAGES);
      const environment = { ...emulator.environment, TAILRACE_TABLE: stores.name, TAILRACE_BUCKET: stores.name };
      const printed: string[] = [];
      for (const { code } of examples) {
        await project.write('example.mts', code);
        printed.push(await project.node(['example.mts'], environment));
      }
      expect(printed).toEqual([
        expect.stringMatching(/^[0-3] 0 \{"total": 9\.9\}\n$/),
        expect.stringMatching(/^tlr_[0-9a-f]{16}_[A-Za-z0-9_-]{43}\n$/),
      ]);
    } finally {
      await packed.close();
      stores.close();
    }
  }, 120_000);
});
