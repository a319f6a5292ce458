import { describe, expect, it } from 'vitest';
import { Chance } from '../simulation/world/chance.ts';
import type { RecordFate } from './history.ts';
import { broken, type HistoryBuilder, history, logOf, sentRecord } from './made/history-builder.ts';

/**
 * One pass over each partition says the same as a search through every order in which a few operations can have happened:
 * appends to one of two partitions or to both at once, and looks at their ends, all at times and places by chance.
 */

const SEEDS = 6_000;
const VERDICTS_MIN = 1_000;

interface Operation {
  readonly op: number;
  readonly isAppend: boolean;
  /** Without an end it may have happened at any time after it began. */
  readonly hasEnd: boolean;
  /** By partition: the offset of the record, or the end that was seen. */
  readonly places: Map<number, number>;
  beganAt: number;
  endedAt: number;
}

function isLinearizable(left: readonly Operation[], lengths: readonly number[]): boolean {
  const firstEnd = Math.min(...left.map(({ endedAt }) => endedAt));
  return (
    left.length === 0 ||
    left.some((next) => {
      const fits = [...next.places].every(([partition, place]) => lengths[partition] === place);
      if (next.beganAt > firstEnd || !fits) return false;
      const after = lengths.map((length, partition) => length + (next.isAppend && next.places.has(partition) ? 1 : 0));
      return isLinearizable(
        left.filter((each) => each !== next),
        after,
      );
    })
  );
}

function shuffled<T>(chance: Chance, all: readonly T[]): T[] {
  const left = all.slice();
  return all.map(() => left.splice(chance.below(left.length), 1)[0] as T);
}

function randomOperations(chance: Chance): { operations: Operation[]; log: string[][]; story: HistoryBuilder } {
  const operation = (op: number, isAppend: boolean, places: Map<number, number>): Operation => {
    return { op, isAppend, hasEnd: !isAppend || chance.chance(0.8), places, beganAt: -1, endedAt: -1 };
  };
  const partitions = [[0], [1], [0, 1]];
  const appends = Array.from({ length: 1 + chance.below(4) }, (_, op) =>
    operation(op, true, new Map(chance.pick(partitions).map((partition) => [partition, 0]))),
  );
  const log = [0, 1].map((partition) => {
    const here = shuffled(
      chance,
      appends.filter(({ places }) => places.has(partition)),
    );
    here.forEach(({ places }, offset) => {
      places.set(partition, offset);
    });
    return here.map(({ op }) => `${op} in ${partition}`);
  });
  const looks = Array.from({ length: chance.below(4) }, (_, i) => {
    const partition = chance.below(2);
    return operation(
      appends.length + i,
      false,
      new Map([[partition, chance.below((log[partition]?.length ?? 0) + 1)]]),
    );
  });
  const operations = [...appends, ...looks];
  const story = history();
  shuffled(chance, [...operations, ...operations]).forEach((each, time) => {
    if (each.beganAt < 0) {
      each.beganAt = time;
      begin(story, each);
    } else {
      each.endedAt = each.hasEnd ? time : Number.POSITIVE_INFINITY;
      end(story, each);
    }
  });
  return { operations, log, story };
}

function begin(story: HistoryBuilder, { op, isAppend, places }: Operation): void {
  const [[partition = 0] = []] = places;
  const records = [...places.keys()].map((where) => sentRecord(`${op} in ${where}`, { partition: where }));
  if (isAppend) story.append(op, records, { atomic: true });
  else story.end(op, { partition });
}

function end(story: HistoryBuilder, { op, isAppend, hasEnd, places }: Operation): void {
  if (!hasEnd) return;
  const fates = [...places].map(([partition, offset]): RecordFate => ({ type: 'ok', partition, offset }));
  if (isAppend) story.fates(op, ...fates);
  else story.saw(op, [...places.values()][0] ?? 0);
}

describe('the walk through the partitions', () => {
  it(`finds a violation where no order is possible, and only there, seeds 0 to ${SEEDS - 1}`, () => {
    const verdicts = { possible: 0, impossible: 0 };
    for (let seed = 0; seed < SEEDS; seed++) {
      const { operations, log, story } = randomOperations(new Chance(seed, 0));
      const isPossible = isLinearizable(operations, [0, 0]);
      verdicts[isPossible ? 'possible' : 'impossible']++;
      expect(broken(story, logOf(...log)).length === 0, `seed ${seed}`).toBe(isPossible);
    }
    expect(Math.min(verdicts.possible, verdicts.impossible), JSON.stringify(verdicts)).toBeGreaterThan(VERDICTS_MIN);
  });
});
