import { TAIL_NODE_ENTRIES } from '../../../../shared/log/head/head.ts';
import { parseDueSortKey } from '../../../../shared/storage/keys.ts';
import { jobsOf } from '../../clients/among-jobs/jobs.ts';
import { LASTING_TOPIC, recordBefore } from '../../clients/client.ts';
import { EPOCH_MS } from '../../world/simulated-process.ts';
import type { World } from '../../world/world.ts';

/** Longer than anything waits that is to be removed, orphans included. */
const DAYS_MS = 3 * 24 * 3_600_000;
const VISITS_MAX = 200;

/** Appends to the lasting topic and merges what was appended, over stores of which nothing fails. */
export async function mergeBefore(world: World, merges: number): Promise<void> {
  const broker = world.plainBroker({ agoMs: 1 });
  for (let i = 0; i < merges; i++) {
    for (let entry = 0; entry < TAIL_NODE_ENTRIES; entry++)
      await recordBefore(world, broker, 0, `merged-${i}-${entry}`);
    await broker.idle();
    await broker.mergeHead(world.watch.topicId(LASTING_TOPIC) as string, 0, { force: true });
  }
}

/** Some days in which nothing happens but the jobs, whenever one is due. Returns what went wrong. */
export async function runJobsOut(world: World): Promise<string[]> {
  const { loop } = world;
  const broker = world.plainBroker();
  const jobs = jobsOf(world.conditions.jobs?.theme ?? 'all');
  const endMs = loop.nowMs + DAYS_MS;
  const wrong: string[] = [];
  let othersAtMs = loop.nowMs;
  for (let visits = 0; wrong.length === 0; visits++) {
    const due = dueTimes(world);
    const dueMs = Math.min(othersAtMs, ...due.values());
    if (dueMs > endMs) break;
    if (visits === VISITS_MAX) wrong.push(`The jobs are still due after ${VISITS_MAX} visits.`);
    await pass(world, Math.max(0, dueMs - loop.nowMs) + 1);
    const isOthersTurn = othersAtMs <= loop.nowMs;
    if (isOthersTurn) othersAtMs = loop.nowMs + OTHERS_MS;
    for (const { name, hasDueItems, run } of jobs) {
      const isDue = hasDueItems ? (due.get(name) ?? Number.POSITIVE_INFINITY) <= loop.nowMs : isOthersTurn;
      if (!isDue) continue;
      const { error } = await run(broker);
      if (error !== undefined) wrong.push(`The job ${name} failed although nothing else does: ${error.message}`);
    }
  }
  await pass(world, Math.max(0, endMs - loop.nowMs));
  return wrong;
}

export async function pass({ loop }: World, ms: number): Promise<void> {
  let isOver = false;
  loop.at(ms, () => {
    isOver = true;
  });
  await loop.run(() => isOver);
}

/** Jobs that look at other things than heads run twice a day. */
const OTHERS_MS = 12 * 3_600_000;

/** Job -> when it is due next. */
function dueTimes(world: World): Map<string, number> {
  const times = new Map<string, number>();
  for (const { key } of world.watch.jobs?.facts.items.values() ?? []) {
    const due = key.pk.startsWith('due#') ? parseDueSortKey(key.sk) : undefined;
    if (due === undefined) continue;
    const job = key.pk.split('#')[1] as string;
    times.set(job, Math.min(times.get(job) ?? Number.POSITIVE_INFINITY, due.dueAtMs - EPOCH_MS));
  }
  return times;
}
