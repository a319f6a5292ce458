import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installOnce } from '../../localstack/cache.ts';
import { runCommand } from '../../localstack/run-command.ts';

const AGENT = fileURLToPath(new URL('../agents/node/kcat-agent.ts', import.meta.url));
/** kcat and those of its libraries that a small system lacks; the others come with every Debian. */
const PACKAGES = [
  'kcat',
  'librdkafka1',
  'libserdes1',
  'libavro23t64',
  'libavro23',
  'libjansson4',
  'libyajl2',
  'liblz4-1',
];

/**
 * Resolves with the command that runs the agent of kcat: the kcat on the path, else Debian's package, unpacked into the
 * user's cache (2 MB) without installing anything into the system.
 */
export async function installKcatAgent(): Promise<readonly string[]> {
  return [process.execPath, AGENT, ...(await findKcat())];
}

/** The command to run kcat by, with what goes before it. */
async function findKcat(): Promise<readonly string[]> {
  if (
    await runCommand('kcat', ['-V']).then(
      () => true,
      () => false,
    )
  )
    return ['kcat'];
  const folder = await installOnce({ name: 'kcat', recipe: [new URL(import.meta.url)], install: unpack });
  const libraries = join(folder, 'usr', 'lib');
  const paths = (await readdir(libraries)).map((name) => join(libraries, name));
  return ['env', `LD_LIBRARY_PATH=${paths.join(':')}`, join(folder, 'usr', 'bin', 'kcat')];
}

async function unpack(folder: string): Promise<void> {
  const known: string[] = [];
  for (const name of PACKAGES) {
    const policy = await runCommand('apt-cache', ['show', '--no-all-versions', name]).catch(() => '');
    if (policy !== '') known.push(name);
  }
  if (!known.includes('kcat')) {
    throw new Error(
      "kcat is missing. Get it with 'apt-get install kcat' or 'brew install kcat'; if apt-get doesn't know it, " +
        "'apt-get update' comes first.",
    );
  }
  // Each by itself: apt-get puts the files where it is started.
  await runCommand('apt-get', ['download', ...known], { cwd: folder });
  for (const name of (await readdir(folder)).filter((each) => each.endsWith('.deb'))) {
    await runCommand('dpkg-deb', ['-x', join(folder, name), folder]);
  }
  if (!existsSync(join(folder, 'usr', 'bin', 'kcat')))
    throw new Error("Debian's package of kcat holds no usr/bin/kcat.");
}
