import {
  type Lane,
  type Life,
  type Observation,
  type PromiseName,
  type Report,
  type SentAppend,
  type Step,
  shown,
} from './check-model.ts';

/**
 * Linearizability (R9; R4 between appends, R10 for reads that miss an acknowledged record). The log itself gives the order
 * in which everything must have happened in a partition: a record is appended at its offset, and whoever saw the partition
 * end at `end` looked between the records before and at `end`. Left to find is a moment for each, within the time that it
 * took, so that the moments are in that order. They can be chosen as early as possible: the moment of each is the latest
 * beginning of all before it and its own. So it is enough to go through the partition once and see that nothing had ended
 * before something ahead of it in the order had begun.
 *
 * A record of an append that was never acknowledged has no end: it may have been appended at any time after.
 *
 * An atomic append happens in all its partitions at the same moment. Whoever comes to it in one partition waits there for
 * all the others, and goes on with the latest beginning of all. If all wait, then two atomic appends stand in one order in
 * one partition and in the other order in another.
 */
export function checkOrder(report: Report, life: Life): void {
  // In a log that has failed already an atomic append may be in pieces, and one would wait for it for ever; and of an
  // earlier life only some of its partitions may be known.
  const joins = life.isLast && report.violations.length === 0;
  const waiting = new Map<SentAppend, Place[]>();
  const moving: Place[] = [];
  for (const lane of life.lanes.values()) if (!lane.isBroken) moving.push(new Place(lane));
  for (let place = moving.pop(); place !== undefined && !report.isFull; place = moving.pop()) {
    const append = advance(report, place, joins);
    if (append === undefined) continue;
    const all = waiting.get(append) ?? [];
    all.push(place);
    waiting.set(append, all);
    if (all.length === append.partitionsFound) {
      waiting.delete(append);
      join(append, all);
      moving.push(...all);
    }
  }
  if (waiting.size > 0 && !report.isFull) {
    const operations = [...waiting.keys()].map(({ request }) => request.op).join(', ');
    report.add('atomic', `Of the atomic appends ${operations} each stands before another in one of its partitions.`);
  }
}

function join(append: SentAppend, places: readonly Place[]): void {
  const { latestAt, latest } = places.reduce((a, b) => (a.latestAt >= b.latestAt ? a : b));
  for (const place of places) {
    place.joined = append;
    place.latestAt = latestAt;
    place.latest = latest;
  }
}

const NOTHING: readonly Observation[] = [];

/** How far the walk through a partition has come. */
class Place {
  readonly lane: Lane;
  readonly observations: readonly Observation[];
  step = 0;
  observation = 0;
  /** The latest beginning of all that was passed, and whose it is. */
  latestAt = -1;
  latest: Step | Observation | undefined;
  /** The atomic append that has been met in all its partitions. */
  joined: SentAppend | undefined;

  constructor(lane: Lane) {
    this.lane = lane;
    // Those that saw the same end stay in the order of their completions, in which none had ended before one ahead began.
    this.observations = lane.observations?.sort((a, b) => a.end - b.end) ?? NOTHING;
  }

  pass(report: Report, what: Step | Observation, beganAt: number, endedAt: number): void {
    if (endedAt < this.latestAt) {
      const after = `had ended (event ${endedAt}) when ${nameOf(this.latest)} began (event ${this.latestAt})`;
      const order = `, yet comes after it in the order of ${this.lane.name}`;
      report.add(promiseOf(what, this.latest), `${nameOf(what)} ${after}${order}.`);
    }
    if (beganAt > this.latestAt) {
      this.latestAt = beganAt;
      this.latest = what;
    }
  }
}

/** Goes on until the end of the partition, or up to an atomic append, which is answered. */
function advance(report: Report, place: Place, joins: boolean): SentAppend | undefined {
  const { observations } = place;
  const { steps, offsets } = place.lane;
  for (; ; place.step++) {
    const { step } = place;
    const offset = step === steps.length ? Number.POSITIVE_INFINITY : (offsets?.[step] ?? step);
    for (; place.observation < observations.length; place.observation++) {
      const observation = observations[place.observation] as Observation;
      if (observation.end > offset) break;
      if (offsets === undefined) checkEnd(report, place.lane, observation);
      place.pass(report, observation, observation.invokedAt, observation.completedAt);
    }
    if (step === steps.length) return undefined;
    const record = steps[step];
    if (record === undefined) continue;
    const { append } = record;
    if (joins && append.commit === 'whole' && place.joined !== append) return append;
    place.pass(report, record, Math.max(record.triedAt, record.appendedAfter), record.acknowledgedAt);
  }
}

/** No one sees a partition end where the final log has nothing, nor between records of one commit. */
function checkEnd(report: Report, lane: Lane, observation: Observation): void {
  const { end } = observation;
  const next = lane.steps[end];
  if (end > lane.steps.length) {
    report.add('R9', `${nameOf(observation)} of ${lane.name}, which has ${lane.steps.length} records.`);
  } else if (next !== undefined && next.append.commit !== 'each_batch' && lane.steps[end - 1]?.append === next.append) {
    report.add(
      'R9',
      `${nameOf(observation)} of ${lane.name}, amid the records of operation ${next.append.request.op}.`,
    );
  }
}

function promiseOf(what: Step | Observation, latest: Step | Observation | undefined): PromiseName {
  if ('by' in what || latest === undefined) return 'R9';
  if ('append' in latest) return 'R4';
  return latest.by === 'read' ? 'R10' : 'R9';
}

function nameOf(what: Step | Observation | undefined): string {
  if (what === undefined) return 'nothing';
  if ('by' in what) return `${what.by} ${what.op}, which saw the end ${what.end},`;
  return `the append of ${shown(what.content.value)} by operation ${what.append.request.op}`;
}
