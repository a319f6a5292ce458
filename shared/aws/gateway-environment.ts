import { MECHANISMS, type Mechanism, mechanismProblem, offeredMechanisms } from '../kafka/access/mechanism.ts';
import { type TlsSettings, tlsProblem } from '../kafka/tls.ts';
import { invalidField } from '../log/errors.ts';
import { PARTITIONS_PER_TOPIC_MAX } from '../log/limits.ts';
import { type Environment, requiredText, type Settings, type Variable, wholeNumber } from './environment.ts';

/** The environment of a Kafka gateway, in addition to that of every deployed Tailrace (`environment.ts`). */
export interface GatewayEnvironment {
  /** The address to listen on. */
  readonly host: string;
  readonly port: number;
  /** What clients connect to. `undefined`: the address of the task on ECS, which the gateway asks ECS for. */
  readonly advertisedHost: string | undefined;
  readonly advertisedPort: number;
  readonly tls: TlsMode;
  readonly mechanisms: readonly Mechanism[];
  readonly autoCreateTopics: boolean;
  readonly partitionsDefault: number;
  /** Appends wait this long for others, also of other connections, to share a commit. */
  readonly lingerMs: number;
  /** From the signal to the end of the process, at most. */
  readonly drainMs: number;
  readonly healthPort: number;
}

/**
 * Where the encryption of connections ends. `load_balancer`: before this process, on a way that nobody else can read.
 * `none`: nowhere.
 */
export type TlsMode =
  | { readonly type: 'none' }
  | { readonly type: 'load_balancer' }
  | { readonly type: 'gateway'; readonly tls: TlsSettings };

/** ECS kills a task 120 s after its signal at the latest, and the process needs a moment to end. */
export const DRAIN_MS_MAX = 110_000;

const PORT_MAX = 65_535;

export const GATEWAY_DEFAULTS = {
  host: '0.0.0.0',
  port: 9_092,
  healthPort: 8_080,
  partitionsDefault: 1,
  // A commit takes longer than that, and all clients of a gateway share one.
  lingerMs: 10,
  // An append is certain after 20 s at most.
  drainMs: 30_000,
} as const;

export const GATEWAY_VARIABLES = {
  host: { name: 'TAILRACE_KAFKA_HOST' },
  port: { name: 'TAILRACE_KAFKA_PORT', min: 0, max: PORT_MAX },
  advertisedHost: { name: 'TAILRACE_KAFKA_ADVERTISED_HOST' },
  advertisedPort: { name: 'TAILRACE_KAFKA_ADVERTISED_PORT', min: 1, max: PORT_MAX },
  tls: { name: 'TAILRACE_KAFKA_TLS' },
  tlsCert: { name: 'TAILRACE_KAFKA_TLS_CERT' },
  tlsKey: { name: 'TAILRACE_KAFKA_TLS_KEY' },
  mechanisms: { name: 'TAILRACE_KAFKA_MECHANISMS' },
  autoCreateTopics: { name: 'TAILRACE_KAFKA_AUTO_CREATE_TOPICS' },
  partitionsDefault: { name: 'TAILRACE_KAFKA_PARTITIONS_DEFAULT', min: 1, max: PARTITIONS_PER_TOPIC_MAX },
  lingerMs: { name: 'TAILRACE_KAFKA_LINGER_MS', min: 0, max: 1_000 },
  drainMs: { name: 'TAILRACE_KAFKA_DRAIN_MS', min: 1_000, max: DRAIN_MS_MAX },
  healthPort: { name: 'TAILRACE_KAFKA_HEALTH_PORT', min: 0, max: PORT_MAX },
} as const satisfies Record<string, Variable>;

/** The variables of settings that are no secrets, for who sets up a container. */
export function toGatewayVariables(
  settings: Partial<Readonly<Record<keyof typeof GATEWAY_VARIABLES, string | number | boolean | undefined>>>,
): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [setting, { name }] of Object.entries(GATEWAY_VARIABLES)) {
    const value = settings[setting as keyof typeof GATEWAY_VARIABLES];
    if (value !== undefined) variables[name] = String(value);
  }
  return variables;
}

const TLS_TYPES = ['none', 'load_balancer', 'gateway'] as const;

/**
 * A variable that is empty counts as absent. `settings` are what `parseSettings` makes of the same environment.
 * @throws EventLogError `invalid_request`, `field` being the variable. No message repeats a certificate or a key.
 */
