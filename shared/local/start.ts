import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import type { JwtSettings } from '../access/jwt.ts';
import { Broker } from '../broker/broker.ts';
import { type BrokerSettings, DEFAULT_SETTINGS } from '../broker/settings.ts';
import { createHttpApp } from '../http/app.ts';
import { checkAllowedHosts, checkAllowedOrigins } from '../http/request/cors.ts';
import { invalidField } from '../log/errors.ts';
import { openDataFolder } from '../storage/file/data-folder.ts';
import { createUrlSigner, type UrlSigner, type UrlVerifier } from '../storage/file/url-signer.ts';
import { SEGMENT_OBJECTS } from '../storage/keys.ts';
import { MemoryItemStore } from '../storage/memory/item-store.ts';
import { MemoryObjectStore } from '../storage/memory/object-store.ts';
import type { ExpiringItems, ItemStore, ObjectStore } from '../storage/ports.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';
import { VERSION } from '../version.ts';
import { closeInTime } from './close-in-time.ts';
import { LocalHttpServer } from './http-server.ts';
import { JobTimers } from './jobs/job-timers.ts';
import { removeExpired } from './jobs/remove-expired.ts';
import { checkIntervals, type JobIntervals, timedJobs } from './jobs/timed-jobs.ts';
import { checkKafkaAccess, checkKafkaGroups, type KafkaListener, type KafkaOptions, listenForKafka } from './kafka.ts';
import { KnownLags, KnownTransactions, processMetrics } from './process-metrics.ts';

export interface TailraceOptions {
  /** Keep everything in memory: nothing is written, and all is gone at the end. Default false. */
  readonly memory?: boolean;
  /** Where records are kept; made if it isn't there. One process at a time. Default `./.tailrace`. */
  readonly dataFolder?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** The address to listen on, or a name of one. Default 127.0.0.1. */
  readonly host?: string;
  /**
   * The process is Tailrace's own: its HTTP server may replace the global Request and Response by lighter ones, which
   * makes small requests a third cheaper. Default false.
   */
  readonly ownProcess?: boolean;
  /**
   * Whether requests need an API key. Default: with `jwt`, and at any address but those of this machine itself (127.0.0.1
   * and its like), where nothing is ever open to all. The first key is made by `broker.createApiKey`, or
   * `npm start -- --make-key`.
   */
  readonly keys?: boolean;
  /** Tokens of this issuer are accepted too. Default: none. */
  readonly jwt?: JwtSettings;
  /**
   * Origins whose web pages may use the server besides its own, such as `http://localhost:5173`, as browsers send them:
   * scheme, host, and the port unless it is the scheme's own. `*` allows all, and needs `keys`. Default: none.
   */
  readonly allowedOrigins?: readonly string[];
  /**
   * Host names under which the server answers, besides those of this machine itself: for a proxy before it, say. Default:
   * none if it listens on this machine only, otherwise any.
   */
  readonly allowedHosts?: readonly string[];
  /**
   * How often each job runs, in milliseconds from the end of a run to the beginning of the next; `false`: never, so that
   * nothing is merged and removed but by `broker`. Default: `DEFAULT_JOB_INTERVALS`.
   */
  readonly jobs?: false | Partial<JobIntervals>;
  /** Listen for Kafka's clients too. Default: no. */
  readonly kafka?: KafkaOptions;
}

export interface Tailrace {
  /** Where the HTTP API answers, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Where Kafka's clients connect, such as `127.0.0.1:9092`; `undefined` without `kafka`. */
  readonly bootstrapServers: string | undefined;
  /** Whether requests need an API key. */
  readonly keys: boolean;
  /** The log itself, in this process, without HTTP. */
  readonly broker: Broker;
  /**
   * Ends live tails and long polls, answers the requests under way, refuses new ones (`shutting_down`), settles the appends
   * that were accepted, and lets go of port and folder: all within five seconds. What takes longer is cut off, and an
   * append that was cut off was not acknowledged. May be called again; every call waits for the same end.
   * @throws EventLogError `storage_unavailable` if the folder could not be let go of in time
   */
  close(): Promise<void>;
}

