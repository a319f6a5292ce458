import type { Broker } from '../../shared/broker/broker.ts';
import {
  DEFAULT_GATEWAY_SETTINGS,
  type Gateway,
  type GatewayNode,
  type GatewaySettings,
} from '../../shared/kafka/gateway.ts';
import { KafkaServer } from '../../shared/kafka/listen.ts';
import type { Clock } from '../../shared/storage/ports.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { KafkaClient } from './kafka-client.ts';
import { memoryBroker, memoryStores } from './memory-broker.ts';

export interface RunningGateway extends AsyncDisposable {
  readonly broker: Broker;
  readonly bootstrapServers: string;
  /** What the server reported as errors of its own. */
  readonly errors: unknown[];
  readonly server: KafkaServer;
  connect(): Promise<KafkaClient>;
}

export interface GatewayOptions {
  readonly broker?: Broker;
  readonly settings?: Partial<GatewaySettings>;
  /** Default: the real one. */
  readonly clock?: Clock;
  /** Gateways besides this one, which has the id 1. */
  readonly others?: readonly GatewayNode[];
}

/** A gateway over a log in memory, with real sockets. */
export async function runGateway({
  broker: given,
  settings = {},
  clock = systemClock,
  others = [],
}: GatewayOptions = {}): Promise<RunningGateway> {
  const broker = given ?? memoryBroker({ ...memoryStores(), clock });
  const errors: unknown[] = [];
  const stopping = new AbortController();
  const server = new KafkaServer({ onError: (error) => errors.push(error) });
  const host = '127.0.0.1';
  const port = await server.listen(0, host);
  const self = { nodeId: 1, host, port };
  const gateway: Gateway = {
    broker,
    clock,
    random: systemRandom,
    settings: { ...DEFAULT_GATEWAY_SETTINGS, clusterId: 'test', ...settings },
    access: undefined,
    self,
    nodes: () => [self, ...others],
    stopping: stopping.signal,
  };
  server.serve(gateway);
  const clients: KafkaClient[] = [];
  const bootstrapServers = `${host}:${port}`;
  return {
    broker,
    bootstrapServers,
    errors,
    server,
    async connect() {
      const client = await KafkaClient.connect(bootstrapServers);
      clients.push(client);
      return client;
    },
    async [Symbol.asyncDispose]() {
      stopping.abort();
      for (const client of clients) client.close();
      server.cut();
      await server.finish();
      await broker.close();
    },
  };
}
