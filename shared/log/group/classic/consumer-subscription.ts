import { ByteReader } from '../../bytes.ts';
import { EventLogError } from '../../errors.ts';
import { SUBSCRIBED_TOPICS_MAX } from '../../limits.ts';
import { checkTopicName } from '../../topic/topic.ts';
import { type AssignedPartitions, readAssignedPartitions } from './consumer-assignment.ts';
import type { ClassicProtocol } from './protocols.ts';

/** What a classic consumer says of itself when it joins. */
export interface ConsumerSubscription {
  /** The form that the client writes, and reads assignments in. */
  readonly version: number;
  /** Names that no topic can have are left out. */
  readonly topics: readonly string[];
  /** What it still reads while it joins. Nothing from consumers that let go of all before. */
  readonly owned: readonly AssignedPartitions[];
  readonly rack: string | undefined;
}

/** The protocol type of consumers: their metadata has this form. */
export const CONSUMER_PROTOCOL = 'consumer';
const OWNED_FROM = 1;
const GENERATION_FROM = 2;
const RACK_FROM = 3;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * What a member subscribes to and owns, by the protocol that it prefers. `undefined`: it is no consumer, or its metadata is not
 * Kafka's ConsumerProtocolSubscription: version int16, topics, user data; from version 1 owned partitions, from 2 the generation
 * int32, from 3 the rack. Some clients name version 1 and leave out what they own; they own nothing.
 */
export function consumerSubscription(
  protocolType: string,
  [preferred]: readonly ClassicProtocol[],
): ConsumerSubscription | undefined {
  if (protocolType !== CONSUMER_PROTOCOL || preferred === undefined) return undefined;
  try {
    return read(new ByteReader(preferred.metadata));
  } catch {
    return undefined;
  }
}

function read(reader: ByteReader): ConsumerSubscription | undefined {
  const version = reader.int16();
  if (version < 0) return undefined;
  const topics = new Set<string>();
  for (let left = reader.int32(); left > 0; left--) topics.add(utf8.decode(reader.view(reader.int16())));
  const userData = reader.int32();
  if (userData > 0) reader.view(userData);
  const owned = version >= OWNED_FROM && reader.remaining > 0 ? readAssignedPartitions(reader) : [];
  if (version >= GENERATION_FROM && reader.remaining > 0) reader.int32();
  const rackLength = version >= RACK_FROM && reader.remaining > 0 ? reader.int16() : -1;
  const rack = rackLength < 0 ? undefined : utf8.decode(reader.view(rackLength));
  const possible = [...topics].filter(isPossible);
  return possible.length > SUBSCRIBED_TOPICS_MAX ? undefined : { version, topics: possible, owned, rack };
}

function isPossible(topic: string): boolean {
  try {
    checkTopicName(topic, 'topics');
    return true;
  } catch (error) {
    if (error instanceof EventLogError) return false;
    throw error;
  }
}
