import { parseArgs } from 'node:util';
import { fuzz } from './run.ts';

/** `npm run fuzz:kafka -- --frames N --seed N`: sends changed frames to a gateway, and fails if one harms it. */
const { values } = parseArgs({
  options: {
    frames: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
  },
});
const FRAMES_PER_RUN = 50_000;
const frames = Number(values.frames);
for (let sent = 0, seed = Number(values.seed); sent < frames; sent += FRAMES_PER_RUN, seed++) {
  const result = await fuzz(seed, Math.min(FRAMES_PER_RUN, frames - sent));
  const { answered, closed, left, errors, isUnharmed, heapBytesMax } = result;
  const heap = Math.round(heapBytesMax / 2 ** 20);
  console.log(`seed ${seed}: ${answered} answered, ${closed} closed, ${left} left, heap ${heap} MiB`);
  if (errors.length === 0 && isUnharmed) continue;
  console.error(isUnharmed ? errors : 'Records of another topic are gone.');
  process.exitCode = 1;
  break;
}
