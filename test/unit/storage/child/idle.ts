/** Opens the data folder given, uses it, and comes to its end without closing it. */
import { openDataFolder } from '../../../../shared/storage/file/data-folder.ts';

const { items, objects } = await openDataFolder(process.argv[2]!);
const key = { pk: 'p', sk: 's' };
await Promise.all([items.put(key, { n: 1 }), items.get(key), objects.put('a/b', [new Uint8Array(10)])]);
await items.query({ pk: 'p', limit: 1 });
process.stdout.write('idle\n');
