import type { Subscription } from '../../../../shared/log/group/subscription.ts';
import type { Client } from '../client.ts';

/** What members read. These two are there from the beginning to the end; the first gets more partitions. */
export const GROWING_TOPIC = 'ga';
export const STEADY_TOPIC = 'gb';
export const STEADY_PARTITIONS = 2;

/** A topic that comes and goes: another name each time, so that an offset is never committed for another one. */
export function briefTopic(i: number): string {
  return `gp-${i}`;
}

/** What a member of the run's end subscribes to. */
export const ALL_LASTING: Subscription = { topics: [GROWING_TOPIC, STEADY_TOPIC] };

/** Matches all of them. */
export const PATTERN = 'g.*';

const SUBSCRIPTIONS: readonly Subscription[] = [
  { topics: [GROWING_TOPIC] },
  ALL_LASTING,
  ALL_LASTING,
  { topics: [], pattern: PATTERN },
];

export function drawSubscription({ chance }: Client): Subscription {
  return chance.pick(SUBSCRIPTIONS);
}
