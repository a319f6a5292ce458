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
  #namesListedAtMs = Number.NEGATIVE_INFINITY;
  #listings = 0;
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

  /** How often all topics were listed so far; see `byId`. */
  get listings(): number {
    return this.#listings;
  }

  /**
   * The topic with this id, or `undefined` if there is none any more. From memory, else 1 Query for every 500 topics, at
   * most four a second, and 1 GetItem: a topic that was made since the last listing may not be found yet. With
   * `listings` as it was when the id was seen, `undefined` is certain: a listing has begun since, or begins now.
   */
  async byId(topicId: string, listings?: number): Promise<Topic | undefined> {
    if (!this.#names.has(topicId)) await this.#listNames(this.#listings === listings);
    const name = this.#names.get(topicId);
    if (name === undefined) return undefined;
    try {
      const topic = await this.get(name);
      if (topic.topicId === topicId) return topic;
    } catch (error) {
      if (!(error instanceof EventLogError) || error.code !== 'unknown_topic') throw error;
    }
    this.#names.delete(topicId);
    return undefined;
  }

  /**
   * The name of the topic with this id; `undefined` if there is none any more. An id keeps its name, so this is from memory,
   * or 1 Query for every 500 topics, at most four a second. It may still give the name of a topic that was deleted.
   */
  async nameOf(topicId: string): Promise<string | undefined> {
    if (!this.#names.has(topicId)) await this.#listNames(false);
    return this.#names.get(topicId);
  }

  async #listNames(isNeeded: boolean): Promise<void> {
    const nowMs = this.#clock.nowMs();
    const age = nowMs - this.#namesListedAtMs;
    if (!isNeeded && age >= 0 && age < this.#queries * LISTED_EVERY_MS_PER_QUERY) return;
    this.#listings++;
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
    this.#namesListedAtMs = nowMs;
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
