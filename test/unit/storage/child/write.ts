/** Writes to the data folder given until it is killed, and prints the number of each write once it is acknowledged. */
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';

const { items, objects } = await openDataFolder(process.argv[2]!);
let next = 0;
await Promise.all(
  Array.from({ length: 16 }, async () => {
    for (;;) {
      const number = next++;
      const bytes = new Uint8Array(500).fill(number % 251);
      await items.put({ pk: 'p', sk: `sk-${number}` }, { number, bytes });
      await items.update({ pk: 'p', sk: 'count' }, [{ do: 'add', name: 'n', by: 1 }]);
      await objects.put(`o/${number % 3}/${number}`, [bytes]);
      process.stdout.write(`${number}\n`);
    }
  }),
);
