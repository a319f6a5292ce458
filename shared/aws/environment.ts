import { checkAllowedOrigins } from '../http/request/cors.ts';
import { invalidField } from '../log/errors.ts';

/**
 * The environment of a deployed Tailrace, parsed once into plain data. Nothing in it is secret: names, sizes, addresses.
 * `toEnvironment` is the other way round, for whoever sets up a function.
 */
export interface Settings {
  readonly tableName: string;
  readonly bucketName: string;
  /** A directory bucket (S3 Express One Zone) for hot objects; all others are in `bucketName`. Default: `bucketName`. */
  readonly hotBucketName?: string | undefined;
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
  /** Origins, such as `https://console.example`, whose pages may use the HTTP API; `*` for all. Default none. */
  readonly allowedOrigins?: readonly string[] | undefined;
  /**
   * How callers of the HTTP API show who they are, to the function itself; any of these will do. Default: they don't; who
   * may call is decided before the function, such as by a Function URL that takes signed requests alone.
   */
  readonly authentication?: readonly Authentication[] | undefined;
  /** Of tokens, with `jwt`: what their `iss` and `aud` must be, and where the issuer's keys are. */
  readonly jwtIssuer?: string | undefined;
  readonly jwtAudience?: string | undefined;
  readonly jwtKeysUrl?: string | undefined;
  /** The claim with the scopes. Default `tailrace`. */
  readonly jwtScopesClaim?: string | undefined;
}

/** `iam`: by a signed request, as AWS tells the function. `api_keys`, `jwt`: by a bearer token. */
export const AUTHENTICATIONS = ['iam', 'api_keys', 'jwt'] as const;
export type Authentication = (typeof AUTHENTICATIONS)[number];

/** Setting -> its variable, with the bounds of those that are numbers. */
const VARIABLES = {
  tableName: { name: 'TAILRACE_TABLE' },
  bucketName: { name: 'TAILRACE_BUCKET' },
  hotBucketName: { name: 'TAILRACE_HOT_BUCKET' },
  // An item holds 400 KB at most, keys and all.
  inlineBytesMax: { name: 'TAILRACE_INLINE_BYTES_MAX', min: 0, max: 256 * 1024 },
  cacheBytesMax: { name: 'TAILRACE_CACHE_BYTES_MAX', min: 0, max: 8 * 1024 ** 3 },
  commitTimeoutMs: { name: 'TAILRACE_COMMIT_TIMEOUT_MS', min: 100, max: 900_000 },
  itemTimeoutMs: { name: 'TAILRACE_ITEM_TIMEOUT_MS', min: 50, max: 60_000 },
  objectTimeoutMs: { name: 'TAILRACE_OBJECT_TIMEOUT_MS', min: 50, max: 60_000 },
  // Separated by commas, which no origin contains.
  allowedOrigins: { name: 'TAILRACE_ALLOWED_ORIGINS' },
  authentication: { name: 'TAILRACE_AUTHENTICATION' },
  jwtIssuer: { name: 'TAILRACE_JWT_ISSUER' },
  jwtAudience: { name: 'TAILRACE_JWT_AUDIENCE' },
  jwtKeysUrl: { name: 'TAILRACE_JWT_KEYS_URL' },
  jwtScopesClaim: { name: 'TAILRACE_JWT_SCOPES_CLAIM' },
} as const satisfies Record<keyof Settings, Variable>;

