import type { TopicToFollow } from '../../broker/read/follow.ts';
import type { ReadFrom } from '../../broker/read/read.ts';
import { invalidField } from '../../log/errors.ts';
import { OFFSET_MAX } from '../../log/limits.ts';
import { parseEventId } from './event-id.ts';

/** Where a tail begins: what a follower takes, and the request's field that says so, for errors. */
export interface TailFrom extends Pick<TopicToFollow, 'from' | 'offsets' | 'offsetsOf'> {
  readonly field: string;
}

/** A read so far before the end begins at the log start offset. */
export const FROM_START: ReadFrom = { tail: OFFSET_MAX };
const FROM_END: ReadFrom = { tail: 0 };

/**
 * The parameter `from`: `latest`, `earliest`, `ts:<milliseconds>`, the id of an event, or next offsets as a person writes
 * them, such as `0:17,1:4`. Partitions that an id or such offsets do not name begin at their log start offset: they were
 * added since. @throws EventLogError `invalid_request`
 */
export function parseFrom(text: string): TailFrom {
  const field = 'from';
  if (text === 'latest') return { from: FROM_END, field };
  if (text === 'earliest') return { from: FROM_START, field };
  const timestamp = Number(/^ts:(\d{1,16})$/.exec(text)?.[1] ?? Number.NaN);
  if (timestamp <= OFFSET_MAX) return { from: { timestampMs: timestamp }, field };
  const position = fromEventId(text, field);
  if (position !== undefined) return position;
  const offsets = parseOffsets(text);
  if (offsets !== undefined) return { from: FROM_START, offsets, field };
  throw invalidField(
    field,
    'from takes latest, earliest, ts:<milliseconds>, the id of an event, or next offsets such as 0:17,1:4.',
  );
}

/**
 * What a client says by itself when it connects again: only an id, since other text names no topic, and would pass over
 * records of a topic that was made again. @throws EventLogError `invalid_request`
 */
export function parseLastEventId(text: string, field: string): TailFrom {
  const position = fromEventId(text, field);
  if (position !== undefined) return position;
  throw invalidField(
    field,
    `${field} takes the id of an event as it was sent. Put anything else, such as offsets written by hand, into from.`,
  );
}

function fromEventId(text: string, field: string): TailFrom | undefined {
  const id = parseEventId(text);
  return id && { from: FROM_START, offsets: id.offsets, offsetsOf: id.life, field };
}

function parseOffsets(text: string): ReadonlyMap<number, number> | undefined {
  const offsets = new Map<number, number>();
  for (const pair of text.split(',')) {
    const match = /^(\d{1,10}):(\d{1,16})$/.exec(pair);
    const partition = Number(match?.[1]);
    const offset = Number(match?.[2]);
    if (match === null || offset > OFFSET_MAX || offsets.has(partition)) return undefined;
    offsets.set(partition, offset);
  }
  return offsets;
}
