import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTailrace as start } from '../../../shared/local/index.ts';
import { type KafkaOptions, listenForKafka } from '../../../shared/local/kafka.ts';
import { ALL_SCOPES } from '../../../shared/log/scopes.ts';
import type { CompatServer } from './server.ts';

const HOST = '127.0.0.1';
/** The shortest, so that a test in which a member dies does not wait for the default: up to 45 seconds. */
const SHORT_SESSIONS: KafkaOptions = { groupMinSessionTimeoutMs: 3_000, groupConsumerSessionTimeoutMs: 3_000 };

/**
 * Starts an embedded log on the loopback, in a folder that is gone afterwards, with two listeners for Kafka's clients: one
 * asks for nothing, the other for the API key that is made here.
 */
export async function startTailrace(options: KafkaOptions = {}): Promise<CompatServer> {
  const dataFolder = await mkdtemp(join(tmpdir(), 'tailrace-compat-log-'));
  const tailrace = await start({ dataFolder, kafka: { ...SHORT_SESSIONS, ...options } });
  const { broker } = tailrace;
  const stopping = new AbortController();
  const { id, key } = await broker.createApiKey({ name: 'compat', scopes: ALL_SCOPES });
  const sasl = await listenForKafka({
    broker,
    host: HOST,
    options: { ...SHORT_SESSIONS, autoCreateTopics: false },
    access: { keys: true, isLocal: true, jwt: undefined },
    stopping: stopping.signal,
  });
  return {
    bootstrap: String(tailrace.bootstrapServers),
    sasl: { bootstrap: sasl.bootstrapServers, username: id, password: key },
    async stop() {
      stopping.abort();
      sasl.server.cut();
      await sasl.server.finish();
      await tailrace.close();
      await rm(dataFolder, { recursive: true, force: true });
    },
  };
}