export const DEFAULT_DATA_FOLDER = './.tailrace';
const LOOPBACK = '127.0.0.1';

/**
 * One process has its files to itself: nobody else appends, so a head that was read stays known, and waiting reads need
 * not look for others' appends. SQLite takes larger values well, and one sync serves all writes of a moment.
 */
const EMBEDDED_SETTINGS: Partial<BrokerSettings> = {
  inlineBytesMax: 256 * 1024,
  groupsWritingMax: 2,
  // Several files of a megabyte are synced faster side by side than one of several.
  fullGroupsWritingMax: 8,
  groupBytesMax: 1024 * 1024,
  // The system caches files as well.
  cacheBytesMax: 32 * 1024 * 1024,
  // A request costs nothing here.
  chunkBytesMax: 2 * 1024 * 1024,
  // But each one wakes a thread three times, which costs more than copying so much.
  wholeDataBytesMax: 1024 * 1024,
  headCacheMs: 3_600_000,
  topicCacheMs: 60_000,
  pollIntervalMs: undefined,
  // SQLite's lock on the folder ensures it, and files and SQLite do nothing after the end of their process.
  isOnlyProcess: true,
  // Work of about half a millisecond. With these rests the p99 of appends hardly rises during a merge (`npm run bench`).
  jobStepBytes: 1024 * 1024,
  jobRestMs: 2,
  // A member that starts alone should not wait for others, as in most setups for development.
  initialRebalanceDelayMs: 0,
};

interface Storage {
  readonly objects: ObjectStore;
  readonly items: ItemStore & ExpiringItems;
  readonly signer: UrlSigner & UrlVerifier;
  close(): Promise<void>;
}

/**
 * Starts the whole log in this process: storage, broker and HTTP API. Acknowledged records survive the end of the
 * process, however it ends, and a power cut, unless `memory` is set.
 * @throws EventLogError `data_folder_unusable` (in use, of another format, not writable), `invalid_request` (port; host;
 * `keys: false` with an address that others reach, or with `jwt`; an origin or host name that is none; an interval of a job; `kafka.tls`,
 * `kafka.mechanisms`, the sessions and the migration policy of `kafka`)
 */