export interface Variable {
  readonly name: string;
  readonly min?: number;
  readonly max?: number;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/** A variable that is empty counts as absent. @throws EventLogError `invalid_request`, `field` being the variable */
export function parseSettings(environment: Environment): Settings {
  return {
    tableName: requiredText(environment, VARIABLES.tableName),
    bucketName: requiredText(environment, VARIABLES.bucketName),
    hotBucketName: directoryBucket(environment, VARIABLES.hotBucketName),
    inlineBytesMax: wholeNumber(environment, VARIABLES.inlineBytesMax),
    cacheBytesMax: wholeNumber(environment, VARIABLES.cacheBytesMax),
    commitTimeoutMs: wholeNumber(environment, VARIABLES.commitTimeoutMs),
    itemTimeoutMs: wholeNumber(environment, VARIABLES.itemTimeoutMs),
    objectTimeoutMs: wholeNumber(environment, VARIABLES.objectTimeoutMs),
    allowedOrigins: origins(environment, VARIABLES.allowedOrigins),
    ...accessSettings(environment),
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

/** @throws EventLogError `invalid_request` */
export function requiredText(environment: Environment, { name }: Variable): string {
  const value = environment[name];
  if (value === undefined || value === '') throw invalidField(name, `The environment lacks ${name}.`);
  return value;
}

/** By the end of its name the SDK knows a directory bucket, whose requests go to another address. */
function directoryBucket(environment: Environment, { name }: Variable): string | undefined {
  const value = environment[name];
  if (value === undefined || value === '') return undefined;
  if (/^[a-z0-9-]+--[a-z0-9-]+--x-s3$/.test(value)) return value;
  throw invalidField(
    name,
    `${name} takes the name of a directory bucket, which ends with --<zone id>--x-s3, not '${value}'.`,
  );
}

type AuthenticationSettings = Pick<
  Settings,
  'authentication' | 'jwtIssuer' | 'jwtAudience' | 'jwtKeysUrl' | 'jwtScopesClaim'
>;

/** Settings of tokens without `jwt` are refused: they would look as if tokens were asked for. */
function accessSettings(environment: Environment): AuthenticationSettings {
  const authentication = authentications(environment, VARIABLES.authentication);
  const { jwtIssuer, jwtAudience, jwtKeysUrl, jwtScopesClaim } = VARIABLES;
  if (!authentication?.includes('jwt')) {
    const given = [jwtIssuer, jwtAudience, jwtKeysUrl, jwtScopesClaim].find(({ name }) => environment[name]);
    if (given === undefined) return { authentication };
    throw invalidField(given.name, `${given.name} requires ${VARIABLES.authentication.name} to include jwt.`);
  }
  return {
    authentication,
    jwtIssuer: requiredText(environment, jwtIssuer),
    jwtAudience: requiredText(environment, jwtAudience),
    jwtKeysUrl: httpsUrl(environment, jwtKeysUrl),
    jwtScopesClaim: environment[jwtScopesClaim.name] || undefined,
  };
}

function authentications(environment: Environment, { name }: Variable): Authentication[] | undefined {
  const value = environment[name];
  if (value === undefined || value === '') return undefined;
  return value.split(',').map((given) => {
    const known = AUTHENTICATIONS.find((each) => each === given.trim());
    if (known !== undefined) return known;
    throw invalidField(name, `${name} takes ${AUTHENTICATIONS.join(', ')}, separated by commas, not '${given}'.`);
  });
}

/** Whoever changed the keys on their way could sign tokens; to this machine itself there is no way. */
function httpsUrl(environment: Environment, variable: Variable): string {
  const value = requiredText(environment, variable);
  const url = URL.canParse(value) ? new URL(value) : undefined;
  const isLocal = url?.protocol === 'http:' && ['127.0.0.1', 'localhost'].includes(url.hostname);
  if (url?.protocol === 'https:' || isLocal) return value;
  throw invalidField(variable.name, `${variable.name} takes an address that begins with https://.`);
}

/** `undefined` if the variable is absent or empty. @throws EventLogError `invalid_request` */
export function wholeNumber(environment: Environment, variable: Required<Variable>): number | undefined {
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
  const origins = value.split(',').map((origin) => origin.trim());
  // Who may call is decided before the function, which can't tell whether that is everybody.
  checkAllowedOrigins(origins, name, { needCredentials: true });
  return origins;
}
