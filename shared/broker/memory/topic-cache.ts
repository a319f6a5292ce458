import { EventLogError } from '../../log/errors.ts';
import type { Topic } from '../../log/topic/topic.ts';
import type { TopicConfig } from '../../log/topic/topic-config.ts';
import { TOPIC, TOPICS, topicKey } from '../../storage/keys.ts';
import type { Attributes, Clock } from '../../storage/ports.ts';
import { noRequests } from '../usage/request-counts.ts';
import { NO_TOPIC, type UsageMeter } from '../usage/usage-meter.ts';

const NAMES_PER_QUERY = 500;
/** Unknown ids, which anyone can make up, cause no more than four queries a second. */
const LISTED_EVERY_MS_PER_QUERY = 250;

/** Topics are dropped from memory beyond this many; the oldest read go first. */
const TOPICS_KEPT_MAX = 10_000;

/**
 * Topics as they were read a short while ago. Never trusted for correctness: the heads of a deleted topic are closed, so
 * an append to one that is remembered wrongly is refused, and the topic is read again.
 */
export class TopicCache {
  readonly #usage: UsageMeter;
  readonly #clock: Clock;
  readonly #lifetimeMs: number;
  readonly #kept = new Map<string, KeptTopic>();
  /** Reads under way, which all who ask meanwhile share. */
  readonly #reading = new Map<string, Promise<Topic>>();
  /** Reads are numbered in the order in which they begin. */
  #reads = 0;
  /** The newest read that had begun when something was last forgotten. What it and older ones find may be outdated. */
  #lastOutdated = 0;
  /** Topic id -> name. */
  #names = new Map<string, string>();
  /** Ids of topics that are gone. None comes back. */
  readonly #gone = new Set<string>();
  /** Listings are numbered in the order in which they begin. One ends before the next begins. */
  #listings = 0;
  /** The newest that has ended: the names are at least as new as its beginning. */
  #listed = 0;
  #listing: Promise<void> | undefined;
  #listedAtMs = Number.NEGATIVE_INFINITY;
  /** Of the last listing. */
  #queries = 0;

  constructor(usage: UsageMeter, clock: Clock, lifetimeMs: number) {
    this.#usage = usage;
    this.#clock = clock;
    this.#lifetimeMs = lifetimeMs;
  }

