import { crc32c } from '../batch/crc32c.ts';
import { ByteFormatError, ByteWriter } from '../bytes.ts';
import { EventLogError, invalidField } from '../errors.ts';
import { SUBSCRIBED_TOPICS_MAX, TOPIC_PATTERN_LENGTH_MAX } from '../limits.ts';
import { checkTopicName } from '../topic/topic.ts';
import { readerOfChecked, withCrc } from './checked-bytes.ts';

/** What a member wants to read: topics by name, and all topics whose names match the pattern. They need not exist yet. */
export interface Subscription {
  readonly topics: readonly string[];
  /** In RE2's syntax, of the whole name. */
  readonly pattern?: string | undefined;
}

/**
 * Does not compile the pattern. `mayBeEmpty`: a subscription to nothing is accepted.
 * @throws EventLogError `invalid_request` naming `topics` or `topicPattern`
 */
export function checkSubscription(
  { topics, pattern }: Subscription,
  { mayBeEmpty = false }: { readonly mayBeEmpty?: boolean | undefined } = {},
): void {
  if (topics.length === 0 && pattern === undefined && !mayBeEmpty)
    throw invalidField('topics', 'A subscription names at least one topic in `topics`, or has a `topicPattern`.');
  if (topics.length > SUBSCRIBED_TOPICS_MAX) {
    throw invalidField(
      'topics',
      `A member subscribes to at most ${SUBSCRIBED_TOPICS_MAX} topics by name; these are ${topics.length}. A \`topicPattern\` can match any number.`,
      { max: SUBSCRIBED_TOPICS_MAX },
    );
  }
  const seen = new Set<string>();
  for (const name of topics) {
    checkTopicName(name, 'topics');
    if (seen.has(name)) throw invalidField('topics', `\`topics\` names '${name}' twice; name each topic once.`);
    seen.add(name);
  }
  if (pattern !== undefined && (pattern.length < 1 || pattern.length > TOPIC_PATTERN_LENGTH_MAX)) {
    throw invalidField(
      'topicPattern',
      `\`topicPattern\` has 1 to ${TOPIC_PATTERN_LENGTH_MAX} characters; this one has ${pattern.length}.`,
      { max: TOPIC_PATTERN_LENGTH_MAX },
    );
  }
}

const VERSION = 1;

/** The packed form is persisted (`docs/format.md`). It has the names in the order in which they were given. */
export function packSubscription(subscription: Subscription): Uint8Array {
  return withCrc(contentOf(subscription));
}

function contentOf({ topics, pattern = '' }: Subscription): Uint8Array {
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.varuint(topics.length);
  for (const name of topics) writer.text(name);
  writer.text(pattern);
  return writer.finish();
}

/** @throws EventLogError `corrupt_data` */
export function unpackSubscription(packed: Uint8Array): Subscription {
  try {
    const reader = readerOfChecked(packed);
    const version = reader.uint8();
    if (version !== VERSION) throw new ByteFormatError(`version ${version} is not ${VERSION}`);
    const topics: string[] = [];
    for (let left = reader.varuint(); left > 0; left--) topics.push(reader.text());
    const pattern = reader.text();
    if (reader.remaining > 0) throw new ByteFormatError(`${reader.remaining} bytes follow the pattern`);
    return pattern === '' ? { topics } : { topics, pattern };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EventLogError('corrupt_data', `The subscription of a member cannot be read: ${why}.`, { cause });
  }
}

/** A uint32 that changes with what is subscribed to, but not with the order of names. Persisted with targets and members. */
export function subscriptionHash({ topics, pattern }: Subscription): number {
  // Of the content without its CRC: a CRC over bytes and their CRC is the same for all.
  return crc32c(contentOf({ topics: topics.toSorted(), pattern }));
}
