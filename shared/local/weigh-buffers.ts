import { setFlagsFromString } from 'node:v8';

/** The version of V8 that is known to have the flag: that of Node 24. */
const V8_MAJOR = '13.';

/**
 * Lets V8 collect garbage by the size of the whole heap. By default it does so for every few megabytes of buffers, and a log
 * that passes on 200 MB/s spends two fifths of its time on it (`docs/design/0010-kafka-gateway.md`). It concerns the whole
 * process: for processes that are nothing but a log.
 */
export function weighBuffersWithHeap(): void {
  if (process.versions.v8.startsWith(V8_MAJOR)) setFlagsFromString('--external-memory-accounted-in-global-limit');
}
