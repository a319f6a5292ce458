import { CLIENT_IMPORTS } from './client-imports.ts';

/** What each folder may import. Paths are relative to the repository. */

interface ImportRule {
  /** A folder (with a slash at its end) or a file. The first rule that matches a file applies. */
  readonly of: string;
  /** Folders, files, packages (with everything in them), or `node:` for all of Node. */
  readonly may: readonly string[];
  readonly not?: readonly string[];
  /** Whether the folder exists: a rule for a future folder must not hide that an existing folder was renamed. */
  readonly exists: boolean;
}

const STORE_HELPERS = ['shared/storage/rules/', 'shared/storage/utf8.ts'];
/** The headers with which AWS answers browsers in place of the server. */
const CORS = 'shared/http/request/cors.ts';
const PORTS = 'shared/storage/ports.ts';
const KEYS = ['keys', 'group-keys', 'transaction-keys', 'key-parts'].map((name) => `shared/storage/${name}.ts`);
const STORE_PORTS = [PORTS, ...KEYS];
export const AWS = ['shared/storage/s3/', 'shared/storage/dynamodb/', 'shared/storage/aws-errors.ts', '@aws-sdk'];
const AWS_ADAPTER = [
  'shared/log/',
  ...STORE_PORTS,
  ...STORE_HELPERS,
  'shared/storage/aws-errors.ts',
  '@aws-sdk',
  '@smithy',
  'node:',
];
/** Imports that are allowed in every folder of the log. */
const LOG_ROOT = ['bytes', 'errors', 'limits', 'scopes', 'time'].map((name) => `shared/log/${name}.ts`);
/** Imports that are allowed in every folder of the broker. */
const BROKER_ROOT = [
  'shared/log/',
  ...STORE_PORTS,
  'shared/broker/context.ts',
  'shared/broker/page.ts',
  'shared/broker/retry.ts',
  'shared/broker/settings.ts',
  'shared/broker/usage/',
  'shared/broker/memory/',
  'node:crypto',
];
/** Imports of the broker's folders that work on what is stored. */
const STORED_LOG = [
  'shared/broker/segments/',
  'shared/broker/data/',
  'shared/broker/heads/',
  'shared/broker/topics/',
  ...BROKER_ROOT,
];
const TOPIC = 'shared/log/topic/topic.ts';
const PATTERNS = ['re2js', 'lru-cache'];
/** Imports that are allowed in every area of the HTTP API, in addition to the area itself. */
const HTTP_ROOT = [
  'shared/access/',
  'shared/http/contract.ts',
  'shared/http/handler.ts',
  'shared/http/operation.ts',
  'shared/http/request/',
  'shared/http/answer/',
  'shared/http/records/',
  'shared/broker/',
  'shared/log/',
  'shared/storage/ports.ts',
  'hono',
  'zod',
];
/**
 * Dependencies point inwards. Within the log, the broker and the HTTP API a folder imports only the folders below it, and
 * none beside it.
 */
