import { fileURLToPath } from 'node:url';
import { call } from '../call.ts';
import type { Input } from '../flights.ts';
import { TOPIC } from '../flights-over-http.ts';
import { count, print } from '../terminal.ts';
import { type Lag, lagOf, unreadOf } from './lag.ts';
import { Worker } from './worker.ts';

/** Three consumers share the partitions of the flights. One is killed, and the others take over what it had. */

const GROUP = 'demo-group';
const CONSUMERS = ['ann', 'bob', 'cid'];
const CONSUMER = fileURLToPath(new URL('./consumer-process.ts', import.meta.url));
const LOOK_MS = 500;
const BAR_WIDTH = 30;
/** After this many looks one consumer is killed, and more flights are appended. */
const KILLED_AT_LOOK = 5;
const MORE_RECORDS = 1_000;

/** Returns the flights that it has appended. */
export async function groupOfConsumers(url: string, inputs: readonly Input[]): Promise<readonly Input[]> {
  const more = inputs.slice(0, MORE_RECORDS);
  print(`Three consumers in processes of their own share the topic as group '${GROUP}':`);
  const consumers = CONSUMERS.map((name) => new Worker(name, CONSUMER, [url, GROUP, TOPIC, name]));
  try {
    let largest = inputs.length;
    for (let look = 1; ; look++) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (look === KILLED_AT_LOOK) {
        await consumers[0]?.kill();
        print(`${CONSUMERS[0]} is killed, and ${count(MORE_RECORDS)} more flights arrive:`);
        const body = JSON.stringify({ records: more });
        await call(`${url}/v1/topics/${TOPIC}/records`, { method: 'POST', body });
      }
      const lag = await lagOf(url, GROUP);
      if (lag === undefined || lag.partitions.length === 0) continue;
      const unread = unreadOf(lag);
      largest = Math.max(largest, unread);
      print(lineOf(lag, unread / largest));
      if (look > KILLED_AT_LOOK && unread === 0) break;
    }
    const read = consumers.map(({ name, records }) => `${name} ${count(records)}`).join(', ');
    print(`Everything is read: ${read}. What ${CONSUMERS[0]} had not committed was read again.\n`);
    return more;
  } finally {
    await Promise.all(consumers.map((consumer) => consumer.kill()));
  }
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
