/** Each client with each case, in Vitest; `main.ts` starts it and reads what it notes. */
import { appendFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, inject, test } from 'vitest';
import { CASES } from './cases/cases.ts';
import { World } from './cases/world.ts';
import { Agent } from './clients/agent.ts';
import { UNSUPPORTED } from './clients/unsupported.ts';
import type { Outcome } from './matrix-plan.ts';

const plan = inject('plan');
let reference: Agent;

beforeAll(() => {
  reference = new Agent(plan.reference);
});

afterAll(() => reference.leave());

function note(outcome: Outcome): void {
  appendFileSync(plan.outcomes, `${JSON.stringify(outcome)}\n`);
}

for (const [client, { command, cases, listed }] of Object.entries(plan.clients)) {
  describe(client, () => {
    let world: World;
    beforeAll(() => {
      world = new World(plan.server, command, reference);
    });
    afterEach(() => world.close());
    afterAll(() => world.end());

    for (const { name, needs, timeoutMs, run } of CASES.filter((each) => cases.includes(each.name))) {
      test(
        name,
        async (context) => {
          const reasons: Readonly<Record<string, string>> = UNSUPPORTED[client as keyof typeof UNSUPPORTED] ?? {};
          const unsupported = reasons[name];
          const missing =
            needs !== undefined && plan.server[needs] === undefined ? `the server has no ${needs}` : undefined;
          const reason = unsupported === undefined ? missing : `unsupported by the client: ${unsupported}`;
          if (reason !== undefined) {
            note({ client, name, result: 'unsupported', reason });
            return context.skip(reason);
          }
          try {
            await run(world);
            note({ client, name, result: 'passes' });
          } catch (error) {
            const message = error instanceof Error ? error.message : String(error);
            note({ client, name, result: 'fails', reason: message });
            if (listed.includes(name)) throw error;
            return context.skip(`not listed in passes.json, and fails: ${message}`);
          } finally {
            if (!reference.isAlive) reference = new Agent(plan.reference);
          }
        },
        timeoutMs,
      );
    }
  });
}
