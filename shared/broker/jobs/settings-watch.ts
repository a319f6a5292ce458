import type { Topic } from '../../log/topic/topic.ts';
import type { TopicConfig } from '../../log/topic/topic-config.ts';
import type { BrokerContext } from '../context.ts';
import { unlessUnknown } from '../memory/topic-cache.ts';
import { retrying } from '../retry.ts';

/** Nobody waits so long for an answer. */
const STOOD_STILL_MS = 60_000;

/**
 * Tells whether a topic has still the settings that a job goes by. Its process may have stood still for hours since it read
 * the topic, as a virtual machine that is paused does, and other settings may have been made meanwhile.
 */
export class SettingsWatch {
  readonly #context: BrokerContext;
  readonly #topic: Topic;
  readonly #isSame: (was: TopicConfig, now: TopicConfig) => boolean;
  #seenAtMs = Number.NEGATIVE_INFINITY;

  constructor(context: BrokerContext, topic: Topic, isSame: (was: TopicConfig, now: TopicConfig) => boolean) {
    this.#context = context;
    this.#topic = topic;
    this.#isSame = isSame;
  }

  /** Whether the topic was seen with the same settings less than a minute ago. */
  get isFresh(): boolean {
    return this.#context.clock.nowMs() - this.#seenAtMs < STOOD_STILL_MS;
  }

  /** Reads the topic again unless `isFresh`: 1 GetItem. Returns false if the settings differ or the topic is gone. */
  async hold(): Promise<boolean> {
    while (!this.isFresh) {
      const askedAtMs = this.#context.clock.nowMs();
      const now = await this.#read();
      if (now?.topicId !== this.#topic.topicId || !this.#isSame(this.#topic.config, now.config)) return false;
      this.#seenAtMs = askedAtMs;
    }
    return true;
  }

  #read(): Promise<Topic | undefined> {
    const { topics } = this.#context;
    return unlessUnknown(retrying(this.#context, 'not_applied', () => topics.refresh(this.#topic.name)));
  }
}
