import type { JwtSettings } from '../../shared/access/jwt.ts';
import { GATEWAY_VARIABLES, type GatewayEnvironment } from '../../shared/aws/gateway-environment.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { composeGateway } from '../../shared/kafka/compose-gateway.ts';
import { KafkaServer } from '../../shared/kafka/listen.ts';
import { type AnnouncedSelf, announceSelf } from '../../shared/kafka/nodes/announce-gateway.ts';
import { invalidField } from '../../shared/log/errors.ts';
import type { Clock, Random } from '../../shared/storage/ports.ts';
import type { logLine } from '../lambda/log-line.ts';
import { drainInTime } from './drain-in-time.ts';
import { HealthServer } from './health-server.ts';
import { ownAddress } from './own-address.ts';
import { type GatewayTraffic, TrafficLog } from './traffic-log.ts';

export interface GatewayProcessComponents {
  readonly broker: Broker;
  readonly environment: GatewayEnvironment;
  /** Tells the metrics of several logs of an account apart. */
  readonly tableName: string;
  readonly jwt: JwtSettings | undefined;
  /** Where ECS describes this container; `undefined` outside ECS. */
  readonly metadataUrl: string | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: typeof logLine;
}

export interface RunningGateway {
  /** Where Kafka's clients connect in this process. */
  readonly port: number;
  readonly healthPort: number;
  /**
   * Answers what is in work, closes all connections and settles all appends, within `drainMs`. What is left then, or when
   * `cut` is aborted, is cut off. Resolves to whether nothing was. May be called once.
   */
  drain(cut: AbortSignal): Promise<boolean>;
}

/**
 * Serves Kafka's clients. `/health` answers 503 until it does. A table that cannot be reached is an error at the start: names
 * and permissions are wrong more often than DynamoDB is, and a deployment is rolled back then.
 * @throws EventLogError `invalid_request` (a port is taken, no advertised host), `storage_unavailable`
 */
export async function startGateway(components: GatewayProcessComponents): Promise<RunningGateway> {
  const { broker, environment, tableName, jwt, clock, random, log } = components;
  const host = environment.advertisedHost ?? (await ownAddress(components.metadataUrl));
  const stopping = new AbortController();
  const health = new HealthServer({ clock, look: () => broker.clusterId() });
  const traffic = new TrafficLog({ tableName, clock, log });
  const trafficNow = (): GatewayTraffic => ({ ...server.traffic(), transactions: broker.transactionTraffic() });
  const server = new KafkaServer({
    tls: environment.tls.type === 'gateway' ? environment.tls.tls : undefined,
    observer: (request) => traffic.note(request),
    onError: (error, api) =>
      log('ERROR', 'Unexpected error.', {
        api,
        why: error instanceof Error ? (error.stack ?? error.message) : String(error),
      }),
  });
  const healthPort = await named('healthPort', health.listen(environment.healthPort, environment.host));
  let announced: AnnouncedSelf | undefined;
  try {
    const port = await named('port', server.listen(environment.port, environment.host));
    announced = await announceSelf({
      broker,
      clock,
      random,
      host,
      port: environment.advertisedPort || port,
      onError: (error) =>
        log('ERROR', 'The gateway could not tell the others of itself, and tries again.', { why: String(error) }),
    });
    const { self, nodes, leave } = announced;
    const { mechanisms, autoCreateTopics, partitionsDefault } = environment;
    const gateway = await composeGateway({
      broker,
      clock,
      random,
      credentials: { mechanisms, jwt },
      settings: { autoCreateTopics, partitionsDefault },
      self,
      nodes,
      stopping: stopping.signal,
    });
    server.serve(gateway);
    health.state = 'serving';
    void traffic.run({ traffic: trafficNow, isTableReached: () => health.isTableReached() });
    log('INFO', 'The gateway serves.', { port, healthPort, advertised: `${self.host}:${self.port}`, mechanisms });
    const { drainMs } = environment;
    return {
      port,
      healthPort,
      drain: async (cut) => {
        health.state = 'draining';
        const drained = await drainInTime({ clock, drainMs, cut }, { leave, stopping, server, broker });
        traffic.stop(trafficNow());
        log(drained.isClean ? 'INFO' : 'ERROR', 'The gateway has stopped.', drained);
        health.close();
        return drained.isClean;
      },
    };
  } catch (error) {
    health.close();
    await announced?.leave().catch(() => {});
    await server.finish();
    throw error;
  }
}

/** Says which variable has the port that cannot be listened on. */
async function named(setting: 'port' | 'healthPort', listening: Promise<number>): Promise<number> {
  try {
    return await listening;
  } catch (cause) {
    const { name } = GATEWAY_VARIABLES[setting];
    const why = cause instanceof Error && cause.cause instanceof Error ? cause.cause.message : String(cause);
    throw invalidField(name, `The port that ${name} names cannot be used: ${why}.`);
  }
}
