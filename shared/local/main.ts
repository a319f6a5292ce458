import { parseArgs } from 'node:util';
import { EventLogError } from '../log/errors.ts';
import { DEFAULT_DATA_FOLDER, startTailrace, type Tailrace } from './start.ts';

/** `npm start`: the log as one local process, until it is told to stop. */

const USAGE = `Usage: npm start -- [options]

  --port N      the port to listen on (default 8080; 0 for any free one)
  --host NAME   the address to listen on (default 127.0.0.1). There is no authentication.
  --data PATH   where records are kept (default ${DEFAULT_DATA_FOLDER})
  --memory      keep everything in memory
  --help        show this
`;
const DEFAULT_PORT = 8080;
const EXIT_USAGE = 2;

async function main(): Promise<void> {
  const options = readArguments();
  if (options === undefined) return;
  const tailrace = await startTailrace(options);
  process.stdout.write(banner(tailrace.url, options.memory ? undefined : options.dataFolder));
  stopOnSignal(tailrace);
}

function readArguments(): { port: number; host: string; dataFolder: string; memory: boolean } | undefined {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: String(DEFAULT_PORT) },
        host: { type: 'string', default: '127.0.0.1' },
        data: { type: 'string', default: DEFAULT_DATA_FOLDER },
        memory: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (values.help) {
      process.stdout.write(USAGE);
      return undefined;
    }
    const port = /^\d{1,5}$/.test(values.port) ? Number(values.port) : Number.NaN;
    return { port, host: values.host, dataFolder: values.data, memory: values.memory };
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`);
    process.exitCode = EXIT_USAGE;
    return undefined;
  }
}

function banner(url: string, dataFolder: string | undefined): string {
  const kept =
    dataFolder === undefined
      ? 'in memory; gone when this stops'
      : `${dataFolder}  (SQLite and files, synced before an append is acknowledged)`;
  return `Tailrace is running, all in this process (${process.pid}).

  HTTP API   ${url}/v1   (description: ${url}/openapi.json)
  Records    ${kept}

Try it:

  curl -X PUT ${url}/v1/topics/hello -H 'content-type: application/json' -d '{"partitions": 2}'
  curl ${url}/v1/topics/hello/records -H 'content-type: application/json' -d '{"records": [{"key": "you", "value": {"say": "hi"}}]}'
  curl -N '${url}/v1/topics/hello/tail?from=earliest'

Ctrl-C stops it.
`;
}

function stopOnSignal(tailrace: Tailrace): void {
  const stop = (): void => {
    process.stdout.write('Stopping: finishing what was begun.\n');
    tailrace.close().then(
      () => process.stdout.write('Stopped.\n'),
      (error: unknown) => fail(error),
    );
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
}

function fail(error: unknown): void {
  process.stderr.write(
    `${error instanceof EventLogError ? error.message : String(error instanceof Error ? error.stack : error)}\n`,
  );
  process.exitCode = 1;
}

main().catch(fail);
