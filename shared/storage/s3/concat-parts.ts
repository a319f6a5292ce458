/** Plans how an object is made of others by a multipart upload: no part but the last may be small. */
import type { ObjectSource } from '../ports.ts';

/** S3's minimum for every part but the last. */
export const PART_BYTES_MIN = 5 * 1024 * 1024;
/** S3 copies up to 5 GiB at once. Smaller parts end well before the timeout of a request. */
const COPY_BYTES_MAX = 64 * 1024 * 1024;

/** `copy` is copied by S3 itself. The sources of `upload` are read and sent, and the last part ends with the given end. */
export type ConcatPart =
  | { readonly do: 'copy'; readonly source: ObjectSource }
  | { readonly do: 'upload'; readonly sources: readonly ObjectSource[]; readonly isEnd: boolean };

/**
 * Plans the parts. A range of more than 5 MiB is copied; smaller ones are collected until they fill a part. A large range that
 * follows too small a part gives up its first bytes to it. A part to upload has less than 15 MiB beside the end.
 */
export function planParts(sources: readonly ObjectSource[], endBytes: number): ConcatPart[] {
  const parts: ConcatPart[] = [];
  let pending: ObjectSource[] = [];
  let pendingBytes = 0;
  const collect = (source: ObjectSource): void => {
    pending.push(source);
    pendingBytes += bytesOf(source);
    if (pendingBytes < PART_BYTES_MIN) return;
    parts.push({ do: 'upload', sources: pending, isEnd: false });
    pending = [];
    pendingBytes = 0;
  };
  for (const source of sources) {
    const { key, range } = source;
    const missing = pendingBytes === 0 ? 0 : PART_BYTES_MIN - pendingBytes;
    // S3 copies a range only from an object of more than 5 MiB.
    if (bytesOf(source) - missing <= PART_BYTES_MIN) {
      collect(source);
      continue;
    }
    const start = range.start + missing;
    if (missing > 0) collect({ key, range: { start: range.start, end: start } });
    for (const copied of split({ key, range: { start, end: range.end } })) parts.push({ do: 'copy', source: copied });
  }
  if (pendingBytes > 0 || endBytes > 0) parts.push({ do: 'upload', sources: pending, isEnd: true });
  return parts;
}

/** In ranges of about the same size, so that none is small. */
function split(source: ObjectSource): ObjectSource[] {
  const { key, range } = source;
  const bytes = bytesOf(source);
  const count = Math.ceil(bytes / COPY_BYTES_MAX);
  const cut = (i: number): number => range.start + Math.floor((bytes * i) / count);
  return Array.from({ length: count }, (_, i) => ({ key, range: { start: cut(i), end: cut(i + 1) } }));
}

export function bytesOf({ range }: ObjectSource): number {
  return range.end - range.start;
}
