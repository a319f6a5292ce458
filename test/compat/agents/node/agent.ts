/** What the agents in Node share: requests in, events out. README.md describes both. */
import { createInterface } from 'node:readline';
import type { AgentRecord, Request } from '../../clients/contract.ts';

type Done = Readonly<Record<string, unknown>>;
type Command<R extends Request> = (request: R) => Promise<Done>;

export interface Commands {
  readonly produce: Command<Extract<Request, { command: 'produce' }>>;
  readonly consume: Command<Extract<Request, { command: 'consume' }>>;
  readonly group: Command<Extract<Request, { command: 'group' }>>;
  /** Without it the agent has no transactions. */
  readonly transact?: Command<Extract<Request, { command: 'transact' }>>;
  readonly admin: Command<Extract<Request, { command: 'admin' }>>;
}

/** Of base64; brokers take batches of 1 MiB by default. */
const PART_CHARACTERS_MAX = 1_000_000;

const ended = Promise.withResolvers<void>();

/** Resolves when the tests have closed the input: a member of a group leaves it then. */
export const inputEnded: Promise<void> = ended.promise;

/** An error with the code that the Kafka protocol gives it. */
export class Failure extends Error {
  readonly code: number | undefined;

  constructor(message: string, code?: number) {
    super(message);
    this.code = code;
  }
}

export function emit(event: string, body: Done = {}): void {
  process.stdout.write(`${JSON.stringify({ event, ...body })}\n`);
}

export function emitRecord(record: {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: Uint8Array | null | undefined;
  readonly value: Uint8Array | null | undefined;
  readonly headers: readonly (readonly [string, Uint8Array | null | undefined])[];
}): void {
  const { key, value, headers, ...rest } = record;
  emit('record', {
    ...rest,
    key: encode(key),
    value: encode(value),
    headers: headers.map(([name, bytes]) => [name, encode(bytes)]),
  });
}

function encode(bytes: Uint8Array | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64');
}

export function decode(text: string | null): Buffer | null {
  return text === null ? null : Buffer.from(text, 'base64');
}

/** The offset of each record: the broker tells the first of a partition, the others follow. */
export function ackedFrom(records: readonly AgentRecord[], first: ReadonlyMap<number, number>): Done {
  const next = new Map(first);
  const acked = records.map(({ partition }) => {
    const offset = partition === undefined ? undefined : next.get(partition);
    if (partition === undefined || offset === undefined) return { partition: -1, offset: -1 };
    next.set(partition, offset + 1);
    return { partition, offset };
  });
  return { acked };
}

/** For libraries that make one batch of all that they are given: parts that a broker takes. */
export function* partsOf(
  records: readonly AgentRecord[],
  charactersMax = PART_CHARACTERS_MAX,
): Generator<readonly AgentRecord[]> {
  let part: AgentRecord[] = [];
  let bytes = 0;
  for (const record of records) {
    const size = (record.value?.length ?? 0) + (record.key?.length ?? 0);
    if (part.length > 0 && bytes + size > charactersMax) {
      yield part;
      [part, bytes] = [[], 0];
    }
    part.push(record);
    bytes += size;
  }
  if (part.length > 0) yield part;
}

/** Answers one request after another until the input ends. */
export async function serve(commands: Commands, codeOf: (error: unknown) => number | undefined): Promise<void> {
  const lines = createInterface({ input: process.stdin });
  lines.on('close', () => ended.resolve());
  let queue = Promise.resolve();
  lines.on('line', (line) => {
    queue = queue.then(() => answer(commands, JSON.parse(line) as Request, codeOf));
  });
  await inputEnded;
  await queue;
  process.exit();
}

async function answer(commands: Commands, request: Request, codeOf: (error: unknown) => number | undefined) {
  try {
    emit('done', await run(commands, request));
  } catch (error) {
    const code = error instanceof Failure ? error.code : codeOf(error);
    emit('failed', { code: code ?? null, message: error instanceof Error ? error.message : String(error) });
  }
}

async function run(commands: Commands, request: Request): Promise<Done> {
  if (request.command === 'produce') return commands.produce(request);
  if (request.command === 'consume') return commands.consume(request);
  if (request.command === 'group') return commands.group(request);
  if (request.command === 'transact') {
    if (commands.transact === undefined) throw new Failure('the agent has no transactions');
    return commands.transact(request);
  }
  return commands.admin(request);
}
