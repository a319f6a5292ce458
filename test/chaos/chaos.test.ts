import { afterAll, expect, test } from 'vitest';
import type { Emulator } from '../localstack/emulator.ts';
import { startMiniStack } from '../localstack/start-ministack.ts';
import { startAws } from './aws.ts';
import { startEmbedded } from './embedded.ts';
import { makePlan } from './plan.ts';
import { type ChaosResult, type ChaosSystem, runChaos } from './run.ts';

/** Two short runs of those that `npm run chaos` makes at length. */

const SECONDS = 5;
/** Kills, and pauses longer than any client waits. */
const EMBEDDED_SEED = 10;
/** Replies that are lost, late, broken off or stall; requests that are lost, throttled, repeated; kills and pauses. */
const AWS_SEED = 47;
const RUN_MS = 120_000;

let emulator: Emulator | undefined;

afterAll(async () => {
  await emulator?.stop();
}, 60_000);

async function run(
  kind: 'pause' | 'aws-faults',
  seed: number,
  system: (plan: ReturnType<typeof makePlan>) => Promise<ChaosSystem>,
): Promise<ChaosResult> {
  const plan = makePlan(kind, seed, SECONDS);
  const started = await system(plan);
  try {
    return await runChaos(plan, started);
  } finally {
    await started.close();
  }
}

function sum(faults: ChaosResult['faults']): number {
  return Object.values(faults).reduce((total, count) => total + count, 0);
}

test(
  'the embedded server keeps its promises while it is stopped and killed',
  async () => {
    const result = await run('pause', EMBEDDED_SEED, startEmbedded);
    expect(result).toMatchObject({ verdict: 'ok', reasons: [] });
    expect(sum(result.faults)).toBeGreaterThan(1);
  },
  RUN_MS,
);

test(
  'functions keep the promises on S3 and DynamoDB that lose requests and replies',
  async () => {
    emulator = await startMiniStack();
    const on = emulator;
    const result = await run('aws-faults', AWS_SEED, (plan) => startAws(plan, on));
    expect(result).toMatchObject({ verdict: 'ok', reasons: [] });
    expect(sum(result.faults)).toBeGreaterThan(20);
  },
  RUN_MS,
);
