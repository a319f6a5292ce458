import { Broker } from '../../shared/broker/broker.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { openAwsStores } from '../support/aws-stores.ts';

/**
 * A member of a consumer group in a process of its own, until it is killed or gets SIGTERM. It writes a line for what it
 * processes, before it commits that, and a line for what it has committed.
 */

export interface MemberLine {
  readonly what: 'processed' | 'committed';
  readonly partition: number;
  /** Offsets `[from, to)`. */
  readonly from: number;
  readonly to: number;
}

const [endpoint = '', name = '', group = '', topic = '', memberId = ''] = process.argv.slice(2);
const stores = openAwsStores(endpoint, name);
const broker = new Broker({ items: stores.items, objects: stores.objects, clock: systemClock, random: systemRandom });
const stop = new AbortController();
process.on('SIGTERM', () => stop.abort());

function write(line: MemberLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

let after: string | undefined;
let read: readonly Omit<MemberLine, 'what'>[] = [];
while (!stop.signal.aborted) {
  const polled = await broker.pollGroup({
    group,
    memberId,
    subscription: { topics: [topic] },
    after,
    maxRecords: 5,
    waitMs: 1_000,
    leaseMs: 4_000,
    signal: stop.signal,
  });
  for (const { partition, outcome } of polled.commits) {
    const range = read.find((each) => each.partition === partition);
    if (outcome.ok && range !== undefined) write({ what: 'committed', ...range });
  }
  read = polled.partitions.map(({ partition, offset, nextOffset }) => ({ partition, from: offset, to: nextOffset }));
  for (const range of read) write({ what: 'processed', ...range });
  after = polled.token;
}
await broker.leaveGroup({ group, memberId }).catch(() => {});
stores.close();
