/** Run where no file may grow beyond 200 KB: writes larger and smaller ones, and prints what became of each as JSON. */
import { EventLogError } from '../../../../shared/log/errors.ts';
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';

const { items, objects, close } = await openDataFolder(process.argv[2]!);
const bytes = (length: number) => new Uint8Array(length);
const putItem = async (sk: string, length: number) => (await items.put({ pk: 'p', sk }, { data: bytes(length) })).ok;
const getItem = async (sk: string) => (await items.get({ pk: 'p', sk })).attributes !== undefined;
const getObject = async (key: string) => (await objects.get(key, { start: 0, end: 1_000_000 }))?.byteLength ?? 'none';

const found = {
  objectBefore: await outcome(objects.put('before', [bytes(100_000)])),
  objectLarge: await outcome(objects.put('large', [bytes(100_000), bytes(100_000), bytes(100_000)])),
  objectAfter: await outcome(objects.put('after', [bytes(100_000)])),
  objects: [await getObject('before'), await getObject('large'), await getObject('after')],
  itemBefore: await outcome(putItem('before', 10_000)),
  itemLarge: await outcome(putItem('large', 380_000)),
  itemAfter: await outcome(putItem('after', 10_000)),
  items: [await getItem('before'), await getItem('large'), await getItem('after')],
};
await close();
process.stdout.write(JSON.stringify(found));

async function outcome(write: Promise<unknown>): Promise<unknown> {
  try {
    return await write;
  } catch (error) {
    if (!(error instanceof EventLogError)) throw error;
    return `${error.code} ${error.outcome}`;
  }
}