export async function startTailrace(options: TailraceOptions = {}): Promise<Tailrace> {
  const { port = 0, host = LOOPBACK } = options;
  if (!Number.isSafeInteger(port) || port < 0 || port > 65_535)
    throw invalidField('port', 'A port is a whole number from 0 to 65535.');
  const address = await addressOf(host);
  const isLocal = isLoopback(address);
  const keys = options.keys ?? (!isLocal || options.jwt !== undefined);
  if (!keys && !isLocal)
    throw invalidField(
      'keys',
      `Others reach ${host}: to listen there, requests must need keys. Leave out \`keys: false\`.`,
    );
  if (!keys && options.jwt !== undefined)
    throw invalidField('keys', 'With `jwt` requests need a token or a key. Leave out `jwt`, or `keys: false`.');
  const { allowedOrigins = [], allowedHosts = isLocal ? [] : undefined } = options;
  checkAllowedOrigins(allowedOrigins, 'allowedOrigins', { needCredentials: keys });
  checkAllowedHosts(allowedHosts ?? [], 'allowedHosts');
  checkIntervals(options.jobs);
  const listenerAccess = { keys, isLocal, jwt: options.jwt };
  if (options.kafka !== undefined) {
    checkKafkaAccess(options.kafka, listenerAccess);
    checkKafkaGroups(options.kafka);
  }
  let url = '';
  const baseUrl = (): string => url;
  const stopping = new AbortController();
  // Segments are written by jobs, which appends must not wait for.
  const slowly = { prefix: SEGMENT_OBJECTS, clock: systemClock, hurry: stopping.signal };
  const storage = options.memory
    ? memoryStorage(baseUrl)
    : await openDataFolder(options.dataFolder ?? DEFAULT_DATA_FOLDER, { baseUrl, slowly });
  let kafka: KafkaListener | undefined;
  try {
    const { groupMigrationPolicy = DEFAULT_SETTINGS.groupMigrationPolicy } = options.kafka ?? {};
    const settings = { ...EMBEDDED_SETTINGS, groupMigrationPolicy };
    const broker = new Broker({ ...storage, clock: systemClock, random: systemRandom, settings });
    const known = { lags: new KnownLags(), transactions: new KnownTransactions() };
    const jobs = new JobTimers({
      jobs: timedJobs(broker, known, options.jobs),
      clock: systemClock,
      onError: (job, error) => console.error(`The job ${job} failed, and will be tried again:`, error),
    });
    const app = createHttpApp({
      processMetrics: () => processMetrics(jobs.statuses(), known),
      broker,
      clock: systemClock,
      random: systemRandom,
      stopping: stopping.signal,
      // On the loopback interface it answers to no name but its own, whatever names are pointed at this machine.
      settings: { version: VERSION, allowedOrigins, allowedHosts },
      access: keys ? { mode: 'authenticated', apiKeys: true, jwt: options.jwt } : { mode: 'open' },
      onError: (error, requestId) => console.error(`Request ${requestId} failed:`, error),
      signedObjects: { verify: storage.signer.verify, get: (key, range) => storage.objects.get(key, range) },
    });
    const server = new LocalHttpServer({ fetch: app.fetch, ownProcess: options.ownProcess ?? false });
    kafka =
      options.kafka &&
      (await listenForKafka({
        broker,
        host: address,
        options: options.kafka,
        access: listenerAccess,
        stopping: stopping.signal,
      }));
    // What was looked up is what is listened on: a second look could find another address.
    url = await server.listen(port, address);
    void removeExpired({
      items: storage.items,
      clock: systemClock,
      stopping: stopping.signal,
      onError: (error) => console.error('Expired items were not removed:', error),
    });
    jobs.start();
    let closing: Promise<void> | undefined;
    const close = (): Promise<void> => {
      stopping.abort();
      const jobsEnd = jobs.stop();
      return closeInTime(systemClock, {
        finishRequests: async () => {
          await Promise.all([server.finish(), kafka?.server.finish()]);
        },
        cutRequests: () => {
          server.cut();
          kafka?.server.cut();
        },
        finishAppends: async () => {
          await Promise.all([broker.close(), jobsEnd]);
        },
        closeStorage: () => storage.close(),
      });
    };
    return {
      url,
      bootstrapServers: kafka?.bootstrapServers,
      keys,
      broker,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    // Kafka's clients may be connected already.
    stopping.abort();
    const finished = kafka?.server.finish();
    kafka?.server.cut();
    await finished;
    await storage.close();
    throw error;
  }
}

/** @throws EventLogError `invalid_request` */
async function addressOf(host: string): Promise<string> {
  if (isIP(host) !== 0) return host;
  try {
    const { address } = await lookup(host);
    if (isIP(address) !== 0) return address;
  } catch {}
  throw invalidField('host', `There is no address of the name '${host}' to listen on.`);
}

/** The addresses that nobody but this machine reaches. */
const LOOPBACK_ADDRESSES = new BlockList();
LOOPBACK_ADDRESSES.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK_ADDRESSES.addAddress('::1', 'ipv6');

function isLoopback(address: string): boolean {
  return LOOPBACK_ADDRESSES.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

function memoryStorage(baseUrl: () => string): Storage {
  const signer = createUrlSigner({ secret: systemRandom.bytes(32), baseUrl });
  return {
    objects: new MemoryObjectStore({ signer }),
    items: new MemoryItemStore({ putsBeside: true }),
    signer,
    close: async () => {},
  };
}
