import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { call } from './call.ts';
import type { Input } from './flights.ts';
import { TOPIC } from './flights-over-http.ts';
import { count, print } from './terminal.ts';

/** Three consumers share the partitions of the flights. One is killed, and the others take over what it had. */

const GROUP = 'demo-group';
const CONSUMERS = ['ann', 'bob', 'cid'];
const CONSUMER = fileURLToPath(new URL('./consumer-process.ts', import.meta.url));
const LOOK_MS = 500;
const BAR_WIDTH = 30;
/** After this many looks one consumer is killed, and more flights are appended. */
const KILLED_AT_LOOK = 5;
const MORE_RECORDS = 1_000;

interface Lag {
  readonly partitions: readonly {
    readonly partition: number;
    readonly memberId: string | null;
    readonly committedOffset: number | null;
    readonly logStartOffset: number;
    readonly highWatermark: number;
  }[];
}

class Consumer {
  readonly name: string;
  readonly child: ChildProcess;
  records = 0;

  constructor(url: string, name: string) {
    this.name = name;
    const child = spawn(process.execPath, [CONSUMER, url, GROUP, TOPIC, name], { stdio: ['ignore', 'pipe', 'ignore'] });
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.records += Number(line);
    });
    this.child = child;
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await exit;
  }
}

export async function groupOfConsumers(url: string, inputs: readonly Input[]): Promise<void> {
  print(`Three consumers in processes of their own share the topic as group '${GROUP}':`);
  const consumers = CONSUMERS.map((name) => new Consumer(url, name));
  try {
    let largest = inputs.length;
    for (let look = 1; ; look++) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (look === KILLED_AT_LOOK) {
        await consumers[0]?.kill();
        print(`${CONSUMERS[0]} is killed, and ${count(MORE_RECORDS)} more flights arrive:`);
        const body = JSON.stringify({ records: inputs.slice(0, MORE_RECORDS) });
        await call(`${url}/v1/topics/${TOPIC}/records`, { method: 'POST', body });
      }
      const lag = (await call(`${url}/v1/groups/${GROUP}/lag`).catch(() => undefined)) as Lag | undefined;
      if (lag === undefined) continue;
      const unread = unreadOf(lag);
      largest = Math.max(largest, unread);
      print(lineOf(lag, unread / largest));
      if (look > KILLED_AT_LOOK && unread === 0) break;
    }
    const read = consumers.map(({ name, records }) => `${name} ${count(records)}`).join(', ');
    print(`Everything is read: ${read}. What ${CONSUMERS[0]} had not committed was read again.\n`);
  } finally {
    await Promise.all(consumers.map((consumer) => consumer.kill()));
  }
}

/** The records that the group has not committed, also in partitions of which it has committed nothing. */
function unreadOf({ partitions }: Lag): number {
  return partitions.reduce(
    (sum, { committedOffset, logStartOffset, highWatermark }) =>
      sum + highWatermark - (committedOffset ?? logStartOffset),
    0,
  );
}

function lineOf(lag: Lag, share: number): string {
  const { partitions } = lag;
  const bar = '#'.repeat(Math.ceil(share * BAR_WIDTH)).padEnd(BAR_WIDTH);
  const owners = CONSUMERS.map((name) => {
    const owned = partitions.filter(({ memberId }) => memberId === name).map(({ partition }) => partition);
    return `${name} ${owned.join(' ') || '-'}`;
  });
  return `lag ${count(unreadOf(lag)).padStart(6)} [${bar}]  ${owners.join(' | ')}`;
}
