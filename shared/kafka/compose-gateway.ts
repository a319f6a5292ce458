import { Credentials } from '../access/credentials.ts';
import type { JwtSettings } from '../access/jwt.ts';
import type { Broker } from '../broker/broker.ts';
import type { Clock, Random } from '../storage/ports.ts';
import type { Mechanism } from './access/mechanism.ts';
import type { SaslAccess } from './access/session.ts';
import { DEFAULT_GATEWAY_SETTINGS, type Gateway, type GatewayNode, type GatewaySettings } from './gateway.ts';

/** How callers show who they are, where they must. */
export interface ListenerCredentials {
  readonly mechanisms: readonly Mechanism[];
  /** Whose tokens are accepted in addition to API keys. */
  readonly jwt: JwtSettings | undefined;
}

export interface GatewayComponents {
  readonly broker: Broker;
  readonly clock: Clock;
  readonly random: Random;
  /** `undefined`: every caller may do everything. */
  readonly credentials: ListenerCredentials | undefined;
  readonly settings: Partial<Omit<GatewaySettings, 'clusterId'>>;
  readonly self: GatewayNode;
  /** Default: this gateway is the only one. */
  readonly nodes?: () => readonly GatewayNode[];
  readonly stopping: AbortSignal;
}

/**
 * Puts together what the handlers of a process share. 1 GetItem, and 1 more where callers show who they are.
 * @throws EventLogError `storage_unavailable`
 */
export async function composeGateway({
  broker,
  clock,
  random,
  credentials,
  settings,
  self,
  nodes = () => [self],
  stopping,
}: GatewayComponents): Promise<Gateway> {
  return {
    broker,
    clock,
    random,
    settings: { ...DEFAULT_GATEWAY_SETTINGS, ...settings, clusterId: await broker.clusterId() },
    access: credentials && (await saslAccess({ broker, clock, random }, credentials)),
    self,
    nodes,
    stopping,
  };
}

async function saslAccess(
  { broker, clock, random }: Pick<GatewayComponents, 'broker' | 'clock' | 'random'>,
  { mechanisms, jwt }: ListenerCredentials,
): Promise<SaslAccess> {
  return {
    mechanisms,
    credentials: new Credentials({ apiKeys: true, jwt }, { broker, clock }),
    broker,
    clock,
    random,
    saltSecret: await broker.saltSecret(),
  };
}
