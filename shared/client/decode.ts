import type { StoredRecord } from '../log/batch/record.ts';
import type { Topic } from './codec.ts';

export interface ConsumedRecord<V, K> {
  readonly partition: number;
  readonly offset: number;
  /** Milliseconds since 1970-01-01T00:00:00Z; −1 if the producer gave none. */
  readonly timestamp: number;
  readonly key: K | null;
  /** `null` is a tombstone. */
  readonly value: V | null;
  readonly headers: readonly { readonly name: string; readonly value: Uint8Array | null }[];
}

/** A record of a partition in its types. Throws whatever a codec throws. */
export function decoded<V, K>(
  record: StoredRecord,
  partition: number,
  codecs: Pick<Topic<V, K>, 'key' | 'value'>,
): ConsumedRecord<V, K> {
  const { offset, timestampMs, key, value, headers } = record;
  return {
    partition,
    offset,
    timestamp: timestampMs,
    key: key === null ? null : codecs.key.decode(key),
    value: value === null ? null : codecs.value.decode(value),
    headers: headers.map((header) => ({ name: header.key, value: header.value })),
  };
}
