import { EventLog } from '../../../shared/client/event-log.ts';
import { HttpLog } from '../../../shared/client/http-log.ts';
import type { LogApi } from '../../../shared/client/log-api.ts';
import type { ProducerOptions } from '../../../shared/client/produce/settings.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { type MemoryApp, memoryApp } from '../../support/memory-app.ts';
import { SeededRandom } from '../../support/memory-broker.ts';
import { SimulatedClock } from '../../support/simulated-clock.ts';

/** `before`: the request never arrives. `after`: its reply is lost. `twice`: it arrives twice. `late`: long after it was given up. */
export type Fault = 'before' | 'after' | 'twice' | 'late' | 'throttled' | undefined;

export interface ClientLog {
  readonly app: MemoryApp;
  readonly clock: SimulatedClock;
  readonly api: LogApi;
  /** The fault of the next attempts of appends. */
  fault: (attempt: number, request: Parameters<LogApi['append']>[0]) => Fault;
  /** What happens around a request of a group's member. */
  around: <T>(what: 'poll' | 'extend' | 'leave', run: () => Promise<T>) => Promise<T>;
  /** The fault of the next requests of transactions. */
  transactionFault: (request: TransactionRequest, attempt: number) => Fault;
  attempts: number;
  /** The appends that are on their way at this moment, and the most there were. */
  inFlight: number;
  inFlightMost: number;
  readonly log: (options?: ProducerOptions) => EventLog;
}

export type TransactionRequest = 'begin' | 'records' | 'offsets' | 'committed' | 'aborted';

export type Transport = 'embedded' | 'http';

/** A real broker over memory, used as it is or over its real HTTP API, with faults of the network before it. */
export function clientLog(transport: Transport, seed = 1): ClientLog {
  const clock = new SimulatedClock();
  const app = memoryApp({ clock });
  const random = new SeededRandom(seed);
  const http = new HttpLog({
    url: 'http://localhost',
    fetch: async (url, init) => app.app.fetch(new Request(String(url), { ...init, duplex: 'half' } as RequestInit)),
  });
  const inner: LogApi = transport === 'http' ? http : app.broker;
  let requests = 0;
  const transactional = <T>(what: TransactionRequest, run: () => Promise<T>): Promise<T> =>
    faulty(clock, made.transactionFault(what, requests++), run);
  const made: ClientLog = {
    app,
    clock,
    fault: () => undefined,
    around: (_what, run) => run(),
    transactionFault: () => undefined,
    attempts: 0,
    inFlight: 0,
    inFlightMost: 0,
    api: {
      describeTopic: (name, options) => inner.describeTopic(name, options),
      allocateProducerId: (options) => inner.allocateProducerId(options),
      readRecords: (request) => inner.readRecords(request),
      pollRecords: (request) => made.around('poll', () => inner.pollRecords(request)),
      extendLease: (request) => made.around('extend', () => inner.extendLease(request)),
      leaveGroup: (request) => made.around('leave', () => inner.leaveGroup(request)),
      initialiseProducer: (request) => transactional('begin', () => inner.initialiseProducer(request)),
      appendRecordsInTransaction: (request) =>
        transactional('records', () => inner.appendRecordsInTransaction(request)),
      commitOffsetsInTransaction: (request) =>
        transactional('offsets', () => inner.commitOffsetsInTransaction(request)),
      endTransaction: (request) => transactional(request.outcome, () => inner.endTransaction(request)),
      append: async (request) => {
        const fault = made.fault(made.attempts++, request);
        made.inFlight++;
        made.inFlightMost = Math.max(made.inFlightMost, made.inFlight);
        try {
          return await faulty(clock, fault, () => inner.append(request));
        } finally {
          made.inFlight--;
        }
      },
    },
    log: (producer) => new EventLog(made.api, { clock, random, ...(producer === undefined ? {} : { producer }) }),
  };
  return made;
}

async function faulty<T>(clock: SimulatedClock, fault: Fault, append: () => Promise<T>): Promise<T> {
  await clock.sleep(5);
  const lost = new EventLogError('storage_unavailable', 'Injected: no reply.');
  if (fault === 'throttled') throw new EventLogError('throttled', 'Injected: throttled.');
  if (fault === 'before') throw lost;
  if (fault === 'late') {
    void clock
      .sleep(700)
      .then(append)
      .catch(() => {});
    throw lost;
  }
  const outcomes = await append();
  if (fault === 'after') throw lost;
  return fault === 'twice' ? append() : outcomes;
}