  /** From memory while it is fresh, else 1 GetItem. @throws EventLogError `unknown_topic` */
  async get(name: string): Promise<Topic> {
    // First, so that nobody passes those who wait for it, not even if the clock is set back: appends keep their order.
    const under = this.#reading.get(name);
    if (under !== undefined) return under;
    const kept = this.#kept.get(name);
    const age = kept === undefined ? Number.POSITIVE_INFINITY : this.#clock.nowMs() - kept.readAtMs;
    if (kept !== undefined && age >= 0 && age < this.#lifetimeMs) return kept.topic;
    const reading = this.refresh(name).finally(() => {
      if (this.#reading.get(name) === reading) this.#reading.delete(name);
    });
    this.#reading.set(name, reading);
    return reading;
  }

  /** 1 GetItem. @throws EventLogError `unknown_topic` */
  async refresh(name: string): Promise<Topic> {
    const read = ++this.#reads;
    const readAtMs = this.#clock.nowMs();
    const counts = noRequests();
    const { attributes } = await this.#usage.into(counts).items.get(topicKey(name));
    // Names that are asked for and don't exist must not fill the table of what is counted.
    this.#usage.add(attributes === undefined ? NO_TOPIC : name, 'admin', counts, 1);
    if (attributes === undefined || attributes[TOPIC.deleting] !== undefined) {
      this.#kept.delete(name);
      throw unknownTopic(name);
    }
    const topic = topicFromAttributes(name, attributes);
    this.#names.set(topic.topicId, name);
    this.#keep(name, { topic, readAtMs, read });
    return topic;
  }

  /** How many listings of all topics have begun so far; see `byId`. */
  get listings(): number {
    return this.#listings;
  }

  /**
   * The topic with this id, or `undefined` if there is none any more. From memory, else 1 Query for every 500 topics, at
   * most four a second, and 1 or 2 GetItems: a topic that was made since the last listing may not be found yet.
   *
   * With `listings` as it was after the id was read from an item, `undefined` is certain: a listing that began later has ended.
   * If none has, one begins at once, and all share it. An id that is gone is remembered, so it causes no other listing.
   */
  async byId(topicId: string, listings?: number): Promise<Topic | undefined> {
    return this.#withId(topicId, await this.#findName(topicId, listings, false));
  }

  /**
   * As `byId` with `listings`, for an id that a client has given, and may have made up: the listing waits its turn, so
   * that such ids cause no more than four queries a second.
   */
  async byGivenId(topicId: string, listings: number): Promise<Topic | undefined> {
    return this.#withId(topicId, await this.#findName(topicId, listings, true));
  }

  /**
   * The name of the topic with this id; `undefined` if there is none any more, which is certain: see `byId`. An id keeps its
   * name, so this is from memory, or 1 Query for every 500 topics. It may still give the name of a topic that was deleted.
   */
  nameOf(topicId: string, listings: number): Promise<string | undefined> {
    return this.#findName(topicId, listings, false);
  }

  async #withId(topicId: string, name: string | undefined): Promise<Topic | undefined> {
    if (name === undefined || this.#gone.has(topicId)) return undefined;
    let topic = await unlessUnknown(this.get(name));
    // What is kept, or is being read, may be older than the topic.
    if (topic?.topicId !== topicId) topic = await unlessUnknown(this.refresh(name));
    if (topic?.topicId === topicId) return topic;
    this.#noteGone(topicId);
    return undefined;
  }

  async #findName(topicId: string, listings: number | undefined, isGiven: boolean): Promise<string | undefined> {
    const isOpen = (): boolean => !this.#names.has(topicId) && !this.#gone.has(topicId);
    if (listings === undefined) {
      if (isOpen() && this.#msUntilListing() === 0) await this.#list();
      return this.#names.get(topicId);
    }
    // A listing under way that began too early is waited for too: it may have the id, and all who wait share the next.
    while (isOpen() && this.#listed <= listings) {
      const waitMs = isGiven ? this.#msUntilListing() : 0;
      await (waitMs > 0 ? this.#clock.sleep(waitMs) : this.#list());
    }
    if (isOpen()) this.#noteGone(topicId);
    return this.#names.get(topicId);
  }

  #noteGone(topicId: string): void {
    this.#names.delete(topicId);
    this.#gone.add(topicId);
    if (this.#gone.size > TOPICS_KEPT_MAX) this.#gone.delete(this.#gone.keys().next().value as string);
  }

  /** How long ids that may be made up wait for a listing; 0 if one is under way. */
  #msUntilListing(): number {
    const ageMs = this.#clock.nowMs() - this.#listedAtMs;
    if (this.#listing !== undefined || ageMs < 0) return 0;
    return Math.max(0, this.#queries * LISTED_EVERY_MS_PER_QUERY - ageMs);
  }

  /** The listing under way, or a new one. */
  #list(): Promise<void> {
    this.#listing ??= this.#listNames().finally(() => {
      this.#listing = undefined;
    });
    return this.#listing;
  }

  async #listNames(): Promise<void> {
    const listing = ++this.#listings;
    const nowMs = this.#clock.nowMs();
    let queries = 0;
    const { items } = this.#usage.of(NO_TOPIC, 'maintain');
    const names = new Map<string, string>();
    for (let from = '', more = true; more; ) {
      const page = await items.query({ pk: TOPICS, from, limit: NAMES_PER_QUERY });
      queries++;
      for (const { sk, attributes } of page.items) names.set(String(attributes[TOPIC.topicId]), sk);
      from = `${page.items.at(-1)?.sk}\0`;
      more = page.more;
    }
    this.#names = names;
    this.#listed = listing;
    this.#listedAtMs = nowMs;
    this.#queries = queries;
  }

  /** Forgets a topic that this process has changed or deleted. A read under way may have come too early: it is not kept. */
  forget(name: string): void {
    this.#lastOutdated = this.#reads;
    this.#kept.delete(name);
    this.#reading.delete(name);
  }

  #keep(name: string, found: KeptTopic): void {
    const isOlder = found.read < (this.#kept.get(name)?.read ?? 0);
    if (isOlder || found.read <= this.#lastOutdated) return;
    this.#kept.delete(name);
    this.#kept.set(name, found);
    if (this.#kept.size > TOPICS_KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value as string);
  }
}

interface KeptTopic {
  readonly topic: Topic;
  readonly readAtMs: number;
  readonly read: number;
}

/** The topic that is being read; `undefined` if there is none. */
export async function unlessUnknown(reading: Promise<Topic>): Promise<Topic | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof EventLogError && error.code === 'unknown_topic') return undefined;
    throw error;
  }
}

export function unknownTopic(name: string): EventLogError {
  return new EventLogError('unknown_topic', `There is no topic '${name}'.`, { details: { topic: name } });
}

export function topicFromAttributes(name: string, attributes: Attributes): Topic {
  const producersBefore = attributes[TOPIC.producersBefore];
  return {
    name,
    topicId: String(attributes[TOPIC.topicId]),
    partitions: Number(attributes[TOPIC.partitions]),
    partitionsPerHead: Number(attributes[TOPIC.partitionsPerHead]),
    config: JSON.parse(String(attributes[TOPIC.config])) as TopicConfig,
    createdAtMs: Number(attributes[TOPIC.createdAtMs]),
    ...(producersBefore === undefined ? {} : { producersBefore: Number(producersBefore) }),
  };
}

export function topicToAttributes(topic: Topic): Attributes {
  return {
    [TOPIC.topicId]: topic.topicId,
    [TOPIC.partitions]: topic.partitions,
    [TOPIC.partitionsPerHead]: topic.partitionsPerHead,
    [TOPIC.config]: JSON.stringify(topic.config),
    [TOPIC.createdAtMs]: topic.createdAtMs,
    ...(topic.producersBefore === undefined ? {} : { [TOPIC.producersBefore]: topic.producersBefore }),
  };
}
