/**
 * Fills the small disk on which the folder given lies, opens it again, makes room and goes on; prints what it found as JSON.
 * Run where nothing else may be on that disk.
 */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { type DataFolder, openDataFolder } from '../../../../shared/storage/file/data-folder.ts';

const mount = process.argv[2]!;
const ballast = join(mount, 'ballast');
const path = join(mount, 'data');
const failures: { store: string; code: string; outcome: string }[] = [];
const stored = { items: new Set<number>(), objects: new Set<number>() };
const refused = { items: new Set<number>(), objects: new Set<number>() };
let next = 0;

let folder = await openDataFolder(path);
await writeFile(ballast, new Uint8Array(24 * 1024 * 1024));

await writeUntil(
  () => failures.some(({ store }) => store === 'items') && failures.some(({ store }) => store === 'objects'),
);
const full = { items: stored.items.size, objects: stored.objects.size };

// A read that shares the drain of a failing write is answered all the same.
const [write, read] = await Promise.allSettled([putItem(next++, 300_000), folder.items.get(itemKey(0))]);
const mixed = { write: write.status, read: read.status };

// What is there can be read even so, after an opening too.
await folder.close();
folder = await openDataFolder(path);
const whileFull = { ...(await check(folder)), tmp: await readdir(join(path, 'tmp')) };

await rm(ballast);
const failuresBefore = failures.length;
const goal = next + 40;
await writeUntil(() => next >= goal);
const failuresAfter = failures.length - failuresBefore;

const before = await check(folder);
await folder.close();
folder = await openDataFolder(path);
const after = await check(folder);
await folder.close();
process.stdout.write(JSON.stringify({ failures, full, mixed, failuresAfter, whileFull, before, after, writes: next }));

async function writeUntil(done: () => boolean): Promise<void> {
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (!done() && next < 5_000) {
        const number = next++;
        await putItem(number, 20_000).catch((error: unknown) => note('items', number, error));
        await putObject(number).catch((error: unknown) => note('objects', number, error));
      }
    }),
  );
}

async function putItem(number: number, length: number): Promise<void> {
  await folder.items.put(itemKey(number), { number, bytes: new Uint8Array(length).fill(number % 251) });
  stored.items.add(number);
}

async function putObject(number: number): Promise<void> {
  await folder.objects.put(objectKey(number), [new Uint8Array(40_000).fill(number % 251)]);
  stored.objects.add(number);
}

function note(store: 'items' | 'objects', number: number, error: unknown): void {
  if (!(error instanceof EventLogError)) throw error;
  failures.push({ store, code: error.code, outcome: error.outcome });
  if (error.outcome === 'not_applied') refused[store].add(number);
}

/** Counts what was acknowledged and is not there, and what was refused and is. */
async function check({ items, objects }: DataFolder): Promise<{ lost: number; invented: number }> {
  let lost = 0;
  let invented = 0;
  for (const number of stored.items) {
    const { attributes } = await items.get(itemKey(number));
    const bytes = attributes?.bytes;
    if (attributes?.number !== number || !(bytes instanceof Uint8Array)) lost++;
    else if (!bytes.every((byte) => byte === number % 251)) lost++;
  }
  for (const number of stored.objects) {
    const bytes = await objects.get(objectKey(number), { start: 0, end: 100_000 });
    if (bytes?.byteLength !== 40_000 || !bytes.every((byte) => byte === number % 251)) lost++;
  }
  for (const number of refused.items) if ((await items.get(itemKey(number))).attributes !== undefined) invented++;
  for (const number of refused.objects) {
    if ((await objects.get(objectKey(number), { start: 0, end: 1 })) !== undefined) invented++;
  }
  return { lost, invented };
}

function itemKey(number: number): { pk: string; sk: string } {
  return { pk: 'p', sk: `sk-${number}` };
}

function objectKey(number: number): string {
  return `hot/${number % 2}/${number}`;
}
