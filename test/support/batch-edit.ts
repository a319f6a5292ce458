import { crc32c } from '../../shared/log/batch/crc32c.ts';

/** Changes a batch and corrects its CRC, as a lying client would. */
export function edited(batch: Uint8Array, edit: (view: DataView, bytes: Uint8Array) => void): Uint8Array {
  const copy = batch.slice();
  const view = new DataView(copy.buffer, copy.byteOffset, copy.length);
  edit(view, copy);
  if (copy.length >= 21) view.setUint32(17, crc32c(copy.subarray(21)));
  return copy;
}

/** A batch whose records are these bytes, with the correct length and CRC. */
export function withPayload(batch: Uint8Array, payload: Uint8Array): Uint8Array {
  const whole = new Uint8Array(61 + payload.length);
  whole.set(batch.subarray(0, 61));
  whole.set(payload, 61);
  return edited(whole, (view) => view.setInt32(8, whole.length - 12));
}

export function setCompression(view: DataView, code: number): void {
  view.setInt16(21, (view.getInt16(21) & ~7) | code);
}
