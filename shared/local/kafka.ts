import type { JwtSettings } from '../access/jwt.ts';
import type { Broker } from '../broker/broker.ts';
import { bounded } from '../broker/read/read.ts';
import { MECHANISMS, type Mechanism, mechanismProblem, offeredMechanisms } from '../kafka/access/mechanism.ts';
import { composeGateway } from '../kafka/compose-gateway.ts';
import { DEFAULT_GATEWAY_SETTINGS, type GatewayNode } from '../kafka/gateway.ts';
import { KafkaServer } from '../kafka/listen.ts';
import { type TlsSettings, tlsProblem } from '../kafka/tls.ts';
import { invalidField } from '../log/errors.ts';
import { MIGRATION_POLICIES, type MigrationPolicy } from '../log/group/classic/migration-policy.ts';
import { SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN } from '../log/limits.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';

export interface KafkaOptions {
  /** Default 0: any free port. */
  readonly port?: number;
  /**
   * Where clients reach this process, if that is not where it listens. The port is the same unless it is given. Default: if it
   * listens on every address (`0.0.0.0`, `::`), the address at which a client has reached it; otherwise `host`.
   */
  readonly advertised?: { readonly host: string; readonly port?: number };
  /** Make topics that clients ask for and that are not there. Default true, as Kafka's. */
  readonly autoCreateTopics?: boolean;
  /** The partitions of such topics. Default 1, as Kafka's. */
  readonly partitionsDefault?: number;
  /**
   * The session of members of KIP-848 groups, 3 s to 30 min. Default 45 s. Kafka: `group.consumer.session.timeout.ms`. A
   * member that dies keeps its partitions for this long.
   */
  readonly groupConsumerSessionTimeoutMs?: number;
  /**
   * The shortest session that a member of a classic group can ask for, 3 s to 30 min. Default 6 s. Kafka:
   * `group.min.session.timeout.ms`.
   */
  readonly groupMinSessionTimeoutMs?: number;
  /**
   * Which changes a group may make between the classic protocol and KIP-848 while it has members. Default `bidirectional`, as
   * Kafka's `group.consumer.migration.policy`.
   */
  readonly groupMigrationPolicy?: MigrationPolicy;
  /** Encrypts connections, by TLS 1.2 or later. Default: they are not encrypted. */
  readonly tls?: TlsSettings;
  /**
   * How clients show their API key or token, where requests need one. Default: by every mechanism that is safe here. PLAIN
   * and OAUTHBEARER send it as it is, so they need `tls`, or an address that only this machine reaches.
   */
  readonly mechanisms?: readonly Mechanism[];
  /** Allow PLAIN and OAUTHBEARER everywhere: because something else encrypts the connections, say. Default false. */
  readonly allowCleartextCredentials?: boolean;
}

/**
 * @throws EventLogError `invalid_request` (kafka.groupConsumerSessionTimeoutMs, kafka.groupMinSessionTimeoutMs,
 * kafka.groupMigrationPolicy)
 */
export function checkKafkaGroups(options: KafkaOptions): void {
  const { groupConsumerSessionTimeoutMs, groupMinSessionTimeoutMs, groupMigrationPolicy: policy } = options;
  if (policy !== undefined && !MIGRATION_POLICIES.includes(policy))
    throw invalidField(
      'kafka.groupMigrationPolicy',
      `The policies are ${MIGRATION_POLICIES.join(', ')}, not '${String(policy)}'.`,
    );
  for (const [name, ms] of Object.entries({ groupConsumerSessionTimeoutMs, groupMinSessionTimeoutMs })) {
    if (ms !== undefined) bounded(`kafka.${name}`, ms, SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX);
  }
}

/** The only gateway of an embedded log. */
const NODE_ID = 1;

/** Who may use the listener, as the HTTP server beside it. */
export interface ListenerAccess {
  /** Whether callers need credentials. */
  readonly keys: boolean;
  /** Whether only this machine reaches the listener. */
  readonly isLocal: boolean;
  readonly jwt: JwtSettings | undefined;
}

/**
 * The mechanisms that a listener offers: by default all that are safe there. @throws EventLogError `invalid_request`
 * (mechanisms, tls)
 */
export function checkKafkaAccess(options: KafkaOptions, { keys, isLocal, jwt }: ListenerAccess): readonly Mechanism[] {
  if (options.tls !== undefined) checkTls(options.tls);
  if (!keys) {
    if (options.mechanisms === undefined) return [];
    throw invalidField(
      'kafka.mechanisms',
      'Callers need no credentials here: leave out the mechanisms, or require keys.',
    );
  }
  const isSafe = options.tls !== undefined || isLocal || options.allowCleartextCredentials === true;
  const safety = { isSafe, hasTokens: jwt !== undefined };
  for (const mechanism of options.mechanisms ?? []) {
    const problem = mechanismProblem(mechanism, safety);
    if (problem !== undefined) throw invalidField('kafka.mechanisms', adviceOn(mechanism)[problem]);
  }
  return offeredMechanisms(safety, options.mechanisms);
}

function adviceOn(mechanism: string) {
  return {
    unknown: `The mechanisms are ${MECHANISMS.join(', ')}, not '${mechanism}'.`,
    no_issuer: 'OAUTHBEARER needs the issuer of the tokens: give jwt too.',
    not_encrypted:
      `${mechanism} sends secrets as they are, and others reach this address: give a certificate (tls), use SCRAM-SHA-512, ` +
      'or allow it (allowCleartextCredentials).',
  };
}

function checkTls(tls: TlsSettings): void {
  const problem = tlsProblem(tls);
  if (problem !== undefined)
    throw invalidField('kafka.tls', `The certificate and its key must be PEM, and belong together: ${problem}.`);
}

export interface KafkaListenerComponents {
  readonly broker: Broker;
  /** The address to listen on. */
  readonly host: string;
  readonly options: KafkaOptions;
  readonly access: ListenerAccess;
  readonly stopping: AbortSignal;
}

export interface KafkaListener {
  readonly server: KafkaServer;
  readonly bootstrapServers: string;
}

/** Answers Kafka's clients in this process. @throws EventLogError `invalid_request` (port), and as `composeGateway` */
export async function listenForKafka({
  broker,
  host,
  options,
  access,
  stopping,
}: KafkaListenerComponents): Promise<KafkaListener> {
  const { port: wantedPort = 0, advertised, autoCreateTopics = true, partitionsDefault = 1 } = options;
  const {
    groupConsumerSessionTimeoutMs = DEFAULT_GATEWAY_SETTINGS.groupConsumerSessionTimeoutMs,
    groupMinSessionTimeoutMs = DEFAULT_GATEWAY_SETTINGS.groupMinSessionTimeoutMs,
  } = options;
  const mechanisms = checkKafkaAccess(options, access);
  const server = new KafkaServer({
    tls: options.tls,
    onError: (error, api) => console.error(`A Kafka request (${api}) failed:`, error),
  });
  const port = await server.listen(wantedPort, host);
  const self: GatewayNode = { nodeId: NODE_ID, host, port, ...advertised };
  try {
    const gateway = await composeGateway({
      broker,
      clock: systemClock,
      random: systemRandom,
      credentials: access.keys ? { mechanisms, jwt: access.jwt } : undefined,
      settings: { autoCreateTopics, partitionsDefault, groupConsumerSessionTimeoutMs, groupMinSessionTimeoutMs },
      self,
      stopping,
    });
    server.serve(gateway);
  } catch (error) {
    await server.finish();
    throw error;
  }
  return { server, bootstrapServers: `${host.includes(':') ? `[${host}]` : host}:${port}` };
}
