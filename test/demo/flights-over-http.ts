import { call } from './call.ts';
import type { Input } from './flights.ts';
import { count, ProgressBar, print } from './terminal.ts';

export const TOPIC = 'demo-flights';
const PARTITIONS = 6;
const RECORDS_PER_REQUEST = 1_000;
const READ_RECORDS = 5_000;

interface Placed {
  readonly partition: number;
  readonly offset: number;
}

interface ReadRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: Readonly<Record<string, unknown>>;
}

/**
 * Appends the records over HTTP, keyed by their origin airport and at their own time, reads everything back, and checks each
 * record against the input.
 */
export async function flightsOverHttp(url: string, inputs: readonly Input[]): Promise<void> {
  const placed = await append(url, inputs);
  await readBack(url, inputs, placed);
  summarise(inputs, placed);
  await printUsage(url);
}

async function append(url: string, inputs: readonly Input[]): Promise<Placed[]> {
  await fetch(`${url}/v1/topics/${TOPIC}`, { method: 'DELETE' });
  await call(`${url}/v1/topics/${TOPIC}`, { method: 'PUT', body: JSON.stringify({ partitions: PARTITIONS }) });
  const placed: Placed[] = [];
  const bar = new ProgressBar('append', inputs.length);
  let bytes = 0;
  // One request after the other, so that the flights of an airport keep their order.
  for (let start = 0; start < inputs.length; start += RECORDS_PER_REQUEST) {
    const body = JSON.stringify({ records: inputs.slice(start, start + RECORDS_PER_REQUEST) });
    bytes += body.length;
    const answer = (await call(`${url}/v1/topics/${TOPIC}/records`, { method: 'POST', body })) as { records: Placed[] };
    placed.push(...answer.records);
    bar.advance(answer.records.length);
  }
  bar.finish(bytes);
  return placed;
}

async function readBack(url: string, inputs: readonly Input[], placed: readonly Placed[]): Promise<void> {
  const expected = new Map<string, Input>();
  placed.forEach(({ partition, offset }, i) => {
    expected.set(`${partition}:${offset}`, inputs[i] as Input);
  });
  if (expected.size !== inputs.length) throw new Error('Two records were given the same offset.');
  const bar = new ProgressBar('read back', inputs.length);
  let bytes = 0;
  for (let partition = 0; partition < PARTITIONS; partition++) {
    for (let offset = 0, end = 1; offset < end; ) {
      const query = `offset=${offset}&limit=${READ_RECORDS}&maxBytes=8388608`;
      const answer = (await call(`${url}/v1/topics/${TOPIC}/partitions/${partition}/records?${query}`)) as {
        records: ReadRecord[];
        nextOffset: number;
        highWatermark: number;
      };
      for (const record of answer.records) {
        if (record.offset !== offset++) throw new Error(`Offset ${offset - 1} of partition ${partition} is missing.`);
        check(record, expected.get(`${partition}:${record.offset}`));
        bytes += JSON.stringify(record.value).length;
      }
      bar.advance(answer.records.length);
      end = answer.highWatermark;
    }
  }
  bar.finish(bytes);
  if (bar.done !== inputs.length)
    throw new Error(`${bar.done} records were read back where ${inputs.length} were appended.`);
  print(`Each of the ${count(inputs.length)} records is there once, at its offset, as it was given.\n`);
}

function check(read: ReadRecord, input: Input | undefined): void {
  const same =
    input !== undefined &&
    read.key === input.key &&
    (input.timestamp === undefined || read.timestamp === input.timestamp) &&
    JSON.stringify(read.value) === JSON.stringify(input.value);
  if (!same) throw new Error(`Read back ${JSON.stringify(read)} where ${JSON.stringify(input)} was appended.`);
}

function summarise(inputs: readonly Input[], placed: readonly Placed[]): void {
  const airports = new Map<string, { flights: number; delay: number; partition: number }>();
  const partitions = Array.from({ length: PARTITIONS }, () => ({ flights: 0, airports: new Set<string>() }));
  inputs.forEach(({ key, value }, i) => {
    const { partition } = placed[i] as Placed;
    const summary = partitions[partition] as (typeof partitions)[number];
    summary.flights++;
    if (key === null) return;
    summary.airports.add(key);
    const airport = airports.get(key) ?? { flights: 0, delay: 0, partition };
    if (airport.partition !== partition) throw new Error(`The flights of ${key} are in two partitions.`);
    airport.flights++;
    airport.delay += Number(value.delay);
    airports.set(key, airport);
  });
  print('partition   records   airports');
  partitions.forEach((summary, partition) => {
    print(
      `${String(partition).padStart(9)}${count(summary.flights).padStart(10)}${count(summary.airports.size).padStart(11)}`,
    );
  });
  print('\nbusiest     flights   mean delay   partition');
  for (const [name, { flights, delay, partition }] of [...airports]
    .sort((a, b) => b[1].flights - a[1].flights)
    .slice(0, 8)) {
    const mean = `${(delay / flights).toFixed(1)} min`;
    print(`${name.padEnd(9)}${count(flights).padStart(10)}${mean.padStart(13)}${String(partition).padStart(12)}`);
  }
}

async function printUsage(url: string): Promise<void> {
  const usage = (await call(`${url}/v1/usage?by=topic`)) as {
    rows: { topic: string; counts: Record<string, number> }[];
  };
  const row = usage.rows.find((item) => item.topic === TOPIC);
  if (row === undefined) throw new Error('The usage of the topic is missing.');
  const requests = Object.entries(row.counts).filter(([, value]) => value > 0);
  print(`\nRequests to the storage: ${requests.map(([name, value]) => `${name} ${count(value)}`).join(', ')}.`);
  print('On AWS, commits of more than 8 KiB write an object: `npm run bench:cost` prints what those requests cost.');
}
