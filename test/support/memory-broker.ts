import type { AppendRecordsRequest, RecordToAppend } from '../../shared/broker/append/outcomes.ts';
import { Broker } from '../../shared/broker/broker.ts';
import type { BrokerSettings } from '../../shared/broker/settings.ts';
import { addCounts, noRequests, type RequestCounts } from '../../shared/broker/usage/request-counts.ts';
import type { Purpose } from '../../shared/broker/usage/usage-meter.ts';
import type { StoredRecord } from '../../shared/log/batch/record.ts';
import { recordsOf } from '../../shared/log/batch/stored-batch.ts';
import { type ErrorCode, EventLogError } from '../../shared/log/errors.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import type { Clock, ItemStore, ObjectStore, Random } from '../../shared/storage/ports.ts';
import { SimulatedClock } from './simulated-clock.ts';

/** A generator that returns the same bytes for the same seed (mulberry32). */
export class SeededRandom implements Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** In [0, 1). */
  next(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  }

  /** A whole number in [0, end). */
  below(end: number): number {
    return Math.floor(this.next() * end);
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

export interface MemoryStores {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
  readonly clock: Clock;
}

export function memoryStores(): { objects: MemoryObjectStore; items: MemoryItemStore; clock: SimulatedClock } {
  return { objects: new MemoryObjectStore(), items: new MemoryItemStore(), clock: new SimulatedClock() };
}

let brokers = 0;

/** Several brokers over the same stores behave like several processes: they share only the stores. */
export function memoryBroker(
  stores: MemoryStores = memoryStores(),
  settings: Partial<BrokerSettings> = {},
  random: Random = new SeededRandom(0x5eed + brokers++),
): Broker {
  return new Broker({ ...stores, random, settings });
}

/** A broker's requests to the stores for one purpose, over all topics. */
export function requestsFor(broker: Broker, purpose: Purpose): RequestCounts {
  const total = noRequests();
  for (const row of broker.usage()) if (row.purpose === purpose) addCounts(total, row.counts);
  return total;
}

export interface ReadAllOptions {
  readonly from?: number;
  readonly maxBytes?: number;
}

/** All records of a partition from an offset on, read by as many reads as are needed. */
export async function readAll(
  broker: Broker,
  topic: string,
  partition: number,
  options: ReadAllOptions = {},
): Promise<StoredRecord[]> {
  const records: StoredRecord[] = [];
  let offset = options.from ?? 0;
  for (;;) {
    const { batches, nextOffset, highWatermark } = await broker.read({
      topic,
      partition,
      from: { offset },
      maxBytes: options.maxBytes,
    });
    for await (const batch of batches) {
      for (const record of recordsOf(batch)) {
        if (record.offset >= offset) records.push(record);
      }
    }
    if (nextOffset >= highWatermark) return records;
    if (nextOffset === offset) throw new Error(`A read at ${offset} returned nothing, below ${highWatermark}.`);
    offset = nextOffset;
  }
}

const UTF8 = new TextEncoder();

export function bytes(text: string): Uint8Array {
  return UTF8.encode(text);
}

export function text(value: Uint8Array | null): string {
  return value === null ? 'null' : new TextDecoder().decode(value);
}

/** A record to append: without key, headers and partition unless they are given. */
export function record(value: string, more: Partial<RecordToAppend> = {}): RecordToAppend {
  return { key: null, value: bytes(value), headers: [], ...more };
}

/** Appends values to a partition as one request; returns the offset of the first value. */
export async function appendTo(
  broker: Broker,
  topic: string,
  partition: number,
  values: readonly string[],
  { key = null, ...options }: Partial<AppendRecordsRequest & Pick<RecordToAppend, 'key'>> = {},
): Promise<number> {
  const records = values.map((value) => record(value, { partition, key }));
  const [first] = await broker.appendRecords({ topic, records, ...options });
  if (first?.ok !== true) throw first?.error;
  return first.offset;
}

/** The values of all records of a partition from an offset on. */
export async function valuesOf(
  broker: Broker,
  topic: string,
  partition: number,
  options: ReadAllOptions = {},
): Promise<string[]> {
  return (await readAll(broker, topic, partition, options)).map((each) => text(each.value));
}

/** The result of the work, or the code of its error. */
export async function codeOf<T>(work: Promise<T>): Promise<T | ErrorCode> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof EventLogError) return error.code;
    throw error;
  }
}
