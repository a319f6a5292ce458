import { Broker } from '../../shared/broker/broker.ts';
import type { BrokerSettings } from '../../shared/broker/settings.ts';
import { createHttpApp } from '../../shared/http/app.ts';
import type { HttpAppComponents, ProcessMetrics } from '../../shared/http/handler.ts';
import { createUrlSigner } from '../../shared/storage/file/url-signer.ts';
import { MemoryItemStore } from '../../shared/storage/memory/item-store.ts';
import { MemoryObjectStore } from '../../shared/storage/memory/object-store.ts';
import type { Clock } from '../../shared/storage/ports.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { SeededRandom } from './memory-broker.ts';

export interface MemoryAppOptions {
  readonly clock?: Clock;
  readonly broker?: Partial<BrokerSettings>;
  readonly http?: Partial<HttpAppComponents>;
}

export interface CallOptions {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** The HTTP API with its own broker, over stores in memory, without a server. */
/** What a process could tell. */
export const PROCESS_METRICS: ProcessMetrics = {
  startedAtMs: 1_700_000_000_500,
  cpuSeconds: 1.25,
  residentBytes: 1_000_000,
  heapUsedBytes: 500_000,
  eventLoopUtilization: 0.5,
  jobs: [
    { name: 'merge', runs: 3, failures: 1, blocked: 2, lastSuccessMs: 1_700_000_001_000 },
    { name: 'new', runs: 0, failures: 0, blocked: 0, lastSuccessMs: undefined },
  ],
  groupLags: [
    { group: 'g"1', totalLagRecords: 12, maxLagMs: 2_500, partitionsWithLag: 3, partitionsWithoutOffset: 4 },
    { group: 'idle', totalLagRecords: 0, maxLagMs: 0, partitionsWithLag: 0, partitionsWithoutOffset: 0 },
  ],
  transactions: { transactionalIds: 7, transactionsOpen: 3, transactionsLate: 1, oldestTransactionMs: 4_500 },
};

export function memoryApp(options: MemoryAppOptions = {}) {
  const clock = options.clock ?? systemClock;
  const signer = createUrlSigner({ secret: new Uint8Array(32), baseUrl: () => 'http://localhost' });
  const objects = new MemoryObjectStore({ signer });
  const items = new MemoryItemStore();
  const random = new SeededRandom(0x5eed);
  const broker = new Broker({
    objects,
    items,
    clock,
    random,
    settings: { pollIntervalMs: undefined, ...options.broker },
  });
  const errors: unknown[] = [];
  const app = createHttpApp({
    broker,
    clock,
    random,
    signedObjects: { verify: signer.verify, get: (key, range) => objects.get(key, range) },
    processMetrics: () => PROCESS_METRICS,
    onError: (error) => errors.push(error),
    ...options.http,
  });
  /** A body that is neither text nor bytes is sent as JSON. */
  const call = (method: string, path: string, { body, headers = {}, signal }: CallOptions = {}): Promise<Response> => {
    const plain = typeof body === 'string' || body instanceof Uint8Array || body instanceof ReadableStream;
    const type: Record<string, string> = body === undefined || plain ? {} : { 'Content-Type': 'application/json' };
    const request = new Request(`http://localhost${path}`, {
      method,
      headers: { ...type, ...headers },
      ...(body === undefined ? {} : { body: (plain ? body : JSON.stringify(body)) as BodyInit, duplex: 'half' }),
      ...(signal === undefined ? {} : { signal }),
    });
    return Promise.resolve(app.fetch(request));
  };
  return { app, broker, objects, items, clock, signer, errors, call };
}

export type MemoryApp = ReturnType<typeof memoryApp>;
