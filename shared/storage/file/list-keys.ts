/** Lists the objects of a file store: the files below a folder, by their paths. */
import { join } from 'node:path';
import { type FileSystem, isCode } from './file-system.ts';

/**
 * The paths below `objects` that begin with `prefix` and come after `after`, in order, at most `count`. Reads only the folders
 * that can have some of them. Holds the names of one folder on each level, and no more.
 */
export async function listKeys(
  fs: FileSystem,
  objects: string,
  { prefix, after, count }: { readonly prefix: string; readonly after: string; readonly count: number },
): Promise<string[]> {
  const keys: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const path of await pathsIn(fs, objects, folder)) {
      if (keys.length === count) return;
      if (!path.startsWith(prefix)) continue;
      if (!path.endsWith('/')) {
        if (path > after) keys.push(path);
      } else if (path > after || after.startsWith(path)) {
        await walk(path);
      }
    }
  };
  await walk(prefix.slice(0, prefix.lastIndexOf('/') + 1));
  return keys;
}

/** In the order of the keys that they begin: a slash ends the name of a folder, so that `a-b` comes before `a/`. */
async function pathsIn(fs: FileSystem, objects: string, folder: string): Promise<string[]> {
  try {
    const entries = await fs.readdir(join(objects, folder), { withFileTypes: true });
    return entries.map((entry) => `${folder}${entry.name}${entry.isDirectory() ? '/' : ''}`).sort();
  } catch (error) {
    if (isCode(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}
