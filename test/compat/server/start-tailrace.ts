import type { CompatServer } from './server.ts';

/** Starts Tailrace's own Kafka gateway on the loopback. */
export async function startTailrace(): Promise<CompatServer> {
  throw new Error('The Kafka gateway is not available in this version: choose --server kafka or --server <host:port>.');
}
