/**
 *     npm run chaos -- [--runs 24] [--seed 1] [--kind kill|pause|full-disk|aws-faults] [--seconds 8]
 *
 * Runs against real processes, a line each: the seed, the kind, what was done and what it proves. Runs of all kinds in
 * turn, or of one; run n has the seed `--seed` + n. A seed gives the plan of a run, its load and its faults; processes and
 * networks do the rest, so that a failure need not come again at once. Exits with 1 unless every verdict is `ok`; the
 * history of a run with another verdict is kept.
 */
import { parseArgs } from 'node:util';
import type { Emulator } from '../localstack/emulator.ts';
import { startMiniStack } from '../localstack/start-ministack.ts';
import { startAws } from './aws.ts';
import { startEmbedded } from './embedded.ts';
import { type ChaosPlan, KINDS, type Kind, makePlan } from './plan.ts';
import { type ChaosResult, type ChaosSystem, runChaos } from './run.ts';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      runs: { type: 'string', default: '24' },
      seed: { type: 'string', default: '1' },
      kind: { type: 'string' },
      seconds: { type: 'string', default: '8' },
    },
  });
  const kinds = values.kind === undefined ? KINDS : [kindOf(values.kind)];
  const [runs, firstSeed, seconds] = [wholeNumber(values.runs), wholeNumber(values.seed), wholeNumber(values.seconds)];
  let emulator: Emulator | undefined;
  let failed = 0;
  try {
    for (let run = 0; run < runs; run++) {
      const plan = makePlan(kinds[run % kinds.length] as Kind, firstSeed + run, seconds);
      // Of the two emulators the one that answers many more requests a second.
      if (plan.kind === 'aws-faults') emulator ??= await startMiniStack();
      const result = await runOnce(plan, emulator);
      console.log(lineOf(result));
      for (const reason of result.reasons) console.log(`      ${reason}`);
      if (result.historyFile !== undefined) console.log(`      history: ${result.historyFile}`);
      if (result.verdict !== 'ok') failed++;
    }
  } finally {
    await emulator?.stop();
  }
  console.log(`${runs - failed} of ${runs} runs ok`);
  // Requests of a run that was stuck may never end.
  process.exit(failed === 0 ? 0 : 1);
}

function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${text} is no whole number.`);
  return Number(text);
}

function kindOf(name: string): Kind {
  const kind = KINDS.find((each) => each === name);
  if (kind === undefined) throw new Error(`There are the kinds ${KINDS.join(', ')}, not ${name}.`);
  return kind;
}

async function runOnce(plan: ChaosPlan, emulator: Emulator | undefined): Promise<ChaosResult> {
  const system: ChaosSystem =
    emulator !== undefined && plan.kind === 'aws-faults' ? await startAws(plan, emulator) : await startEmbedded(plan);
  try {
    return await runChaos(plan, system);
  } finally {
    await system.close();
  }
}

function lineOf({
  plan,
  verdict,
  seconds,
  operations,
  acknowledged,
  uncertain,
  recoveredMs,
  faults,
}: ChaosResult): string {
  const counted = Object.entries(faults).map(([name, count]) => `${count} ${name}`);
  return [
    `seed ${plan.seed}`.padEnd(9),
    plan.kind.padEnd(11),
    `${seconds.toFixed(1)} s`.padStart(7),
    `${operations} operations`.padStart(17),
    `${acknowledged} acknowledged`.padStart(19),
    `${uncertain.found} of ${uncertain.records} uncertain found`.padStart(27),
    `recovered in ${recoveredMs} ms`.padStart(22),
    verdict.toUpperCase().padStart(4),
    counted.join(', '),
  ].join('  ');
}

await main();
