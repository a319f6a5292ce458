import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { compressionsAlgorithms } from '@platformatic/kafka';
import { COMPRESSIONS, type Compression } from '../../shared/log/batch/codecs.ts';
import { compress, decompress } from '../../shared/log/batch/compression.ts';

/**
 * `npm run bench:codecs`: how fast batches of real data are packed and unpacked by every codec, and how small they become;
 * beside it how fast @platformatic/kafka packs, whose lz4 and snappy are WebAssembly. All in turns, and the best of
 * several rounds, since others use the machine as well.
 */

const DATA = join(dirname(createRequire(import.meta.url).resolve('vega-datasets')), '..', 'data');
const FILES = ['flights-20k.json', 'movies.json', 'earthquakes.json', 'birdstrikes.csv', 'species.csv', 'zipcodes.csv'];
/** A large batch, as Kafka's `max.message.bytes` lets it be. */
const BATCH_BYTES = 1_000_000;
const UNPACKED_BYTES_MAX = 16 * 1024 * 1024;
const ROUNDS = 5;
const ROUND_MS = 60;

interface Subject {
  readonly run: () => unknown;
  bestMs: number;
}

function time({ run }: Subject): number {
  const beganMs = performance.now();
  let tookMs = 0;
  let runs = 0;
  do {
    run();
    runs++;
    tookMs = performance.now() - beganMs;
  } while (tookMs < ROUND_MS);
  return tookMs / runs;
}

function compare(batch: Uint8Array, compression: Compression): readonly string[] {
  const packed = compress(compression, batch);
  const theirs = compressionsAlgorithms[compression];
  const given = Buffer.from(batch);
  const subjects: Subject[] = [
    { run: () => decompress(compression, packed, UNPACKED_BYTES_MAX), bestMs: Number.POSITIVE_INFINITY },
    { run: () => compress(compression, batch), bestMs: Number.POSITIVE_INFINITY },
    { run: () => theirs.compressSync(given), bestMs: Number.POSITIVE_INFINITY },
  ];
  for (let round = 0; round < ROUNDS; round++) {
    for (const subject of subjects) subject.bestMs = Math.min(subject.bestMs, time(subject));
  }
  const speeds = subjects.map(({ bestMs }) => (batch.length / 1e3 / bestMs).toFixed(0));
  return [
    (packed.length / batch.length).toFixed(3),
    ...speeds,
    (theirs.compressSync(given).length / batch.length).toFixed(3),
  ];
}

function row(cells: readonly string[]): void {
  const [name = '', codec = '', ...figures] = cells;
  process.stdout.write(`${name.padEnd(20)}${codec.padEnd(8)}${figures.map((each) => each.padStart(14)).join('')}\n`);
}

process.stdout.write('Batches of the first megabyte of a file; speeds in MB/s of what is unpacked.\n\n');
row(['', '', 'ratio', 'unpack', 'pack', 'their pack', 'their ratio']);
for (const file of FILES) {
  const batch = new Uint8Array(readFileSync(join(DATA, file))).subarray(0, BATCH_BYTES);
  for (const compression of COMPRESSIONS) {
    if (compression !== 'none') row([file, compression, ...compare(batch, compression)]);
  }
}
