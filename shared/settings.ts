import { invalidField } from './log/errors.ts';

/**
 * The environment of a deployed Tailrace, parsed once into plain data. Nothing in it is secret: names, sizes and times.
 * `toEnvironment` is the other way round, for whoever sets up a function.
 */
export interface Settings {
  readonly tableName: string;
  readonly bucketName: string;
  /** Data of one head up to this size goes into the table, beyond it into an object. Default: the broker's, 8 KiB. */
  readonly inlineBytesMax?: number | undefined;
  /** Bytes of records and tail nodes kept in memory. Default: the broker's, 64 MiB. */
  readonly cacheBytesMax?: number | undefined;
  /** After this long without certainty an append fails with the outcome `unknown`. Default: the broker's, 20 s. */
  readonly commitTimeoutMs?: number | undefined;
  /** How long one try of a request to the table may take. Default 1.5 s. */
  readonly itemTimeoutMs?: number | undefined;
  /** How long one try of a request to the bucket may take. Default 10 s. */
  readonly objectTimeoutMs?: number | undefined;
  /** Origins, such as `https://console.example`, whose pages may use the HTTP API. Default none. */
  readonly allowedOrigins?: readonly string[] | undefined;
}

/** Setting -> its variable, with the bounds of those that are numbers. */
const VARIABLES = {
  tableName: { name: 'TAILRACE_TABLE' },
  bucketName: { name: 'TAILRACE_BUCKET' },
  // An item holds 400 KB at most, keys and all.
  inlineBytesMax: { name: 'TAILRACE_INLINE_BYTES_MAX', min: 0, max: 256 * 1024 },
  cacheBytesMax: { name: 'TAILRACE_CACHE_BYTES_MAX', min: 0, max: 8 * 1024 ** 3 },
  commitTimeoutMs: { name: 'TAILRACE_COMMIT_TIMEOUT_MS', min: 100, max: 900_000 },
  itemTimeoutMs: { name: 'TAILRACE_ITEM_TIMEOUT_MS', min: 50, max: 60_000 },
  objectTimeoutMs: { name: 'TAILRACE_OBJECT_TIMEOUT_MS', min: 50, max: 60_000 },
  // Separated by commas, which no origin contains.
  allowedOrigins: { name: 'TAILRACE_ALLOWED_ORIGINS' },
} as const satisfies Record<keyof Settings, Variable>;

interface Variable {
  readonly name: string;
  readonly min?: number;
  readonly max?: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** A variable that is empty counts as absent. @throws EventLogError `invalid_request`, `field` being the variable */
export function parseSettings(environment: Environment): Settings {
  return {
    tableName: requiredText(environment, VARIABLES.tableName),
    bucketName: requiredText(environment, VARIABLES.bucketName),
    inlineBytesMax: wholeNumber(environment, VARIABLES.inlineBytesMax),
    cacheBytesMax: wholeNumber(environment, VARIABLES.cacheBytesMax),
    commitTimeoutMs: wholeNumber(environment, VARIABLES.commitTimeoutMs),
    itemTimeoutMs: wholeNumber(environment, VARIABLES.itemTimeoutMs),
    objectTimeoutMs: wholeNumber(environment, VARIABLES.objectTimeoutMs),
    allowedOrigins: origins(environment, VARIABLES.allowedOrigins),
  };
}

/** The variables that `parseSettings` reads these settings from. */
export function toEnvironment(settings: Settings): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [setting, { name }] of Object.entries(VARIABLES)) {
    const value = settings[setting as keyof Settings];
    if (value !== undefined) environment[name] = String(value);
  }
  return environment;
}

function requiredText(environment: Environment, { name }: Variable): string {
  const value = environment[name];
  if (value === undefined || value === '') throw invalidField(name, `The environment lacks ${name}.`);
  return value;
}

function wholeNumber(environment: Environment, variable: Required<Variable>): number | undefined {
  const { name, min, max } = variable;
  const value = environment[name];
  if (value === undefined || value === '') return undefined;
  const number = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  throw invalidField(name, `${name} takes a whole number from ${min} to ${max}, not '${value}'.`, { min, max });
}

function origins(environment: Environment, { name }: Variable): string[] | undefined {
  const value = environment[name];
  if (value === undefined || value === '') return undefined;
  return value.split(',').map((given) => {
    const origin = given.trim();
    if (/^https?:\/\/[^/\s]+$/.test(origin)) return origin;
    throw invalidField(name, `${name} takes origins such as https://console.example, not '${origin}'.`);
  });
}
