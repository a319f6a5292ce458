import type { Random } from '../../../storage/ports.ts';
import { FetchSession } from './fetch-session.ts';

/** Unused for so long, a session makes room for a new one. As Kafka's min.incremental.fetch.session.eviction.ms. */
const STALE_AFTER_MS = 120_000;
/** Clients have one. Without a limit, one that asks for a new session each time would take all memory. */
const OF_ONE_OWNER_MAX = 8;
/**
 * As many as one request can name. A request of some bytes reads all partitions of its session, so there must be a limit.
 */
const PARTITIONS_OF_ONE_MAX = 200_000;
const SESSION_ID_MAX = 0x7fff_ffff;

/**
 * The fetch sessions of one gateway, within a budget of bytes. A session belongs to a connection: nobody else can use it, and it
 * ends with the connection. Any session may be gone when its client comes back; the client then begins a new one.
 */
export class FetchSessions {
  readonly #bytesMax: number;
  readonly #random: Random;
  /** Those used last are last. */
  readonly #sessions = new Map<number, Owned>();
  readonly #ofOwner = new Map<object, Set<number>>();
  #bytes = 0;

  constructor(bytesMax: number, random: Random) {
    this.#bytesMax = bytesMax;
    this.#random = random;
  }

  /** Of all sessions. */
  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#sessions.size;
  }

  /** The session, if it belongs to the owner. */
  find(owner: object, id: number): FetchSession | undefined {
    const found = this.#sessions.get(id);
    return found?.owner === owner ? found.session : undefined;
  }

  /** A new session, filled by `fill`; `undefined` if there is no room. */
  begin(
    owner: object,
    { usesTopicIds, nowMs, fill }: { usesTopicIds: boolean; nowMs: number; fill: (session: FetchSession) => void },
  ): FetchSession | undefined {
    const session = new FetchSession(this.#freeId(), usesTopicIds, nowMs);
    fill(session);
    const own = this.#ofOwner.get(owner);
    if (own !== undefined && own.size >= OF_ONE_OWNER_MAX) this.#drop(own.values().next().value as number);
    return this.#keep(owner, session, nowMs) ? session : undefined;
  }

  /** Notes that a session was used and may have grown. `false` if there is no room for it any longer: it is gone then. */
  used(owner: object, session: FetchSession, nowMs: number): boolean {
    this.#drop(session.id);
    return this.#keep(owner, session, nowMs);
  }

  end(owner: object, id: number): void {
    if (this.find(owner, id) !== undefined) this.#drop(id);
  }

  /** Ends all sessions of an owner that is gone. */
  endAllOf(owner: object): void {
    for (const id of [...(this.#ofOwner.get(owner) ?? [])]) this.#drop(id);
  }

  #keep(owner: object, session: FetchSession, nowMs: number): boolean {
    const { id, bytes, size } = session;
    if (size > PARTITIONS_OF_ONE_MAX || !this.#makeRoom(bytes, nowMs)) return false;
    session.lastUsedMs = nowMs;
    this.#sessions.set(id, { session, owner, bytes });
    this.#bytes += bytes;
    const own = this.#ofOwner.get(owner);
    if (own === undefined) this.#ofOwner.set(owner, new Set([id]));
    else own.add(id);
    return true;
  }

  /** Ends sessions that nobody has used for long, the oldest first, as far as it must. */
  #makeRoom(bytes: number, nowMs: number): boolean {
    if (bytes > this.#bytesMax) return false;
    for (const { session } of this.#sessions.values()) {
      if (this.#bytes + bytes <= this.#bytesMax || nowMs - session.lastUsedMs <= STALE_AFTER_MS) break;
      this.#drop(session.id);
    }
    return this.#bytes + bytes <= this.#bytesMax;
  }

  #drop(id: number): void {
    const found = this.#sessions.get(id);
    if (found === undefined) return;
    this.#sessions.delete(id);
    this.#bytes -= found.bytes;
    const own = this.#ofOwner.get(found.owner) as Set<number>;
    own.delete(id);
    if (own.size === 0) this.#ofOwner.delete(found.owner);
  }

  /** Random, so that a client that comes from another gateway does not name a session of its own here by chance. */
  #freeId(): number {
    for (;;) {
      const { buffer, byteOffset } = this.#random.bytes(4);
      const id = new DataView(buffer, byteOffset).getUint32(0) & SESSION_ID_MAX;
      if (id !== 0 && !this.#sessions.has(id)) return id;
    }
  }
}

interface Owned {
  readonly session: FetchSession;
  readonly owner: object;
  /** As counted in the sum of all. */
  readonly bytes: number;
}
