import { Broker } from '../../shared/broker/broker.ts';
import { openDataFolder } from '../../shared/storage/file/data-folder.ts';
import type { ObjectStore } from '../../shared/storage/ports.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { FlightTopic } from './flight-topic.ts';
import { type Flight, timeOf } from './flights.ts';
import { LEGEND } from './segment-picture.ts';
import { count, lineWidth, print } from './terminal.ts';

/**
 * What the jobs do with three months of flights, over files and SQLite. The log runs on a clock of its own, which follows
 * the flights and then goes on as the jobs need it: so merge, retention, compaction and cleaning become due as they do in
 * production, without waiting. After each step the topics are drawn, read, and compared with what must be there.
 */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const SEGMENT_BYTES_MIN = 1_048_576;
const RETENTION_DAYS = 45;
/** A segment has the flights of at most so many days, so that retention can drop them in such steps. */
const SEGMENT_DAYS = 7;
/** The flights of a day are appended at its end, but those of the last days every hour. */
const LAST_DAYS = 3;

export async function lifeOfSegments(folder: string, flights: readonly Flight[]): Promise<void> {
  const time = new FlightTime(timeOf(flights[0] as Flight));
  const data = await openDataFolder(folder);
  const broker = new Broker({ ...data, clock: time, random: systemRandom });
  try {
    const byTime = await FlightTopic.make(broker, 'flights', 3, {
      'segment.bytes': SEGMENT_BYTES_MIN,
      'segment.ms': SEGMENT_DAYS * DAY_MS,
      'retention.ms': RETENTION_DAYS * DAY_MS,
    });
    const byAirport = await FlightTopic.make(broker, 'airports', 2, {
      'segment.bytes': SEGMENT_BYTES_MIN,
      'cleanup.policy': 'compact',
    });
    const topics = [byTime, byAirport];
    const show = async (title: string): Promise<void> => {
      print(`\n${title}`);
      for (const topic of topics) {
        const { lines, verdict } = await topic.look(lineWidth());
        print(`  ${topic.name}: ${verdict}`);
        for (const line of lines) print(line);
      }
    };

    print('\nThe same flights again, on a clock that follows them through three months:');
    print(`  flights   keeps ${RETENTION_DAYS} days; a segment has at most ${SEGMENT_DAYS} days and 1 MiB`);
    print('  airports  keeps the latest flight of each airport (cleanup.policy=compact)');
    for (const line of LEGEND) print(line);

    for (const batch of portions(flights)) {
      time.moveTo(timeOf(batch.at(-1) as Flight));
      for (const topic of topics) await topic.append(batch);
    }
    await broker.idle();
    await show(`Before the first merge, ${time.date()}:`);

    time.pass(HOUR_MS);
    const merged = succeeded(await broker.runMerges());
    await show(`An hour later, merged: ${(await objectsOf(data.objects)).segments} segments.`);
    await byAirport.noteMerged();
    if (merged.length !== topics.length) throw new Error(`${merged.length} heads were merged, not ${topics.length}.`);

    const below = Math.floor(byTime.endOf(0) * 0.75);
    await broker.deleteRecords({ topic: byTime.name, partition: 0, before: below });
    byTime.noteDeleted(0, below);
    succeeded(await broker.runRetention());
    await byTime.noteExpired(time.nowMs() - RETENTION_DAYS * DAY_MS, SEGMENT_DAYS * DAY_MS);
    await show(`After retention, and deleteRecords of partition 0 of flights below ${count(below)}:`);

    time.pass(10 * MINUTE_MS);
    const [compacted] = succeeded(await broker.runCompactions());
    byAirport.noteCompacted();
    await show(
      `Ten minutes later, compacted: ${count(compacted?.recordsDropped ?? 0)} records dropped, ${count(compacted?.recordsKept ?? 0)} kept.`,
    );

    const before = await objectsOf(data.objects);
    time.pass(HOUR_MS);
    succeeded(await broker.runSweeps());
    const now = await objectsOf(data.objects);
    await show(
      `An hour later, swept: ${before.hot} -> ${now.hot} hot objects, ${before.segments} -> ${now.segments} segments.`,
    );
  } finally {
    await broker.close();
    await data.close();
  }
}

/** A clock that goes as the machine's does, and is set forward. */
class FlightTime {
  readonly sleep = systemClock.sleep;
  #aheadMs: number;

  constructor(startMs: number) {
    this.#aheadMs = startMs - systemClock.nowMs();
  }

  nowMs(): number {
    return systemClock.nowMs() + this.#aheadMs;
  }

  pass(ms: number): void {
    this.#aheadMs += ms;
  }

  moveTo(ms: number): void {
    this.#aheadMs += Math.max(0, ms - this.nowMs());
  }

  date(): string {
    return new Date(this.nowMs()).toISOString().slice(0, 10);
  }
}

/** The flights of each day, and of each hour of the last days. */
function portions(flights: readonly Flight[]): Flight[][] {
  const lastMs = timeOf(flights.at(-1) as Flight) - LAST_DAYS * DAY_MS;
  const portions = new Map<number, Flight[]>();
  for (const flight of flights) {
    const ms = timeOf(flight);
    const begin = ms - (ms % (ms < lastMs ? DAY_MS : HOUR_MS));
    portions.set(begin, [...(portions.get(begin) ?? []), flight]);
  }
  return [...portions.values()];
}

interface JobRun<Result> {
  readonly results: readonly Result[];
  readonly blocked: number;
  readonly error: Error | undefined;
}

function succeeded<Result>({ results, error }: JobRun<Result>): readonly Result[] {
  if (error !== undefined) throw error;
  return results;
}

async function objectsOf(objects: ObjectStore): Promise<{ readonly hot: number; readonly segments: number }> {
  let hot = 0;
  let segments = 0;
  let after: string | undefined;
  for (let more = true; more; ) {
    const page = await objects.list('', { limit: 1_000, ...(after === undefined ? {} : { after }) });
    for (const key of page.keys) {
      if (key.startsWith('segments/')) segments++;
      else hot++;
    }
    after = page.keys.at(-1);
    more = page.more;
  }
  return { hot, segments };
}
