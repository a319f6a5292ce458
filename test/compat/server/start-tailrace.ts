import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTailrace as start } from '../../../shared/local/index.ts';
import type { CompatServer } from './server.ts';

/** Starts an embedded log with its Kafka gateway on the loopback, in a folder that is gone afterwards. */
export async function startTailrace(): Promise<CompatServer> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'tailrace-compat-log-'));
  const tailrace = await start({ dataFolder, kafka: {} });
  return {
    bootstrap: String(tailrace.bootstrapServers),
    async stop() {
      await tailrace.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
