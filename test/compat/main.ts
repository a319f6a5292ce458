/** Runs each client library with each case against a server. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startVitest } from 'vitest/node';
import { PROGRAM_NAMES } from './cases/case.ts';
import { CASES } from './cases/cases.ts';
import { CLIENT_NAMES, CLIENTS, type ClientName, CORE_CLIENTS } from './clients/clients.ts';
import type { Outcome, Plan } from './matrix-plan.ts';
import { startServer } from './server/start-server.ts';

type Passes = Record<string, Record<string, string[]>>;

const PASSES = new URL('./passes.json', import.meta.url);
const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** A case starts several processes, and some of them wait for sessions to end. */
const CASE_MS = 120_000;

const HELP = `npm run test:clients -- [options]
  --server S   kafka, which is started here (default), tailrace, or host:port of a server that runs
  --client C   only this client; can be repeated: ${CLIENT_NAMES.join(', ')}
  --case PART  only the cases whose names have this in them; can be repeated
  --core       only what npm test runs
  --update     add what newly passes to passes.json
Fails when a case that passes.json lists stops passing, and prints what passes without being listed.`;

const options = parseOptions();

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        server: { type: 'string', default: 'kafka' },
        client: { type: 'string', multiple: true },
        case: { type: 'string', multiple: true },
        core: { type: 'boolean', default: false },
        update: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (!values.help) return values;
    say(HELP);
    process.exit();
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${HELP}\n`);
    process.exit(2);
  }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function chosenClients(): readonly ClientName[] {
  const wanted = options.client;
  if (wanted === undefined) return options.core ? CORE_CLIENTS : CLIENT_NAMES;
  for (const name of wanted) {
    if (!CLIENT_NAMES.some((each) => each === name)) {
      throw new Error(`--client is ${name}: give one of ${CLIENT_NAMES.join(', ')}`);
    }
  }
  return wanted as ClientName[];
}

function chosenCases(): readonly string[] {
  const names = CASES.filter(({ isCore }) => !options.core || isCore).map(({ name }) => name);
  const wanted = options.case;
  const chosen = wanted === undefined ? names : names.filter((name) => wanted.some((part) => name.includes(part)));
  if (chosen.length === 0) throw new Error(`--case fits no case; there are ${names.join(', ')}`);
  return chosen;
}

function casesOf(client: ClientName, cases: readonly string[]): readonly string[] {
  const own = PROGRAM_NAMES.find((name) => name === client);
  return CASES.filter((each) => each.of === own && cases.includes(each.name)).map(({ name }) => name);
}

async function installed(clients: readonly ClientName[]): Promise<Map<ClientName, readonly string[]>> {
  const commands = new Map<ClientName, readonly string[]>();
  for (const name of clients) {
    const startedMs = performance.now();
    commands.set(name, await CLIENTS[name]());
    const seconds = (performance.now() - startedMs) / 1_000;
    if (seconds > 1) say(`${name} was installed in ${seconds.toFixed(0)} s`);
  }
  return commands;
}

async function main(): Promise<void> {
  const cases = chosenCases();
  const commands = await installed(chosenClients());
  const reference = await CLIENTS.java();
  const folder = await mkdtemp(join(tmpdir(), 'tailrace-compat-'));
  const server = await startServer(options.server);
  try {
    say(
      `Testing ${[...commands.keys()].join(', ')} with ${cases.length} cases on ${options.server}, ${server.bootstrap}`,
    );
    const passes = JSON.parse(await readFile(PASSES, 'utf8')) as Passes;
    // A server that somebody else runs is held to what Kafka does.
    const list = options.server === 'tailrace' ? 'tailrace' : 'kafka';
    const clients = Object.fromEntries(
      [...commands].map(([name, command]) => [
        name,
        { command, cases: casesOf(name, cases), listed: passes[list]?.[name] ?? [] },
      ]),
    );
    const { ended: _, stop: __, ...plain } = server;
    const outcomes = join(folder, 'outcomes');
    await writeFile(outcomes, '');
    const plan: Plan = {
      server: plain,
      reference,
      outcomes,
      clients,
    };
    await run(plan);
    const found = (await readFile(outcomes, 'utf8')).split('\n').filter((line) => line !== '');
    await report(
      found.map((line) => JSON.parse(line) as Outcome),
      passes,
      list,
    );
  } finally {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(plan: Plan): Promise<void> {
  const vitest = await startVitest('test', [], {
    root: ROOT,
    config: false,
    include: ['test/compat/matrix.ts'],
    watch: false,
    testTimeout: CASE_MS,
    hookTimeout: CASE_MS,
    provide: { plan },
    reporters: ['verbose'],
  });
  await vitest.close();
}

async function report(outcomes: readonly Outcome[], passes: Passes, list: string): Promise<void> {
  const lists = passes[list] ?? {};
  passes[list] = lists;
  say('');
  for (const client of new Set(outcomes.map((outcome) => outcome.client))) {
    const own = outcomes.filter((outcome) => outcome.client === client);
    const of = (result: Outcome['result']): readonly Outcome[] => own.filter((outcome) => outcome.result === result);
    say(
      `${client.padEnd(14)} ${of('passes').length} pass, ${of('fails').length} fail, ` +
        `${of('unsupported').length} are unsupported by the client`,
    );
    for (const { name, reason = '' } of of('fails')) say(`  fails: ${name}: ${reason.split('\n')[0]}`);
    const listed = lists[client] ?? [];
    const unlisted = of('passes').filter(({ name }) => !listed.includes(name));
    for (const { name } of unlisted) say(`  passes, and is not in passes.json: ${name}`);
    lists[client] = [...listed, ...unlisted.map(({ name }) => name)].sort();
  }
  if (options.update) await writeFile(PASSES, `${JSON.stringify(passes, undefined, 2)}\n`);
}

await main();
