import { setFlagsFromString } from 'node:v8';

/** The version of V8 that is known to have the flags: that of Node 24. */
const V8_MAJOR = '13.';

/**
 * Lets V8 collect garbage by the size of the whole heap. By default it does so for every few megabytes of buffers, and a log
 * that passes on 200 MB/s spends two fifths of its time on it (`docs/design/0010-kafka-gateway.md`). The heap with its buffers
 * then may grow to three times what was alive, instead of four times. It concerns the whole process: for processes that are
 * nothing but a log.
 */
export function weighBuffersWithHeap(): void {
  if (!process.versions.v8.startsWith(V8_MAJOR)) return;
  setFlagsFromString('--external-memory-accounted-in-global-limit');
  setFlagsFromString('--heap-growing-percent=200');
}
