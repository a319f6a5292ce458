import { EventLogError } from '../../log/errors.ts';
import { BATCHES_PER_REQUEST_MAX } from '../../log/limits.ts';

/** The position of the length in Kafka's RecordBatch: after the base offset (8 bytes). It counts the bytes after itself. */
const LENGTH_AT = 8;
const LENGTH_END = 12;

/**
 * Splits consecutive record batches. Only the lengths are read here; the append checks everything else.
 * @throws EventLogError `invalid_batch`, `request_too_large`
 */
export function splitBatches(body: Uint8Array): Uint8Array[] {
  const view = new DataView(body.buffer, body.byteOffset, body.length);
  const batches: Uint8Array[] = [];
  let position = 0;
  while (position < body.length) {
    const left = body.length - position;
    const length = left < LENGTH_END ? -1 : view.getInt32(position + LENGTH_AT);
    if (length < 0 || length > left - LENGTH_END) {
      throw new EventLogError(
        'invalid_batch',
        `There is no whole record batch at byte ${position} of the body: only ${left} bytes are left.`,
        { details: { position } },
      );
    }
    if (batches.length === BATCHES_PER_REQUEST_MAX) {
      throw new EventLogError(
        'request_too_large',
        `A request can have at most ${BATCHES_PER_REQUEST_MAX} record batches. Send them as several requests.`,
        { details: { batchesMax: BATCHES_PER_REQUEST_MAX } },
      );
    }
    batches.push(body.subarray(position, position + LENGTH_END + length));
    position += LENGTH_END + length;
  }
  if (batches.length === 0)
    throw new EventLogError('invalid_batch', 'The body has no record batch. Send at least one.');
  return batches;
}