export const RULES: readonly ImportRule[] = [
  {
    of: 'shared/log/batch/',
    may: ['shared/log/batch/', ...LOG_ROOT, 'crc-32', 'lz4js', 'snappyjs', 'node:zlib'],
    exists: true,
  },
  { of: 'shared/log/head/', may: ['shared/log/head/', 'shared/log/batch/', ...LOG_ROOT], exists: true },
  {
    of: 'shared/log/topic/',
    may: ['shared/log/topic/', 'shared/log/batch/', 'shared/log/head/head-append.ts', ...LOG_ROOT],
    exists: true,
  },
  {
    of: 'shared/log/segment/',
    may: [
      // Compaction knows keys by their hashes; hashing needs neither a clock nor chance.
      'node:crypto',
      'shared/log/segment/',
      'shared/log/batch/',
      'shared/log/head/head.ts',
      'shared/log/topic/topic-config.ts',
      ...LOG_ROOT,
    ],
    exists: true,
  },
  { of: 'shared/log/group/', may: ['shared/log/group/', 'shared/log/batch/', TOPIC, ...LOG_ROOT], exists: true },
  { of: 'shared/log/transaction/', may: ['shared/log/transaction/', ...LOG_ROOT], exists: true },
  { of: 'shared/log/', may: LOG_ROOT, exists: true },
  { of: 'shared/storage/ports.ts', may: ['shared/log/'], exists: true },
  ...KEYS.map((of) => ({ of, may: ['shared/log/', PORTS, ...KEYS], exists: true })),
  { of: 'shared/storage/around-stores.ts', may: ['shared/storage/ports.ts'], exists: true },
  { of: 'shared/storage/aws-errors.ts', may: ['shared/log/', ...STORE_PORTS, '@aws-sdk', '@smithy'], exists: true },
  {
    of: 'shared/storage/memory/',
    may: [
      'shared/log/',
      ...STORE_PORTS,
      ...STORE_HELPERS,
      'shared/storage/memory/',
      'shared/storage/file/url-signer.ts',
    ],
    exists: true,
  },
  {
    of: 'shared/storage/file/',
    may: ['shared/log/', ...STORE_PORTS, ...STORE_HELPERS, 'shared/storage/file/', 'node:'],
    exists: true,
  },
  { of: 'shared/storage/s3/', may: ['shared/storage/s3/', ...AWS_ADAPTER], exists: true },
  { of: 'shared/storage/dynamodb/', may: ['shared/storage/dynamodb/', ...AWS_ADAPTER], exists: true },
  { of: 'shared/storage/system/', may: [...STORE_PORTS, 'node:crypto'], exists: true },
  { of: 'shared/storage/', may: ['shared/log/', ...STORE_PORTS, ...STORE_HELPERS], exists: true },
  {
    of: 'shared/broker/usage/',
    may: ['shared/broker/usage/', 'shared/log/', 'shared/storage/around-stores.ts', ...STORE_PORTS],
    exists: true,
  },
  {
    of: 'shared/broker/memory/',
    may: ['shared/broker/memory/', 'shared/broker/usage/', 'shared/log/', ...STORE_PORTS, 'lru-cache'],
    exists: true,
  },
  { of: 'shared/broker/heads/', may: ['shared/broker/heads/', ...BROKER_ROOT], exists: true },
  { of: 'shared/broker/data/', may: ['shared/broker/data/', 'shared/broker/heads/', ...BROKER_ROOT], exists: true },
  {
    of: 'shared/broker/topics/',
    may: ['shared/broker/topics/', 'shared/broker/segments/', 'shared/broker/heads/', ...BROKER_ROOT],
    exists: true,
  },
  {
    of: 'shared/broker/append/',
    may: [
      'shared/broker/append/',
      'shared/broker/data/',
      'shared/broker/heads/',
      'shared/broker/topics/',
      ...BROKER_ROOT,
    ],
    exists: true,
  },
  {
    of: 'shared/broker/read/',
    may: ['shared/broker/read/', ...STORED_LOG],
    exists: true,
  },
  {
    of: 'shared/broker/segments/',
    may: ['shared/broker/segments/', 'shared/broker/heads/', ...BROKER_ROOT],
    exists: true,
  },
  ...['jobs', 'verify'].map((room) => ({
    of: `shared/broker/${room}/`,
    may: [`shared/broker/${room}/`, ...STORED_LOG],
    exists: true,
  })),
  {
    of: 'shared/broker/groups/',
    may: ['shared/broker/groups/', 'shared/broker/read/', 'shared/broker/jobs/job-run.ts', ...STORED_LOG, ...PATTERNS],
    exists: true,
  },
  {
    of: 'shared/broker/transactions/',
    may: [
      'shared/broker/transactions/',
      'shared/broker/append/',
      'shared/broker/groups/',
      'shared/broker/read/',
      'shared/broker/jobs/job-run.ts',
      ...STORED_LOG,
    ],
    exists: true,
  },
  { of: 'shared/broker/access/', may: ['shared/broker/access/', ...BROKER_ROOT, 'node:util'], exists: true },
  { of: 'shared/broker/gateways/', may: ['shared/broker/gateways/', ...BROKER_ROOT], exists: true },
  { of: 'shared/broker/broker.ts', may: ['shared/broker/', 'shared/storage/ports.ts'], exists: true },
  { of: 'shared/broker/context.ts', may: ['shared/broker/', 'shared/storage/ports.ts'], exists: true },
  { of: 'shared/broker/', may: BROKER_ROOT, exists: true },
  // Who callers are and what they may do, for every protocol alike.
  { of: 'shared/access/', may: ['shared/access/', 'shared/broker/', 'shared/log/', PORTS, 'jose'], exists: true },
  { of: CORS, may: ['shared/log/'], exists: true },
  ...['topics', 'append', 'read', 'access', 'service'].map((area) => ({
    of: `shared/http/${area}/`,
    may: [...HTTP_ROOT, `shared/http/${area}/`],
    exists: true,
  })),
  { of: 'shared/http/', may: [...HTTP_ROOT, 'shared/http/', 'node:zlib', 'node:util'], exists: true },
  { of: 'shared/version.ts', may: [], exists: true },
  { of: 'shared/kafka/protocol/', may: ['shared/kafka/protocol/', 'shared/log/bytes.ts'], exists: true },
  {
    of: 'shared/kafka/',
    may: [
      'shared/kafka/',
      'shared/access/',
      'shared/broker/',
      'shared/log/',
      PORTS,
      'node:net',
      'node:tls',
      'node:crypto',
    ],
    exists: true,
  },
  { of: 'shared/client/', may: [...CLIENT_IMPORTS, ...LOG_ROOT], exists: true },
  { of: 'shared/console/', may: ['shared/console/', 'shared/client/'], exists: false },
  {
    of: 'shared/local/',
    may: ['shared/', 'node:', '@hono/node-server'],
    not: [...AWS, 'shared/aws/'],
    exists: true,
  },
  { of: 'shared/cli/', may: ['shared/', 'node:'], not: [...AWS, 'shared/aws/'], exists: true },
  { of: 'shared/aws/environment.ts', may: ['shared/log/', CORS], exists: true },
  {
    of: 'shared/aws/',
    may: ['shared/', '@aws-sdk'],
    not: ['shared/local/', 'shared/cli/', 'shared/console/'],
    exists: true,
  },
  { of: 'functions/', may: ['functions/', 'shared/', 'node:'], exists: true },
  // Permissions and lifetimes refer to the names of the table's keys and of the bucket's folders.
  {
    of: 'infra/',
    may: [
      'infra/',
      'shared/aws/environment.ts',
      'shared/aws/gateway-environment.ts',
      'shared/aws/sdk-packages.ts',
      CORS,
      ...KEYS,
      'aws-cdk-lib',
      'constructs',
      'esbuild',
      '@aws-sdk',
      'node:',
    ],
    exists: true,
  },
];
