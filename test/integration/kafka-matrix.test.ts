import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CASES } from '../compat/cases/cases.ts';
import { World } from '../compat/cases/world.ts';
import { Agent } from '../compat/clients/agent.ts';
import { CLIENTS, CORE_CLIENTS } from '../compat/clients/clients.ts';
import type { CompatServer } from '../compat/server/server.ts';
import { startTailrace } from '../compat/server/start-tailrace.ts';

/**
 * The core of the client matrix, on an embedded log: the Java client and librdkafka, unmodified. They are installed if need
 * be, and where that fails, so does this: nothing is left out. `npm run test:clients` has all clients and cases.
 */

/** With a cold cache: Maven fetches 56 MB. */
const INSTALL_MS = 300_000;
const CASE_MS = 120_000;

/** By client. Each has a log of its own, and a reference of its own, since an agent carries out one request at a time. */
const worlds: World[] = [];
const servers: CompatServer[] = [];
const references: Agent[] = [];

beforeAll(async () => {
  const reference = await CLIENTS.java();
  const commands = await Promise.all(CORE_CLIENTS.map((name) => CLIENTS[name]()));
  for (const command of commands) {
    const server = await startTailrace();
    servers.push(server);
    const agent = new Agent(reference);
    references.push(agent);
    worlds.push(new World(server, command, agent));
  }
}, INSTALL_MS);

afterEach(async () => {
  for (const world of worlds) await world.close();
});

afterAll(async () => {
  await Promise.all(worlds.map((world) => world.end()));
  await Promise.all(references.map((agent) => agent.leave()));
  await Promise.all(servers.map((server) => server.stop()));
});

describe(`a core of the client matrix, by ${CORE_CLIENTS.join(' and ')}`, () => {
  // A case waits more than it works, so all clients are at it at once.
  it.each(CASES.filter(({ isCore }) => isCore))(
    '$name',
    async ({ run }) => {
      const outcomes = await Promise.allSettled(worlds.map(run));
      const failed = outcomes.flatMap((outcome, i) =>
        outcome.status === 'fulfilled' ? [] : [`${CORE_CLIENTS[i]}: ${outcome.reason}`],
      );
      expect(failed).toEqual([]);
    },
    CASE_MS,
  );
});
