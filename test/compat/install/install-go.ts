import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { installOnce } from '../../localstack/cache.ts';
import { runCommand } from '../../localstack/run-command.ts';

const SOURCES = new URL('../agents/go/', import.meta.url);
const FILES = [
  'go.mod',
  'go.sum',
  'agent/agent.go',
  'franz/main.go',
  'franz/transact.go',
  'sarama/main.go',
  'sarama/transact.go',
];

/**
 * Builds the agents of the Go clients into the user's cache, unless they are there: 26 MB and one to two minutes, most of
 * which is the compiler's. Resolves with the command that runs one of them.
 */
export async function installGoAgent(name: 'franz' | 'sarama'): Promise<readonly string[]> {
  const folder = await installOnce({
    name: 'kafka-go-agents',
    recipe: FILES.map((file) => new URL(file, SOURCES)),
    install: build,
  });
  return [join(folder, name)];
}

async function build(folder: string): Promise<void> {
  await runCommand('go', ['version']).catch(() => {
    throw new Error("Go 1.26 or newer is missing. Get it with 'brew install go', or your system's package of it.");
  });
  // The compiler looks for a repository around its sources, and ours is none of its business.
  const work = await mkdtemp(join(tmpdir(), 'tailrace-go-'));
  try {
    await cp(fileURLToPath(SOURCES), work, { recursive: true });
    await runCommand('go', ['build', '-mod=readonly', '-trimpath', '-o', `${folder}/`, './franz', './sarama'], {
      cwd: work,
    });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
