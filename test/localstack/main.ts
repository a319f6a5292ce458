/**
 *     node test/localstack/main.ts [localstack | ministack] [--port 4566] [--install] [--verbose]
 *
 * Runs an emulator until Ctrl-C, or only installs it.
 */
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import type { EmulatorOptions } from './emulator.ts';
import { installLocalStack } from './install-localstack.ts';
import { installMiniStack } from './install-ministack.ts';
import { startLocalStack } from './start-localstack.ts';
import { startMiniStack } from './start-ministack.ts';

const EMULATORS = {
  localstack: { install: installLocalStack, start: startLocalStack },
  ministack: { install: installMiniStack, start: startMiniStack },
};

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { port: { type: 'string' }, install: { type: 'boolean' }, verbose: { type: 'boolean' } },
  });
  const name = positionals[0] ?? 'localstack';
  if (name !== 'localstack' && name !== 'ministack') throw new Error(`No such emulator: ${name}`);
  const { install, start } = EMULATORS[name];
  await install();
  if (values.install) return;
  const options: EmulatorOptions = {
    port: Number(values.port ?? 4566),
    ...(values.verbose ? { log: (line) => console.error(line) } : {}),
  };
  const emulator = await start(options);
  for (const [variable, value] of Object.entries(emulator.environment)) console.log(`export ${variable}=${value}`);
  const stopped = await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), emulator.ended]);
  if (stopped === undefined) throw new Error(`${name} ended by itself`);
  await emulator.stop();
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
