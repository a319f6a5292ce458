/**
 * Copying for decoders. Most runs are a few bytes long, and copying them byte by byte is faster than a call of `set` or
 * `copyWithin`. From these lengths on, the call is faster (`npm run bench:codecs`).
 */
const LITERALS_BY_CALL = 48;
const MATCH_BY_CALL = 64;

/** Does `to.set(from.subarray(start, start + length), at)`; the caller has checked that both have room. */
export function copyLiterals(from: Uint8Array, start: number, to: Uint8Array, at: number, length: number): void {
  if (length < LITERALS_BY_CALL) for (let i = 0; i < length; i++) to[at + i] = from[start + i] as number;
  else to.set(from.subarray(start, start + length), at);
}

/**
 * Copies the bytes that are `distance` before `at`, byte by byte: a length beyond the distance repeats bytes that were just
 * written. The caller has checked that the bytes exist and that there is room for the copy.
 */
export function copyMatch(bytes: Uint8Array, at: number, distance: number, length: number): void {
  const from = at - distance;
  if (length < MATCH_BY_CALL) {
    for (let i = 0; i < length; i++) bytes[at + i] = bytes[from + i] as number;
    return;
  }
  // Each call copies everything since `from`, so that a short distance takes few calls.
  for (let done = 0; done < length; ) {
    const run = Math.min(distance + done, length - done);
    bytes.copyWithin(at + done, from, from + run);
    done += run;
  }
}
