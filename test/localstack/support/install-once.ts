/**
 * Installs something that takes a moment, and notes each time it had to.
 *
 *     node install-once.ts <root> <recipe> <note>
 */
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { installOnce } from '../cache.ts';

const [root = '', recipe = '', note = ''] = process.argv.slice(2);
const install = async (folder: string): Promise<void> => {
  await appendFile(note, `${process.pid}\n`);
  await writeFile(join(folder, 'first'), 'first');
  await sleep(500);
  await writeFile(join(folder, 'last'), 'last');
};
console.log(await installOnce({ name: 'thing-1', recipe: [pathToFileURL(recipe)], install }, { root }));
