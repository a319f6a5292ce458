import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { EventLogError } from '../log/errors.ts';
import { ALL_SCOPES } from '../log/scopes.ts';
import { VERSION } from '../version.ts';
import type { KafkaOptions } from './kafka.ts';
import { makeKey } from './make-key.ts';
import { DEFAULT_DATA_FOLDER, startTailrace, type Tailrace } from './start.ts';
import { stopOnSignal } from './stop-on-signal.ts';
import { weighBuffersWithHeap } from './weigh-buffers.ts';

/** `npm start`, and `npx tailrace` from the package: runs the log as one local process, until a signal stops it. */

/** How the user runs this: the sources in a checkout, or the package. */
const COMMAND = import.meta.url.endsWith('.ts') ? 'npm start --' : 'npx tailrace';
const DEFAULT_PORT = 8080;
const DEFAULT_KAFKA_PORT = 9092;
const USAGE = `Usage: ${COMMAND} [options]

Starts an event log with Kafka's model and an HTTP API in this process.

  --port N          listen on this port (default ${DEFAULT_PORT}; 0 picks a free one)
  --host NAME       listen on this address (default 127.0.0.1). If other machines can reach it, requests need API keys.
  --keys            require API keys on 127.0.0.1 too
  --allow-origin ORIGIN
                    let web pages of this origin use the server, such as http://localhost:5173; can be repeated.
                    With --keys, '*' allows all pages.
  --allow-host NAME answer under this host name too, such as that of a proxy; can be repeated
  --kafka-port N    listen for Kafka's clients on this port (default ${DEFAULT_KAFKA_PORT}, unless it is taken)
  --kafka-advertise HOST[:PORT]
                    tell Kafka's clients to reach the server there, such as under the name in its certificate
  --no-kafka        do not listen for Kafka's clients
  --kafka-tls-cert FILE, --kafka-tls-key FILE
                    encrypt their connections with this certificate and private key (PEM)
  --kafka-cleartext let them send keys over connections that are not encrypted (PLAIN), on any address
  --make-key NAME   create an API key with all rights in the data folder, print it, and exit
  --data PATH       keep records in this folder (default ${DEFAULT_DATA_FOLDER})
  --memory          keep records in memory until the process ends
  --version         print the version, and exit
  --help            print this text, and exit

The package is also a library:

  tailrace/local    startTailrace: the same log inside your program or your tests
  tailrace          openEventLog: the log on S3 and DynamoDB, from your own function or service
  tailrace/cdk      EventLog: a CDK construct that creates the log on AWS

Examples are in README.md and docs/operations.md. The running server describes its API at /openapi.json.
`;
const EXIT_USAGE = 2;

interface Options {
  readonly port: number;
  readonly host: string;
  readonly dataFolder: string;
  readonly memory: boolean;
  readonly keys?: true;
  readonly allowedOrigins?: readonly string[];
  readonly allowedHosts?: readonly string[];
  readonly kafka?: KafkaOptions;
  readonly isKafkaPortChosen: boolean;
  readonly makeKey: string | undefined;
}

async function main(): Promise<void> {
  // Whoever reads the output can end first, such as `head`, or `tee` at Ctrl-C. The log must not end with it.
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {});
  const options = readArguments();
  if (options === undefined) return;
  if (options.makeKey !== undefined) {
    process.stdout.write(`${await makeKey(options.dataFolder, options.makeKey)}\n`);
    process.stderr.write('This key has all rights and is not shown again. To revoke it: DELETE /v1/api-keys/{id}\n');
    return;
  }
  const starting = start(options);
  stopOnSignal(starting, fail);
  const tailrace = await starting;
  process.stdout.write(banner(tailrace, options.memory ? undefined : options.dataFolder));
  await tellOfMissingKeys(tailrace, options);
}

/** A port that was not asked for may be taken, by Kafka itself say: then the log starts without it. */
async function start({ isKafkaPortChosen, kafka, ...options }: Options): Promise<Tailrace> {
  try {
    return await startTailrace({ ...options, ...(kafka === undefined ? {} : { kafka }), ownProcess: true });
  } catch (error) {
    const isTaken = error instanceof EventLogError && error.details.field === 'kafkaPort';
    if (!isTaken || isKafkaPortChosen) throw error;
    return startTailrace({ ...options, ownProcess: true });
  }
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
        'kafka-port': { type: 'string' },
        'kafka-advertise': { type: 'string' },
        'kafka-tls-cert': { type: 'string' },
        'kafka-tls-key': { type: 'string' },
        'kafka-cleartext': { type: 'boolean', default: false },
        'no-kafka': { type: 'boolean', default: false },
        'make-key': { type: 'string' },
        data: { type: 'string', default: DEFAULT_DATA_FOLDER },
        memory: { type: 'boolean', default: false },
        version: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    if (values.help || values.version) {
      process.stdout.write(values.help ? USAGE : `${VERSION}\n`);
      return undefined;
    }
    if (values['make-key'] !== undefined && values.memory)
      throw new Error('--make-key creates a key in a data folder, and --memory has none. Leave out one of them.');
    return {
      port: portOf('--port', values.port),
      host: values.host,
      dataFolder: values.data,
      memory: values.memory,
      ...(values.keys ? { keys: true } : {}),
      ...(values['allow-origin'] === undefined ? {} : { allowedOrigins: values['allow-origin'] }),
      ...(values['allow-host'] === undefined ? {} : { allowedHosts: values['allow-host'] }),
      ...kafkaOf(values),
      makeKey: values['make-key'],
    };
  } catch (error) {
    process.stderr.write(`${argumentProblem(error)}\nTo see all options: ${COMMAND} --help\n`);
    process.exitCode = EXIT_USAGE;
    return undefined;
  }
}