export function parseGatewayEnvironment(environment: Environment, settings: Settings): GatewayEnvironment {
  checkAuthentication(settings);
  const tls = tlsMode(environment);
  const port = wholeNumber(environment, GATEWAY_VARIABLES.port) ?? GATEWAY_DEFAULTS.port;
  const healthPort = wholeNumber(environment, GATEWAY_VARIABLES.healthPort) ?? GATEWAY_DEFAULTS.healthPort;
  if (port === healthPort && port !== 0) {
    const { name } = GATEWAY_VARIABLES.healthPort;
    throw invalidField(name, `${name} must not be the port of Kafka's clients, ${port}.`);
  }
  return {
    host: environment[GATEWAY_VARIABLES.host.name] || GATEWAY_DEFAULTS.host,
    port,
    advertisedHost: hostName(environment),
    advertisedPort: wholeNumber(environment, GATEWAY_VARIABLES.advertisedPort) ?? port,
    tls,
    mechanisms: mechanisms(environment, { isSafe: tls.type !== 'none', hasTokens: settings.jwtIssuer !== undefined }),
    autoCreateTopics: flag(environment, GATEWAY_VARIABLES.autoCreateTopics, true),
    partitionsDefault:
      wholeNumber(environment, GATEWAY_VARIABLES.partitionsDefault) ?? GATEWAY_DEFAULTS.partitionsDefault,
    lingerMs: wholeNumber(environment, GATEWAY_VARIABLES.lingerMs) ?? GATEWAY_DEFAULTS.lingerMs,
    drainMs: wholeNumber(environment, GATEWAY_VARIABLES.drainMs) ?? GATEWAY_DEFAULTS.drainMs,
    healthPort,
  };
}

/** A network reaches the gateway, so callers always show who they are. Kafka's protocol has no signed requests. */
function checkAuthentication({ authentication = ['api_keys'] }: Settings): void {
  const name = 'TAILRACE_AUTHENTICATION';
  if (authentication.includes('iam') || !authentication.includes('api_keys'))
    throw invalidField(name, `${name} of a Kafka gateway takes api_keys, or api_keys,jwt, not '${authentication}'.`);
}

function tlsMode(environment: Environment): TlsMode {
  const { tls, tlsCert, tlsKey } = GATEWAY_VARIABLES;
  // Nobody should listen without encryption because a variable was forgotten.
  const given = requiredText(environment, tls);
  const type = TLS_TYPES.find((each) => each === given);
  if (type === undefined) throw invalidField(tls.name, `${tls.name} takes ${TLS_TYPES.join(', ')}, not '${given}'.`);
  if (type === 'gateway') {
    const pem = { cert: requiredText(environment, tlsCert), key: requiredText(environment, tlsKey) };
    const problem = tlsProblem(pem);
    if (problem === undefined) return { type, tls: pem };
    throw invalidField(
      tlsCert.name,
      `${tlsCert.name} and ${tlsKey.name} must be PEM, and belong together: ${problem}.`,
    );
  }
  const unused = [tlsCert, tlsKey].find(({ name }) => environment[name]);
  if (unused === undefined) return { type };
  throw invalidField(unused.name, `${unused.name} requires ${tls.name} to be gateway.`);
}

function mechanisms(
  environment: Environment,
  safety: { readonly isSafe: boolean; readonly hasTokens: boolean },
): readonly Mechanism[] {
  const { name } = GATEWAY_VARIABLES.mechanisms;
  const value = environment[name];
  if (value === undefined || value === '') return offeredMechanisms(safety);
  const wanted = value.split(',').map((each) => each.trim());
  for (const each of wanted) {
    const problem = mechanismProblem(each, safety);
    if (problem !== undefined) throw invalidField(name, problemText(each)[problem]);
  }
  return offeredMechanisms(safety, wanted as Mechanism[]);
}

function problemText(mechanism: string) {
  const { mechanisms, tls } = GATEWAY_VARIABLES;
  return {
    unknown: `${mechanisms.name} takes ${MECHANISMS.join(', ')}, separated by commas, not '${mechanism}'.`,
    no_issuer: `${mechanisms.name} includes OAUTHBEARER, which requires TAILRACE_AUTHENTICATION to include jwt.`,
    not_encrypted: `${mechanisms.name} includes ${mechanism}, which sends secrets as they are, and ${tls.name} is none. Use SCRAM-SHA-512, or encrypt the connections.`,
  };
}

/** Only what DNS or an address can be: clients would otherwise be sent nowhere, and say only that nobody answers. */
function hostName(environment: Environment): string | undefined {
  const { name } = GATEWAY_VARIABLES.advertisedHost;
  const value = environment[name];
  if (value === undefined || value === '') return undefined;
  if (value.length <= HOST_LENGTH_MAX && /^[\w.:-]+$/.test(value) && !/^[\w.-]+:\d+$/.test(value)) return value;
  throw invalidField(
    name,
    `${name} takes a host name or an address of at most ${HOST_LENGTH_MAX} characters without a port, not '${value}'.`,
    { max: HOST_LENGTH_MAX },
  );
}

const HOST_LENGTH_MAX = 253;

function flag(environment: Environment, { name }: Variable, otherwise: boolean): boolean {
  const value = environment[name];
  if (value === undefined || value === '') return otherwise;
  if (value === 'true' || value === 'false') return value === 'true';
  throw invalidField(name, `${name} takes true or false, not '${value}'.`);
}
