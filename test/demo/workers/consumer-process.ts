import { call } from '../call.ts';

/** A consumer in a process of its own: it polls, works on what it gets, and tells the parent how much that was. */

const [url = '', group = '', topic = '', memberId = ''] = process.argv.slice(2);
const RECORDS_PER_POLL = 250;
const WORK_MS = 120;
const LEASE_MS = 3_000;

interface Polled {
  readonly token: string;
  readonly partitions: readonly { readonly records: readonly unknown[] }[];
}

let after: string | undefined;
for (;;) {
  const polled = (await call(`${url}/v1/groups/${group}/poll`, {
    method: 'POST',
    body: JSON.stringify({
      memberId,
      topics: [topic],
      after,
      maxRecords: RECORDS_PER_POLL,
      waitMs: 500,
      leaseMs: LEASE_MS,
    }),
  })) as Polled;
  const records = polled.partitions.reduce((sum, partition) => sum + partition.records.length, 0);
  if (records > 0) await new Promise((resolve) => setTimeout(resolve, WORK_MS));
  process.stdout.write(`${records}\n`);
  after = polled.token;
}
