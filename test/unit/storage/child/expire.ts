/**
 * Writes items that have expired and items that have not, and removes the expired ones at the same time, until it is killed.
 * Prints the number of each item that must stay once it is acknowledged.
 */
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';
import { EXPIRES_AT } from '../../../../shared/storage/key-parts.ts';

const { items } = await openDataFolder(process.argv[2]!);
let next = 0;
const write = async (): Promise<void> => {
  for (;;) {
    const number = next++;
    const kept = { number, ...(number % 2 ? { [EXPIRES_AT]: 1_000_000 } : {}) };
    await items.put({ pk: 'kept', sk: `${number}` }, { ...kept, [EXPIRES_AT]: 1 });
    await items.put({ pk: 'expired', sk: `${number}` }, { [EXPIRES_AT]: 1 });
    await items.put({ pk: 'kept', sk: `${number}` }, kept);
    process.stdout.write(`${number}\n`);
  }
};
const remove = async (): Promise<void> => {
  for (;;) await items.removeExpired(2_000, 10);
};
await Promise.all([remove(), ...Array.from({ length: 16 }, write)]);
