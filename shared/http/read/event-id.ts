import { ByteFormatError, ByteReader, ByteWriter } from '../../log/bytes.ts';
import { FOLLOWED_PARTITIONS_MAX, OFFSET_MAX } from '../../log/limits.ts';
import { fromBase64Url, toBase64Url } from '../records/base64.ts';

/**
 * The id of an event of a live tail: where the tail goes on. Clients keep it and send it back, so it may outlive a server.
 *
 *     <life>.<positions>          life: the first 8 characters of the topic's id
 *                                 positions: base64url of
 *       uint8    width            bytes of each value, 0 to 7
 *       varuint  first            the first partition
 *       varuint  count            how many partitions, one after the other; at most 1,000
 *       varuint  base             the lowest next offset
 *       count × uint(width)       each partition's next offset less the base, big-endian
 *
 * The life tells a topic from an earlier one of its name. Eight characters are 48 random bits: an id of an earlier topic is
 * taken for one of the present topic once in 2.8 × 10^14 times that a topic is made again.
 *
 * An id takes `count` × `width` × 4/3 characters and at most 32 more. For 1,000 partitions that is at most 6,700 characters
 * if the offsets are within 2^40 (10^12) of each other, 8,040 within 2^48, and 9,370 for any offsets. It comes back in one
 * header line: many proxies take 8 KiB a line, Node 16 KiB and API Gateway 10 KiB for all headers.
 */
const LIFE_LENGTH = 8;
const ID = /^([A-Za-z0-9_-]{8})\.([A-Za-z0-9_-]+)$/;
const WIDTH_MAX = 7;
const UINT32 = 0x1_0000_0000;

/** The id for next offsets by partition: at least one partition, ascending and without holes. */
export function eventId(topicId: string, positions: ReadonlyMap<number, number>): string {
  let lowest = Number.POSITIVE_INFINITY;
  let highest = 0;
  for (const offset of positions.values()) {
    if (offset < lowest) lowest = offset;
    if (offset > highest) highest = offset;
  }
  const [first = 0] = positions.keys();
  const width = widthOf(highest - lowest);
  const writer = new ByteWriter(16 + positions.size * width);
  writer.uint8(width);
  writer.varuint(first);
  writer.varuint(positions.size);
  writer.varuint(lowest);
  if (width > 0) for (const offset of positions.values()) writeUint(writer, offset - lowest, width);
  return `${topicId.slice(0, LIFE_LENGTH)}.${toBase64Url(writer.finish())}`;
}

export interface EventPosition {
  /** The beginning of the topic's id. */
  readonly life: string;
  readonly offsets: ReadonlyMap<number, number>;
}

/** What an id says, or `undefined` if it is none. */
export function parseEventId(id: string): EventPosition | undefined {
  const [, life = '', text = ''] = ID.exec(id) ?? [];
  const bytes = fromBase64Url(text);
  if (bytes === undefined || bytes.length === 0) return undefined;
  try {
    const reader = new ByteReader(bytes);
    const width = reader.uint8();
    const first = reader.varuint();
    const count = reader.varuint();
    const base = reader.varuint();
    if (width > WIDTH_MAX || count > FOLLOWED_PARTITIONS_MAX || reader.remaining !== count * width) return undefined;
    const offsets = new Map<number, number>();
    for (let i = 0; i < count; i++) {
      const offset = base + readUint(reader, width);
      if (offset > OFFSET_MAX || !Number.isSafeInteger(first + i)) return undefined;
      offsets.set(first + i, offset);
    }
    return { life, offsets };
  } catch (error) {
    if (error instanceof ByteFormatError) return undefined;
    throw error;
  }
}

function widthOf(value: number): number {
  let width = 0;
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) width++;
  return width;
}

function writeUint(writer: ByteWriter, value: number, width: number): void {
  const high = Math.floor(value / UINT32);
  for (let i = width - 1; i >= 4; i--) writer.uint8((high >>> ((i - 4) * 8)) & 0xff);
  for (let i = Math.min(width, 4) - 1; i >= 0; i--) writer.uint8((value >>> (i * 8)) & 0xff);
}

function readUint(reader: ByteReader, width: number): number {
  let value = 0;
  for (let i = 0; i < width; i++) value = value * 256 + reader.uint8();
  return value;
}
