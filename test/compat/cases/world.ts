import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, type Answer } from '../clients/agent.ts';
import type {
  AdminRequest,
  AgentRecord,
  Connection,
  ConsumeRequest,
  GroupRequest,
  ProduceRequest,
  ReadRecord,
  Request,
  TransactRequest,
} from '../clients/contract.ts';
import type { Plan } from '../matrix-plan.ts';
import { type CutBytes, type CuttingProxy, startCuttingProxy } from '../server/cutting-proxy.ts';

const KNOWN_ATTEMPTS = 50;
const KNOWN_WAIT_MS = 50;
const TOOL_MS = 60_000;

type Without<R extends Request> = Omit<R, 'command' | keyof Connection>;

/** What a case works with: a client, a server, and the Java client, which every case is prepared and checked with. */
export class World {
  readonly server: Plan['server'];
  readonly #command: readonly string[];
  readonly #reference: Agent;
  #client: Agent | undefined;
  readonly #members: Agent[] = [];
  readonly #endings: (() => Promise<unknown>)[] = [];
  readonly #proxies: CuttingProxy[] = [];

  constructor(server: Plan['server'], command: readonly string[], reference: Agent) {
    this.server = server;
    this.#command = command;
    this.#reference = reference;
  }

  /** The same clients on another server. */
  on(server: Plan['server']): World {
    return new World(server, this.#command, this.#reference);
  }

  /** Of clients that run main classes of Java: the command, to be followed by a class and its parameters. */
  get command(): readonly string[] {
    return this.#command;
  }

  /** Runs when the case has ended, however it ended; what was added last runs first. */
  atEnd(ending: () => Promise<unknown>): void {
    this.#endings.unshift(ending);
  }

  /** A topic that nobody else has. */
  async topic(partitions: number, configs: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = `compat-${randomUUID()}`;
    await this.referenceAdmin({ op: 'create-topic', topic, partitions, configs });
    await this.#untilKnown(topic);
    return topic;
  }

  /** Under the name of a topic that was deleted just now: Kafka takes a while to forget it. */
  async createAgain(topic: string, partitions: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.referenceAdmin({ op: 'create-topic', topic, partitions, configs: {} });
        return await this.#untilKnown(topic);
      } catch (error) {
        if (attempt === KNOWN_ATTEMPTS) throw error;
        await sleep(KNOWN_WAIT_MS);
      }
    }
  }

  /** Kafka answers CreateTopics before its brokers have heard of the topic. */
  async #untilKnown(topic: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.referenceAdmin({ op: 'describe-configs', topic });
        return;
      } catch (error) {
        if (attempt === KNOWN_ATTEMPTS) throw error;
        await sleep(KNOWN_WAIT_MS);
      }
    }
  }

  group(): string {
    return `group-${randomUUID()}`;
  }

  get #connection(): Connection {
    return { bootstrap: this.server.bootstrap };
  }

  produce(request: Without<ProduceRequest>, connection: Connection = this.#connection): Promise<Answer> {
    return this.#ask({ command: 'produce', ...connection, ...request });
  }

  consume(request: Without<ConsumeRequest>, connection: Connection = this.#connection): Promise<Answer> {
    return this.#ask({ command: 'consume', ...connection, ...request });
  }

  /** Through a proxy, whose address clients find in the metadata. */
  produceThrough({ bootstrap }: CuttingProxy, request: Without<ProduceRequest>): Promise<Answer> {
    return this.#ask({ command: 'produce', bootstrap, ...request });
  }

  /** Puts a proxy before the server that cuts connections. Ends with the case. */
  async cuttingProxy(bytes?: CutBytes): Promise<CuttingProxy> {
    const { port = 0, advertisedPort = 0 } = this.server.behindProxy ?? {};
    const proxy = await startCuttingProxy({ port: advertisedPort, targetPort: port, bytes });
    this.#proxies.push(proxy);
    return proxy;
  }

  transact(request: Without<TransactRequest>): Promise<Answer> {
    return this.#ask({ command: 'transact', ...this.#connection, ...request });
  }

  transactThrough({ bootstrap }: CuttingProxy, request: Without<TransactRequest>): Promise<Answer> {
    return this.#ask({ command: 'transact', bootstrap, ...request });
  }

  /** In a process of its own: another producer of the same transactional id. */
  transactElsewhere(request: Without<TransactRequest>): Promise<Answer> {
    const other = new Agent(this.#command);
    this.#members.push(other);
    return other.ask({ command: 'transact', ...this.#connection, ...request });
  }

  admin(request: Without<AdminRequest>): Promise<Answer> {
    return this.#ask({ command: 'admin', ...this.#connection, ...request });
  }

  referenceProduce(request: Without<ProduceRequest>): Promise<Answer> {
    return this.#reference.ask({ command: 'produce', ...this.#connection, ...request });
  }

  referenceConsume(request: Without<ConsumeRequest>): Promise<Answer> {
    return this.#reference.ask({ command: 'consume', ...this.#connection, ...request });
  }

  /** The Java client as a member of a group, until it has read as many records as it should; then it leaves. */
  referenceGroup(request: Without<GroupRequest> & { readonly count: number }): Promise<Answer> {
    return this.#reference.ask({ command: 'group', ...this.#connection, ...request });
  }

  referenceTransact(request: Without<TransactRequest>): Promise<Answer> {
    return this.#reference.ask({ command: 'transact', ...this.#connection, ...request });
  }

  referenceAdmin(request: Without<AdminRequest>): Promise<Answer> {
    return this.#reference.ask({ command: 'admin', ...this.#connection, ...request });
  }

  /** Everything in a topic, as the Java client reads it. */
  async readAll(topic: string, partitions: number, count: number): Promise<readonly ReadRecord[]> {
    const all = Array.from({ length: partitions }, (_, i) => i);
    return (await this.referenceConsume({ topic, partitions: all, from: 'earliest', count, timeoutMs: 20_000 }))
      .records;
  }

  /** A process of its own that begins a request and is followed by the case. */
  begin(request: Omit<ConsumeRequest, 'bootstrap'> | Omit<GroupRequest, 'bootstrap'>): Agent {
    const member = new Agent(this.#command);
    this.#members.push(member);
    member.start({ ...this.#connection, ...request });
    return member;
  }

  member(request: Without<GroupRequest>): Agent {
    return this.begin({ command: 'group', ...request });
  }

  /**
   * Runs one of Kafka's console tools by its main class; resolves with what it wrote to its standard output. `command`: of
   * those tools that want to know the server before their command.
   */
  async tool(
    main: string,
    parameters: readonly string[],
    { input = '', command: last = [] }: { readonly input?: string; readonly command?: readonly string[] } = {},
  ): Promise<string> {
    const [command = '', ...before] = this.#command;
    const all = [...before, main, ...parameters, '--bootstrap-server', this.server.bootstrap, ...last];
    const child = spawn(command, all, { stdio: ['pipe', 'pipe', 'pipe'], timeout: TOOL_MS });
    let [output, errors] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [code] = (await once(child, 'close')) as [number | null];
    if (code !== 0) throw new Error(`${main} ${parameters.join(' ')} ended with ${code}:\n${output}${errors}`);
    return output;
  }

  /** Ends what the case began. */
  async close(): Promise<void> {
    for (const member of this.#members) member.kill();
    await Promise.all(this.#members.map((member) => member.leave()));
    this.#members.length = 0;
    for (const ending of this.#endings.splice(0)) await ending();
    await Promise.all(this.#proxies.splice(0).map((proxy) => proxy.stop()));
  }

  async end(): Promise<void> {
    await this.#client?.leave();
  }

  #ask(request: Request): Promise<Answer> {
    if (!this.#client?.isAlive) this.#client = new Agent(this.#command);
    return this.#client.ask(request);
  }
}

export function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Records whose values tell their number; keys repeat. */
export function numbered(count: number, keys = 0): AgentRecord[] {
  return Array.from({ length: count }, (_, i) => ({
    key: keys === 0 ? null : base64(`key-${i % keys}`),
    value: base64(String(i)),
  }));
}

/** Printable, and nothing that a codec makes small. */
export function largeValue(bytes: number): string {
  return Buffer.from(randomBytes(bytes).toString('base64url').slice(0, bytes)).toString('base64');
}

export function numberOf({ value }: { readonly value: string | null }): number {
  return Number(Buffer.from(value ?? '', 'base64').toString());
}

export function sorted(numbers: Iterable<number>): number[] {
  return [...numbers].sort((a, b) => a - b);
}
