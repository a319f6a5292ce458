import { lookup } from 'node:dns/promises';
import type { Server } from 'node:http';
import { type AddressInfo, BlockList, isIP, type Socket } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { Broker } from '../broker/broker.ts';
import type { BrokerSettings } from '../broker/settings.ts';
import { createHttpApp } from '../http/app.ts';
import { EventLogError, invalidField } from '../log/errors.ts';
import { openDataFolder } from '../storage/file/data-folder.ts';
import { createUrlSigner, type UrlSigner, type UrlVerifier } from '../storage/file/url-signer.ts';
import { MemoryItemStore } from '../storage/memory/item-store.ts';
import { MemoryObjectStore } from '../storage/memory/object-store.ts';
import type { ItemStore, ObjectStore } from '../storage/ports.ts';
import { systemClock } from '../storage/system/clock.ts';
import { systemRandom } from '../storage/system/random.ts';
import { VERSION } from './version.ts';

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
   * Whether requests need an API key. Default: at any address but those of this machine itself (127.0.0.1 and its like),
   * where nothing is ever open to all. The first key is made by `broker.createApiKey`, or `npm start -- --make-key`.
   */
  readonly keys?: boolean;
}

export interface Tailrace {
  /** Where the HTTP API answers, such as `http://127.0.0.1:8080`. */
  readonly url: string;
  /** Whether requests need an API key. */
  readonly keys: boolean;
  /** The log itself, in this process, without HTTP. */
  readonly broker: Broker;
  /** Takes nothing new, finishes what was begun within five seconds, and lets go of port and folder. */
  close(): Promise<void>;
}

export const DEFAULT_DATA_FOLDER = './.tailrace';
const LOOPBACK = '127.0.0.1';
const CLOSE_MS = 5_000;
const CLOSE_REQUESTS_MS = 4_000;
const CLOSE_LOOK_MS = 20;

/**
 * One process has its files to itself: nobody else appends, so a head that was read stays known, and waiting reads need
 * not look for others' appends. SQLite takes larger values well, and one sync serves all writes of a moment.
 */
const EMBEDDED_SETTINGS: Partial<BrokerSettings> = {
  inlineBytesMax: 64 * 1024,
  groupsWritingMax: 2,
  // Several files of a megabyte are synced faster side by side than one of several.
  fullGroupsWritingMax: 8,
  groupBytesMax: 1024 * 1024,
  headCacheMs: 3_600_000,
  topicCacheMs: 60_000,
  pollIntervalMs: undefined,
};

interface Storage {
  readonly objects: ObjectStore;
  readonly items: ItemStore;
  readonly signer: UrlSigner & UrlVerifier;
  close(): Promise<void>;
}

/**
 * Starts the whole log in this process: storage, broker and HTTP API. Acknowledged records survive the end of the
 * process, however it ends, and a power cut, unless `memory` is set.
 * @throws EventLogError `data_folder_unusable` (in use, of another format, not writable), `invalid_request` (port; host;
 * `keys: false` with an address that others reach)
 */
export async function startTailrace(options: TailraceOptions = {}): Promise<Tailrace> {
  const { port = 0, host = LOOPBACK } = options;
  if (!Number.isSafeInteger(port) || port < 0 || port > 65_535)
    throw invalidField('port', 'A port is a whole number from 0 to 65535.');
  const address = await addressOf(host);
  const isLocal = isLoopback(address);
  const keys = options.keys ?? !isLocal;
  if (!keys && !isLocal)
    throw invalidField(
      'keys',
      `Others reach ${host}: to listen there, requests must need keys. Leave out \`keys: false\`.`,
    );
  let url = '';
  const baseUrl = (): string => url;
  const storage = options.memory
    ? memoryStorage(baseUrl)
    : await openDataFolder(options.dataFolder ?? DEFAULT_DATA_FOLDER, { baseUrl });
  try {
    const broker = new Broker({ ...storage, clock: systemClock, random: systemRandom, settings: EMBEDDED_SETTINGS });
    const stopping = new AbortController();
    const app = createHttpApp({
      broker,
      clock: systemClock,
      random: systemRandom,
      stopping: stopping.signal,
      // On the loopback interface it answers to loopback names alone, whatever names are pointed at this machine.
      settings: { version: VERSION, ...(isLocal ? { allowedHosts: [] } : {}) },
      access: keys ? { mode: 'authenticated', apiKeys: true } : { mode: 'open' },
      onError: (error, requestId) => console.error(`Request ${requestId} failed:`, error),
      signedObjects: { verify: storage.signer.verify, get: (key, range) => storage.objects.get(key, range) },
    });
    const server = createAdaptorServer({
      fetch: app.fetch,
      overrideGlobalObjects: options.ownProcess ?? false,
    }) as Server;
    // What was looked up is what is listened on: a second look could find another address.
    await listen(server, port, address);
    const bound = server.address() as AddressInfo;
    url = `http://${bound.family === 'IPv6' ? `[${bound.address}]` : bound.address}:${bound.port}`;
    const sockets = trackSockets(server);
    let closing: Promise<void> | undefined;
    const close = async (): Promise<void> => {
      stopping.abort();
      await closeServer(server, sockets);
      await Promise.race([broker.close(), systemClock.sleep(CLOSE_MS)]);
      await storage.close();
    };
    return {
      url,
      keys,
      broker,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
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
  return { objects: new MemoryObjectStore({ signer }), items: new MemoryItemStore(), signer, close: async () => {} };
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === 'EADDRINUSE';
      const what = taken
        ? `Port ${port} of ${host} is taken. Choose another with --port, or 0 for any free one.`
        : `Can't listen on ${host}:${port}: ${cause.message}.`;
      reject(new EventLogError('invalid_request', what, { details: { field: taken ? 'port' : 'host' }, cause }));
    });
    server.listen(port, host, resolve);
  });
}

function trackSockets(server: Server): Set<Socket> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  return sockets;
}

/** Lets requests under way finish for a while, then cuts their connections. */
async function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  let open = true;
  const closed = new Promise<void>((resolve) => server.close(() => resolve())).then(() => {
    open = false;
  });
  const endMs = systemClock.nowMs() + CLOSE_REQUESTS_MS;
  while (open && systemClock.nowMs() < endMs) {
    // A connection is idle, and would stay open, once its last answer is out.
    server.closeIdleConnections();
    const pause = new AbortController();
    await Promise.race([closed, systemClock.sleep(CLOSE_LOOK_MS, pause.signal)]);
    pause.abort();
  }
  for (const socket of sockets) socket.destroy();
  await closed;
}
