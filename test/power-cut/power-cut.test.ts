import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { editedSource } from '../simulation/bugs/plant-bug.ts';
import { PLANTED_POWER_CUT_BUGS } from './planted-bugs.ts';
import { runPowerCuts } from './run-seed.ts';
import { tallyPowerCuts } from './run-seeds.ts';

/** A disk beneath the file stores that loses power; `npm run power-cut -- --seeds 100000` runs more. */

const SEEDS = 1_000;
const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

it(`${SEEDS} runs of processes that are killed and lose power lose nothing acknowledged, and show nothing half`, async () => {
  const { failed, cuts, kills, acknowledged, faults } = await tallyPowerCuts(0, SEEDS, 3);
  expect(failed).toEqual([]);
  process.stdout.write(`power cuts: ${cuts}, ${kills} kills, ${acknowledged} puts acknowledged, ${faults} failed\n`);
  expect(Math.min(cuts, kills, acknowledged, faults)).toBeGreaterThan(SEEDS / 4);
});

it('nothing is lost, at whichever of its steps a first process loses power', async () => {
  let runs = 0;
  for (let seed = 0; runs < 4; seed++) {
    const { steps } = await runPowerCuts(seed, Number.POSITIVE_INFINITY);
    // One that opens the folder and puts a few objects.
    if (steps < 100 || steps > 400) continue;
    runs++;
    for (let cutAt = 0; cutAt <= steps; cutAt++)
      expect((await runPowerCuts(seed, cutAt)).violations, `seed ${seed}, cut at step ${cutAt}`).toEqual([]);
  }
});

describe('planted bugs', () => {
  it(`are found, each within ${SEEDS} runs`, async () => {
    const left = [...PLANTED_POWER_CUT_BUGS];
    const results: { readonly name: string; readonly seeds: number; readonly failed: number }[] = [];
    // Each in a process of its own, since it is the source that is changed.
    const work = async (): Promise<void> => {
      for (let bug = left.shift(); bug !== undefined; bug = left.shift()) {
        const options = ['--bug', bug.name, '--until', '1', '--seeds', String(SEEDS)];
        const ended = await promisify(execFile)(process.execPath, [MAIN, ...options]).catch(
          (error: { readonly stdout: string }) => error,
        );
        const counts = JSON.parse(ended.stdout.trim().split('\n').at(-1) as string) as {
          seeds: number;
          failed: number;
        };
        results.push({ name: bug.name, ...counts });
      }
    };
    await Promise.all([work(), work()]);
    process.stdout.write('power cuts: seeds until a planted bug was found\n');
    for (const { name, seeds } of results) process.stdout.write(`${String(seeds).padStart(7)}  ${name}\n`);
    expect(results).toHaveLength(PLANTED_POWER_CUT_BUGS.length);
    expect(results.filter(({ failed }) => failed === 0).map(({ name }) => name)).toEqual([]);
  }, 120_000);

  it('are changes of what is there once', () => {
    for (const { edits } of PLANTED_POWER_CUT_BUGS) {
      for (const file of new Set(edits.map((edit) => edit.file))) {
        const here = edits.filter((edit) => edit.file === file);
        expect(editedSource(file, here)).not.toBe(editedSource(file, []));
      }
    }
  });
});
