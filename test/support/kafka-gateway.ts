import { connect, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type CredentialSettings, Credentials } from '../../shared/access/credentials.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { MECHANISMS, type Mechanism } from '../../shared/kafka/access/mechanism.ts';
import { REFUSAL_DELAY_MS } from '../../shared/kafka/access/session.ts';
import { DEFAULT_GATEWAY_SETTINGS, type Gateway, type GatewaySettings } from '../../shared/kafka/gateway.ts';
import { KafkaServer } from '../../shared/kafka/listen.ts';
import type { Api, RequestOf, ResponseOf } from '../../shared/kafka/protocol/api.ts';
import type { Fields, WrittenOf } from '../../shared/kafka/protocol/fields.ts';
import { MessageReader, MessageWriter } from '../../shared/kafka/protocol/message-bytes.ts';
import type { TlsSettings } from '../../shared/kafka/tls.ts';
import { memoryBroker, memoryStores, SeededRandom } from './memory-broker.ts';
import { SimulatedClock } from './simulated-clock.ts';

/** The delay of refusals takes no time, and is counted. */
export class GatewayClock extends SimulatedClock {
  refusalsDelayed = 0;

  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (ms !== REFUSAL_DELAY_MS) return super.sleep(ms, signal);
    this.refusalsDelayed++;
  }
}

export interface KafkaGatewayOptions {
  /** Default: every caller may do everything. */
  readonly credentials?: CredentialSettings;
  readonly mechanisms?: readonly Mechanism[];
  readonly settings?: Partial<GatewaySettings>;
  readonly tls?: TlsSettings;
}

export interface TestGateway {
  readonly broker: Broker;
  readonly stores: ReturnType<typeof memoryStores>;
  readonly clock: GatewayClock;
  readonly port: number;
  readonly errors: unknown[];
  connect(): Promise<KafkaConnection>;
  close(): Promise<void>;
}

/** A gateway over a log in memory, which listens on a port of its own. */
export async function kafkaGateway(options: KafkaGatewayOptions = {}): Promise<TestGateway> {
  const { credentials, mechanisms = MECHANISMS, settings, tls } = options;
  const clock = new GatewayClock();
  const stores = { ...memoryStores(), clock };
  const broker = memoryBroker(stores, { pollIntervalMs: undefined });
  const errors: unknown[] = [];
  const server = new KafkaServer({ tls, onError: (error) => errors.push(error) });
  const port = await server.listen(0, '127.0.0.1');
  const stopping = new AbortController();
  const random = new SeededRandom(7);
  const self = { nodeId: 1, host: '127.0.0.1', port };
  const sasl = { mechanisms, broker, clock, random, saltSecret: await broker.saltSecret() };
  const gateway: Gateway = {
    broker,
    clock,
    random,
    settings: { ...DEFAULT_GATEWAY_SETTINGS, clusterId: await broker.clusterId(), ...settings },
    access: credentials && { ...sasl, credentials: new Credentials(credentials, { broker, clock }) },
    self,
    nodes: () => [self],
    stopping: stopping.signal,
  };
  server.serve(gateway);
  const connections: KafkaConnection[] = [];
  return {
    broker,
    stores,
    clock,
    port,
    errors,
    async connect() {
      const connection = new KafkaConnection(connect(port, '127.0.0.1'));
      connections.push(connection);
      await connection.opened;
      return connection;
    },
    async close() {
      stopping.abort();
      for (const connection of connections) connection.cut();
      await server.finish();
      server.cut();
    },
  };
}

/** A client that sends what a test tells it to. Answers come in the order of the requests. */
export class KafkaConnection {
  readonly opened: Promise<void>;
  /** Resolves when the gateway has closed the connection. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  #come = Buffer.alloc(0);
  readonly #waiting: ((frame: Uint8Array | 'closed') => void)[] = [];
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.opened = new Promise((resolve, reject) => {
      const opened = socket instanceof TLSSocket ? 'secureConnect' : 'connect';
      socket.once(opened, resolve).once('error', reject);
    });
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true;
        for (const take of this.#waiting.splice(0)) take('closed');
        resolve();
      });
    });
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      this.#come = Buffer.concat([this.#come, chunk]);
      while (this.#come.length >= 4 && this.#come.length >= 4 + this.#come.readInt32BE(0)) {
        const end = 4 + this.#come.readInt32BE(0);
        this.#waiting.shift()?.(new Uint8Array(this.#come.subarray(4, end)));
        this.#come = this.#come.subarray(end);
      }
    });
  }

  /** The answer, or `closed` if the gateway closes the connection instead. */
  async send<Request extends Fields, Response extends Fields>(
    api: Api<Request, Response>,
    version: number,
    request: Partial<RequestOf<Api<Request, Response>>>,
  ): Promise<Answer<Response> | 'closed'> {
    const to = new MessageWriter();
    to.out.int16(api.key);
    to.out.int16(version);
    to.out.int32(1);
    to.out.int16(4);
    to.bytes(new TextEncoder().encode('test'));
    if (version >= api.flexible) to.out.varuint(0);
    api.request.at(version).write(to, { ...api.request.empty, ...request } as unknown as WrittenOf<Request>);
    const frame = await this.sendFrame(Buffer.concat(to.finish()));
    if (frame === 'closed') return frame;
    const from = new MessageReader(frame);
    from.int32();
    if (version >= api.flexible && api.key !== 18) from.varuint();
    const answer = api.response.at(version).read(from);
    if (from.remaining !== 0) throw new Error(`${from.remaining} bytes are left of the answer`);
    return answer as unknown as Answer<Response>;
  }

  sendFrame(bytes: Uint8Array): Promise<Uint8Array | 'closed'> {
    const length = Buffer.alloc(4);
    length.writeInt32BE(bytes.length);
    return this.sendBytes(Buffer.concat([length, bytes]));
  }

  sendBytes(bytes: Uint8Array): Promise<Uint8Array | 'closed'> {
    if (this.#isClosed) return Promise.resolve('closed');
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket.write(bytes);
    });
  }

  cut(): void {
    this.#socket.destroy();
  }
}

type Answer<Response extends Fields> = Required<ResponseOf<Api<Fields, Response>>>;
