import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** Flights within the United States in the first three months of 2001, in order of time. */

export interface Input {
  readonly key: string | null;
  readonly value: Readonly<Record<string, unknown>>;
  readonly timestamp?: number;
}

export interface Flight {
  readonly date: string;
  readonly delay: number;
  readonly distance: number;
  readonly origin: string;
  readonly destination: string;
}

const FOLDER = join(dirname(createRequire(import.meta.url).resolve('vega-datasets')), '..', 'data');

export async function readFlights(): Promise<Flight[]> {
  return JSON.parse(await readFile(join(FOLDER, 'flights-20k.json'), 'utf8')) as Flight[];
}

export function timeOf({ date }: Flight): number {
  return Date.parse(`${date} UTC`);
}

/** The flights as records; with `all`, 200,000 more that tell neither airport nor date. */
export async function readInputs(all: boolean): Promise<Input[]> {
  const inputs: Input[] = (await readFlights()).map((flight) => ({
    key: flight.origin,
    value: { ...flight },
    timestamp: timeOf(flight),
  }));
  if (!all) return inputs;
  const more = JSON.parse(await readFile(join(FOLDER, 'flights-200k.json'), 'utf8')) as Record<string, unknown>[];
  return inputs.concat(more.map((value) => ({ key: null, value })));
}
