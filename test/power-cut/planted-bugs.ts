import type { PlantedBug } from '../simulation/bugs/planted-bug.ts';

const OBJECTS = 'shared/storage/file/object-store.ts';
const SYNCS = 'shared/storage/file/folder-syncs.ts';
const FILES = 'shared/storage/file/folder-files.ts';
const WRITE = 'shared/storage/file/write-file.ts';

/** Ways to lose what was acknowledged, or to show what was not: each is to be found by a few power cuts. */
export const PLANTED_POWER_CUT_BUGS: readonly PlantedBug[] = [
  {
    name: 'file-not-synced',
    why: 'An object is linked to its name while its bytes are still in memory only.',
    edits: [{ file: WRITE, from: '    await file.datasync();\n', to: '' }],
  },
  {
    name: 'file-synced-after-its-link',
    why: 'An object has its name before its bytes are on disk: a cut in between leaves a part of it to be seen.',
    edits: [
      { file: WRITE, from: '    await file.datasync();\n', to: '' },
      {
        file: OBJECTS,
        from: '        await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);\n',
        to: `        const file = await this.#fs.open(path, 'r');
        await file.datasync();
        await file.close();
        await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);
`,
      },
    ],
  },
  {
    name: 'folder-not-synced',
    why: 'The name of an object is not on disk when the put is acknowledged.',
    edits: [
      {
        file: OBJECTS,
        from: 'await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);',
        to: 'await this.#removeTmp(tmp);',
      },
    ],
  },
  {
    name: 'folder-sync-not-waited-for',
    why: 'The put is acknowledged while the sync of its folder is still running.',
    edits: [
      {
        file: OBJECTS,
        from: 'await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);',
        to: 'await Promise.race([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);',
      },
    ],
  },
  {
    name: 'folder-sync-joined-too-late',
    why: 'A put joins a sync of its folder that began before its name was there.',
    edits: [{ file: SYNCS, from: '    return current.next;\n', to: '    return current.running;\n' }],
  },
  {
    name: 'folder-synced-before-the-link',
    why: 'The sync of the folder begins before the name is made.',
    edits: [
      {
        file: OBJECTS,
        from: '        const result = await this.#linkUnlessTaken(tmp, path);\n',
        to: `        const synced = this.#folderSyncs.sync(folder);
        const result = await this.#linkUnlessTaken(tmp, path);
`,
      },
      {
        file: OBJECTS,
        from: 'await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);',
        to: 'await Promise.all([synced, this.#removeTmp(tmp)]);',
      },
    ],
  },
  {
    name: 'existing-object-not-synced',
    why: 'A put that finds its object there is acknowledged before the put that made it has synced the folder.',
    edits: [
      {
        file: OBJECTS,
        from: '        await Promise.all([this.#folderSyncs.sync(folder), this.#removeTmp(tmp)]);\n',
        to: `        if (result === 'created') await this.#folderSyncs.sync(folder);
        await this.#removeTmp(tmp);
`,
      },
    ],
  },
  {
    name: 'new-folder-not-synced-in-its-parent',
    why: 'The folder of a new hour is not on disk itself when its first object is acknowledged.',
    edits: [
      {
        file: OBJECTS,
        from: '    await Promise.all(parents.map((parent) => this.#folderSyncs.sync(parent)));\n',
        to: '',
      },
    ],
  },
  {
    name: 'only-the-last-folder-synced',
    why: 'Of several folders that are new, only the last is synced in its parent.',
    edits: [
      {
        file: OBJECTS,
        from: 'parents.map((parent) => this.#folderSyncs.sync(parent))',
        to: 'parents.slice(0, 1).map((parent) => this.#folderSyncs.sync(parent))',
      },
    ],
  },
  {
    name: 'folder-of-a-killed-process-trusted',
    why: 'A folder that is there already is taken for one that is on disk, though the process that made it was killed.',
    edits: [
      {
        file: OBJECTS,
        from: '    await this.#fs.mkdir(folder, { recursive: true, mode: 0o700 });\n',
        to: '    if ((await this.#fs.mkdir(folder, { recursive: true, mode: 0o700 })) === undefined) return;\n',
      },
    ],
  },
  {
    name: 'put-goes-on-before-its-folder-is-synced',
    why: 'A second put into a new folder does not wait until the first has synced the folders above it.',
    edits: [
      {
        file: OBJECTS,
        from: '    if (known !== undefined) return known;\n',
        to: '    if (known !== undefined) return Promise.resolve();\n',
      },
    ],
  },
  {
    name: 'data-folder-not-synced',
    why: 'The data folder is new, and its own name is never synced.',
    edits: [{ file: FILES, from: '    await syncFoldersAbove(fs, folder);\n', to: '' }],
  },
  {
    name: 'data-folder-of-a-killed-process-trusted',
    why: 'Only the process that made the data folder syncs its name: where it was killed before, nobody does.',
    edits: [
      {
        file: FILES,
        from: `    await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    await syncFoldersAbove(fs, folder);
`,
        to: `    const first = await fs.mkdir(folder, { recursive: true, mode: 0o700 });
    if (first !== undefined) await syncFoldersAbove(fs, folder);
`,
      },
    ],
  },
  {
    name: 'opened-folder-not-synced',
    why: 'The names of the objects folder and of the secret are not synced when a folder is opened.',
    edits: [
      { file: OBJECTS, from: '      await store.#folderSyncs.sync(options.folder);\n', to: '' },
      { file: WRITE, from: '  await new FolderSyncs(fs).sync(dirname(path));\n', to: '' },
    ],
  },
  {
    name: 'secret-renamed-before-its-sync',
    why: 'The secret has its name before its bytes are on disk: after a cut another is drawn, and signed URLs are void.',
    edits: [
      {
        file: WRITE,
        from: '    await writeFile(fs, tmp, (write) => write([content]), mode);\n    await fs.rename(tmp, path);\n',
        to: `    const file = await fs.open(tmp, 'wx', mode);
    await writeAll(file, [content]);
    await fs.rename(tmp, path);
    await file.datasync();
    await file.close();
`,
      },
    ],
  },
  {
    name: 'secret-written-in-place',
    why: 'The secret is written under its own name: a cut leaves half of it, and another is drawn.',
    edits: [
      {
        file: WRITE,
        // biome-ignore lint/suspicious/noTemplateCurlyInString: it is a line of the source.
        from: "  const tmp = join(tmpFolder, `file-${randomBytes(8).toString('hex')}`);\n",
        to: '  const tmp = path;\n  await fs.rm(path, { force: true });\n',
      },
      { file: WRITE, from: '    await fs.rename(tmp, path);\n', to: '' },
    ],
  },
  {
    name: 'object-written-in-place',
    why: 'An object is written under its own name, where it can be seen before it is whole.',
    edits: [
      {
        file: OBJECTS,
        from: '        await writeFile(this.#fs, tmp, fill, 0o600, isSlow ? this.#slowWrites : undefined);\n        await made;\n',
        to: `        await made;
        await writeFile(this.#fs, path, fill, 0o600);
        await writeFile(this.#fs, tmp, fill, 0o600);
`,
      },
    ],
  },
  {
    name: 'temporary-files-among-the-objects',
    why: 'What is being written lies in the folder of the objects, where a key names it.',
    edits: [
      {
        file: OBJECTS,
        from: "    this.#tmp = join(options.folder, 'tmp');",
        to: "    this.#tmp = join(options.folder, 'objects', 'tmp');",
      },
    ],
  },
  {
    name: 'object-renamed-over-another',
    why: 'A rename takes the place of an object that is there.',
    edits: [
      {
        file: OBJECTS,
        from: '      await this.#fs.link(tmp, path);\n',
        to: '      await this.#fs.rename(tmp, path);\n',
      },
    ],
  },
  {
    name: 'empty-objects-swept',
    why: 'What has no bytes is taken for what a crash has left, and removed when the folder is opened.',
    edits: [
      {
        file: OBJECTS,
        from: '      await store.#folderSyncs.sync(options.folder);\n',
        to: `      for (const name of await fs.readdir(store.#objects)) {
        const file = await fs.open(join(store.#objects, name), 'r');
        if ((await file.stat()).size === 0) await fs.rm(join(store.#objects, name), { force: true });
        await file.close();
      }
      await store.#folderSyncs.sync(options.folder);
`,
      },
    ],
  },
  {
    name: 'nothing-swept',
    why: 'What a crash has left in tmp stays there for good.',
    edits: [
      {
        file: OBJECTS,
        from: '      for (const name of await fs.readdir(store.#tmp)) await fs.rm(join(store.#tmp, name), { force: true });\n',
        to: '',
      },
    ],
  },
  {
    name: 'short-write-taken-for-a-whole-one',
    why: 'A write that stops short is not continued.',
    edits: [
      {
        file: WRITE,
        from: '    rest = skipBytes(rest, bytesWritten);\n',
        to: '    rest = rest.slice(bytesWritten === 0 ? 0 : CHUNKS_PER_WRITE_MAX);\n',
      },
    ],
  },
  {
    name: 'short-read-taken-for-a-whole-one',
    why: 'A read that stops short leaves zeros at its end.',
    edits: [
      { file: OBJECTS, from: '    position += bytesRead;\n', to: '    position += Math.max(bytesRead, length);\n' },
    ],
  },
  {
    name: 'failed-sync-ignored',
    why: 'A file whose sync has failed is linked all the same, though the kernel has given up its bytes.',
    edits: [
      { file: WRITE, from: '    await file.datasync();\n', to: '    await file.datasync().catch(() => undefined);\n' },
    ],
  },
  {
    name: 'failed-sync-repeated',
    why: 'A sync that has failed is asked for again, and succeeds, since the kernel tells of a failure only once.',
    edits: [
      {
        file: WRITE,
        from: '    await file.datasync();\n',
        to: '    await file.datasync().catch(() => file.datasync());\n',
      },
    ],
  },
  {
    name: 'failed-folder-remembered',
    why: 'A folder whose sync has failed once fails for good.',
    edits: [{ file: OBJECTS, from: '    made.catch(() => this.#folders.delete(folder));\n', to: '' }],
  },
  {
    name: 'uncertain-link-taken-for-none',
    why: 'A link that failed by an I/O error may be there, and the put says that it is not.',
    edits: [{ file: OBJECTS, from: "        outcome = 'unknown';\n", to: '' }],
  },
];