function portOf(option: string, given: string): number {
  if (!/^\d{1,5}$/.test(given) || Number(given) > 65_535)
    throw new Error(`${option} takes a whole number from 0 to 65535, not '${given}'.`);
  return Number(given);
}

/** An address of IPv6 is in brackets. */
function addressOf(option: string, given: string): { readonly host: string; readonly port?: number } {
  const [, inBrackets, name, port] = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::([1-9]\d*))?$/i.exec(given) ?? [];
  const host = inBrackets ?? name;
  if (host === undefined) throw new Error(`${option} takes HOST or HOST:PORT, not '${given}'.`);
  return port === undefined ? { host } : { host, port: portOf(option, port) };
}

interface KafkaArguments {
  readonly 'kafka-port'?: string | undefined;
  readonly 'kafka-advertise'?: string | undefined;
  readonly 'kafka-tls-cert'?: string | undefined;
  readonly 'kafka-tls-key'?: string | undefined;
  readonly 'kafka-cleartext': boolean;
  readonly 'no-kafka': boolean;
}

function kafkaOf({
  'kafka-port': port,
  'kafka-advertise': address,
  'kafka-tls-cert': cert,
  'kafka-tls-key': key,
  'kafka-cleartext': allowCleartextCredentials,
  'no-kafka': isOff,
}: KafkaArguments): Pick<Options, 'kafka' | 'isKafkaPortChosen'> {
  if ((cert === undefined) !== (key === undefined))
    throw new Error('--kafka-tls-cert and --kafka-tls-key belong together. Give both, or none.');
  if (isOff) {
    if (port === undefined && address === undefined && cert === undefined && !allowCleartextCredentials)
      return { isKafkaPortChosen: false };
    throw new Error("--no-kafka leaves no place for options for Kafka's clients. Leave out one of them.");
  }
  const tls = cert === undefined || key === undefined ? {} : { tls: { cert: fileOf(cert), key: fileOf(key) } };
  const advertised = address === undefined ? {} : { advertised: addressOf('--kafka-advertise', address) };
  return {
    kafka: {
      port: portOf('--kafka-port', port ?? String(DEFAULT_KAFKA_PORT)),
      ...advertised,
      ...tls,
      allowCleartextCredentials,
    },
    isKafkaPortChosen: port !== undefined,
  };
}

function fileOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`The file '${path}' can't be read: ${(error as Error).message}`);
  }
}

/** The first sentence of Node's own message says what is wrong; the others are about positional arguments, which it has none of. */
function argumentProblem(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!('code' in error)) return error.message;
  return `${error.message.split(/\n|\. /, 1)[0]?.replace(/\.$/, '')}.`;
}

function banner({ url, keys, bootstrapServers }: Tailrace, dataFolder: string | undefined): string {
  const kept =
    dataFolder === undefined
      ? 'in memory, lost when this process ends'
      : `${dataFolder}  (SQLite and files, synced before an append is acknowledged)`;
  const key = keys ? ' -H "authorization: Bearer $TAILRACE_KEY"' : '';
  return `Tailrace is running in this process (${process.pid}).

  HTTP API   ${url}/v1   (description: ${url}/openapi.json)
  Kafka      ${bootstrapServers ?? `not listening; choose a port that is free with --kafka-port`}
  Records    ${kept}
${keys ? '  Access     with API keys. Connections are not encrypted: put a proxy with TLS in front.\n' : ''}
Try it:

  curl -X PUT ${url}/v1/topics/hello${key} -H 'content-type: application/json' -d '{"partitions": 2}'
  curl ${url}/v1/topics/hello/records${key} -H 'content-type: application/json' -d '{"records": [{"key": "you", "value": {"say": "hi"}}]}'
  curl -N '${url}/v1/topics/hello/tail?from=earliest'${key}
${bootstrapServers === undefined || keys ? '' : kafkaLines(bootstrapServers)}
Ctrl-C stops it.
`;
}

function kafkaLines(bootstrapServers: string): string {
  return `
  echo 'you:hi' | kcat -P -b ${bootstrapServers} -t hello -K :
  kcat -C -b ${bootstrapServers} -t hello -e
  new Kafka({ brokers: ['${bootstrapServers}'] })   // kafkajs
`;
}

/** If keys are required and none exists, says how to create one. With `--memory` that is only possible now. */
async function tellOfMissingKeys({ keys, broker }: Tailrace, { memory, dataFolder }: Options): Promise<void> {
  if (!keys || (await broker.listApiKeys({ limit: 1 })).items.length > 0) return;
  if (memory) {
    const { key } = await broker.createApiKey({ name: 'first', scopes: ALL_SCOPES });
    process.stdout.write(`\nThis key has all rights until the process ends: ${key}\n`);
    return;
  }
  const folder = dataFolder === DEFAULT_DATA_FOLDER ? '' : ` --data ${dataFolder}`;
  process.stdout.write(
    `\nNo API key exists yet, so every request will be rejected. Stop the server and run: ${COMMAND} --make-key admin${folder}\n`,
  );
}

function fail(error: unknown): void {
  process.stderr.write(
    `${error instanceof EventLogError ? error.message : String(error instanceof Error ? error.stack : error)}\n`,
  );
  process.exitCode = 1;
}

weighBuffersWithHeap();
main().catch(fail);
