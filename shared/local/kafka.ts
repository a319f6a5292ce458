import type { Broker } from '../broker/broker.ts';
import { DEFAULT_GATEWAY_SETTINGS, type Gateway, type GatewayNode } from '../kafka/gateway.ts';
import { KafkaServer } from '../kafka/listen.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';

export interface KafkaOptions {
  /** Default 0: any free port. */
  readonly port?: number;
  /** Where clients reach this process, if that is not where it listens. */
  readonly advertised?: { readonly host: string; readonly port: number };
  /** Make topics that clients ask for and that are not there. Default true, as Kafka's. */
  readonly autoCreateTopics?: boolean;
  /** The partitions of such topics. Default 1, as Kafka's. */
  readonly partitionsDefault?: number;
}

/** The only gateway of an embedded log. */
const NODE_ID = 1;

export interface KafkaListenerComponents {
  readonly broker: Broker;
  /** The address to listen on. */
  readonly host: string;
  readonly options: KafkaOptions;
  readonly stopping: AbortSignal;
}

export interface KafkaListener {
  readonly server: KafkaServer;
  readonly bootstrapServers: string;
}

/** Answers Kafka's clients in this process. @throws EventLogError `invalid_request` (port) */
export async function listenForKafka({
  broker,
  host,
  options,
  stopping,
}: KafkaListenerComponents): Promise<KafkaListener> {
  const { port: wantedPort = 0, advertised, autoCreateTopics = true, partitionsDefault = 1 } = options;
  const server = new KafkaServer({
    onError: (error, api) => console.error(`A Kafka request (${api}) failed:`, error),
  });
  const port = await server.listen(wantedPort, host);
  const self: GatewayNode = { nodeId: NODE_ID, ...(advertised ?? { host, port }) };
  const gateway: Gateway = {
    broker,
    clock: systemClock,
    random: systemRandom,
    settings: {
      ...DEFAULT_GATEWAY_SETTINGS,
      clusterId: await broker.clusterId(),
      autoCreateTopics,
      partitionsDefault,
    },
    self,
    nodes: () => [self],
    stopping,
  };
  server.serve(gateway);
  return { server, bootstrapServers: `${host.includes(':') ? `[${host}]` : host}:${port}` };
}
