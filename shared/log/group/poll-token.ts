import { ByteReader, ByteWriter } from '../bytes.ts';
import { invalidField } from '../errors.ts';
import { OFFSET_MAX } from '../limits.ts';

/**
 * What a poll gives its caller to go on with: who it is, and where it is in each of its partitions. The server keeps nothing
 * of a poll. A token is not signed: whoever may poll may also commit any offset.
 */
export interface PollToken {
  readonly memberId: string;
  readonly instanceId: string | undefined;
  readonly memberEpoch: number;
  readonly positions: readonly PollPosition[];
}

export interface PollPosition {
  readonly topicId: string;
  readonly partition: number;
  /** The next offset to read. */
  readonly offset: number;
  /** Records before it were given out by this poll, and are committed once they are processed. */
  readonly isNew: boolean;
}

const VERSION = 1;
/** 10,000 positions of 10 bytes, in base64url. */
export const POLL_TOKEN_LENGTH_MAX = 256 * 1024;

/** version uint8 = 1 · member id · instance id (empty: none) · epoch varuint · topics: id, count, each position: partition, offset × 2 + new. */
export function encodePollToken({ memberId, instanceId, memberEpoch, positions }: PollToken): string {
  const writer = new ByteWriter();
  writer.uint8(VERSION);
  writer.text(memberId);
  writer.text(instanceId ?? '');
  writer.varuint(memberEpoch);
  const byTopic = Map.groupBy(positions, ({ topicId }) => topicId);
  writer.varuint(byTopic.size);
  for (const [topicId, ofTopic] of byTopic) {
    writer.text(topicId);
    writer.varuint(ofTopic.length);
    for (const { partition, offset, isNew } of ofTopic) {
      writer.varuint(partition);
      writer.varuint(offset);
      writer.uint8(isNew ? 1 : 0);
    }
  }
  return Buffer.from(writer.finish()).toString('base64url');
}

/** @throws EventLogError `invalid_request` naming the field */
export function decodePollToken(token: string, field: string): PollToken {
  if (token.length > POLL_TOKEN_LENGTH_MAX) throw notAToken(field);
  try {
    const reader = new ByteReader(Buffer.from(token, 'base64url'));
    if (reader.uint8() !== VERSION) throw notAToken(field);
    const memberId = reader.text();
    const instanceId = reader.text();
    const memberEpoch = reader.varuint();
    const positions: PollPosition[] = [];
    for (let topics = reader.varuint(); topics > 0; topics--) {
      const topicId = reader.text();
      for (let count = reader.varuint(); count > 0; count--) {
        const [partition, offset, isNew] = [reader.varuint(), reader.varuint(), reader.uint8() === 1];
        if (offset > OFFSET_MAX) throw notAToken(field);
        positions.push({ topicId, partition, offset, isNew });
      }
    }
    if (reader.remaining > 0) throw notAToken(field);
    return { memberId, instanceId: instanceId === '' ? undefined : instanceId, memberEpoch, positions };
  } catch (cause) {
    throw notAToken(field, cause);
  }
}

function notAToken(field: string, cause?: unknown): Error {
  const error = invalidField(field, `${field} must be the \`token\` of a former poll.`);
  if (cause !== undefined) error.cause = cause;
  return error;
}
