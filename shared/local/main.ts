import { parseArgs } from 'node:util';
import { EventLogError } from '../log/errors.ts';
import { ALL_SCOPES } from '../log/scopes.ts';
import { makeKey } from './make-key.ts';
import { DEFAULT_DATA_FOLDER, startTailrace, type Tailrace } from './start.ts';
import { stopOnSignal } from './stop-on-signal.ts';

/** `npm start`: the log as one local process, until it is told to stop. */

const USAGE = `Usage: npm start -- [options]

  --port N          the port to listen on (default 8080; 0 for any free one)
  --host NAME       the address to listen on (default 127.0.0.1). At any that others reach, requests need keys.
  --keys            ask for keys on 127.0.0.1 as well
  --allow-origin ORIGIN
                    let web pages of this origin use the server, such as http://localhost:5173; can be repeated.
                    With --keys, '*' lets all pages.
  --allow-host NAME answer under this host name too, such as that of a proxy; can be repeated
  --make-key NAME   make an API key with all rights in the data folder, print it, and start nothing
  --data PATH       where records are kept (default ${DEFAULT_DATA_FOLDER})
  --memory          keep everything in memory
  --help            show this
`;
const DEFAULT_PORT = 8080;
const EXIT_USAGE = 2;

interface Options {
  readonly port: number;
  readonly host: string;
  readonly dataFolder: string;
  readonly memory: boolean;
  readonly keys?: true;
  readonly allowedOrigins?: readonly string[];
  readonly allowedHosts?: readonly string[];
  readonly makeKey: string | undefined;
}

async function main(): Promise<void> {
  const options = readArguments();
  if (options === undefined) return;
  if (options.makeKey !== undefined) {
    process.stdout.write(`${await makeKey(options.dataFolder, options.makeKey)}\n`);
    process.stderr.write('This key may do everything, and is shown this once. Revoke it: DELETE /v1/api-keys/{id}.\n');
    return;
  }
  const starting = startTailrace({ ...options, ownProcess: true });
  stopOnSignal(starting, fail);
  const tailrace = await starting;
  process.stdout.write(banner(tailrace, options.memory ? undefined : options.dataFolder));
  await tellOfMissingKeys(tailrace, options.memory);
}

function readArguments(): Options | undefined {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: String(DEFAULT_PORT) },
        host: { type: 'string', default: '127.0.0.1' },
        keys: { type: 'boolean', default: false },
        'allow-origin': { type: 'string', multiple: true },
        'allow-host': { type: 'string', multiple: true },
        'make-key': { type: 'string' },
        data: { type: 'string', default: DEFAULT_DATA_FOLDER },
        memory: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(USAGE);
      return undefined;
    }
    if (values['make-key'] !== undefined && values.memory)
      throw new Error('--make-key makes a key in a data folder; with --memory there is none.');
    return {
      port: /^\d{1,5}$/.test(values.port) ? Number(values.port) : Number.NaN,
      host: values.host,
      dataFolder: values.data,
      memory: values.memory,
      ...(values.keys ? { keys: true } : {}),
      ...(values['allow-origin'] === undefined ? {} : { allowedOrigins: values['allow-origin'] }),
      ...(values['allow-host'] === undefined ? {} : { allowedHosts: values['allow-host'] }),
      makeKey: values['make-key'],
    };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    return undefined;
  }
}

function banner({ url, keys }: Tailrace, dataFolder: string | undefined): string {
  const kept =
    dataFolder === undefined
      ? 'in memory; gone when this stops'
      : `${dataFolder}  (SQLite and files, synced before an append is acknowledged)`;
  const key = keys ? ' -H "authorization: Bearer $TAILRACE_KEY"' : '';
  return `Tailrace is running, all in this process (${process.pid}).

  HTTP API   ${url}/v1   (description: ${url}/openapi.json)
  Records    ${kept}
${keys ? '  Access     with API keys. What is sent is not encrypted: put TLS before it.\n' : ''}
Try it:

  curl -X PUT ${url}/v1/topics/hello${key} -H 'content-type: application/json' -d '{"partitions": 2}'
  curl ${url}/v1/topics/hello/records${key} -H 'content-type: application/json' -d '{"records": [{"key": "you", "value": {"say": "hi"}}]}'
  curl -N '${url}/v1/topics/hello/tail?from=earliest'${key}

Ctrl-C stops it.
`;
}

/** Where keys are needed and none was ever made, nobody gets in. In memory none can be made beforehand, so one is now. */
async function tellOfMissingKeys({ keys, broker }: Tailrace, memory: boolean): Promise<void> {
  if (!keys || (await broker.listApiKeys({ limit: 1 })).items.length > 0) return;
  if (memory) {
    const { key } = await broker.createApiKey({ name: 'first', scopes: ALL_SCOPES });
    process.stdout.write(`\nThis key may do everything until this stops: ${key}\n`);
    return;
  }
  process.stdout.write(
    '\nThere is no key yet, so that nobody gets in. Stop this, and: npm start -- --make-key admin\n',
  );
}

function fail(error: unknown): void {
  process.stderr.write(
    `${error instanceof EventLogError ? error.message : String(error instanceof Error ? error.stack : error)}\n`,
  );
  process.exitCode = 1;
}

main().catch(fail);
