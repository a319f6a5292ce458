import { describe, expect, test } from 'vitest';
import { Chance } from '../simulation/world/chance.ts';
import { PROXY_FAULTS } from './fault-proxy.ts';
import { type ChaosPlan, drawFault, KINDS, type Kind, makePlan, type Step } from './plan.ts';

const SEEDS = Array.from({ length: 200 }, (_, seed) => seed);
const SECONDS = 8;

function plans(kind: Kind): ChaosPlan[] {
  return SEEDS.map((seed) => makePlan(kind, seed, SECONDS));
}

function stepsOf(kind: Kind): Step[] {
  return plans(kind).flatMap(({ steps }) => steps);
}

describe('makePlan', () => {
  test('depends on the seed and on nothing else', () => {
    for (const kind of KINDS) {
      expect(makePlan(kind, 7, SECONDS)).toEqual(makePlan(kind, 7, SECONDS));
      expect(new Set(plans(kind).map((plan) => JSON.stringify({ ...plan, seed: 0 }))).size).toBe(SEEDS.length);
    }
  });

  test('has clients of every sort in every run', () => {
    for (const kind of KINDS) {
      for (const { load } of plans(kind))
        for (const count of Object.values(load.clients)) expect(count).toBeGreaterThan(0);
    }
  });

  test('fills the time with faults', () => {
    for (const kind of KINDS) {
      for (const { steps, phases } of plans(kind)) {
        for (const drawn of kind === 'aws-faults' ? [steps, phases] : [steps]) {
          const lengths = drawn.map((one) => one.waitMs + ('forMs' in one ? one.forMs : 0));
          const totalMs = lengths.reduce((sum, ms) => sum + ms, 0);
          expect(totalMs).toBeGreaterThanOrEqual(SECONDS * 1_000);
          expect(totalMs - (lengths.at(-1) ?? 0)).toBeLessThan(SECONDS * 1_000);
        }
      }
    }
  });

  test('draws every step that its kind has, and pauses from tenths of a second to many', () => {
    const names = (kind: Kind): string[] => [...new Set(stepsOf(kind).map((step) => step.do))].sort();
    expect(names('kill')).toEqual(['kill', 'restart']);
    expect(names('pause')).toEqual(['kill', 'pause', 'pause_and_kill']);
    expect(names('full-disk')).toEqual(['fill', 'fill_and_kill']);
    expect(names('aws-faults')).toEqual(['kill', 'pause', 'pause_and_kill']);
    const pausesMs = stepsOf('pause').flatMap((step) => ('forMs' in step ? [step.forMs] : []));
    expect(Math.min(...pausesMs)).toBeLessThan(150);
    expect(Math.max(...pausesMs)).toBeGreaterThan(6_000);
    expect(Math.max(...pausesMs)).toBeLessThanOrEqual(8_000);
  });

  test('draws every fault of the proxy, seldom and often', () => {
    const rates = plans('aws-faults').flatMap(({ phases }) => phases.flatMap((phase) => Object.entries(phase.rates)));
    for (const kind of Object.keys(PROXY_FAULTS)) {
      const drawn = rates.filter(([name]) => name === kind).map(([, rate]) => rate);
      expect(Math.min(...drawn), kind).toBe(0.01);
      expect(Math.max(...drawn), kind).toBeGreaterThanOrEqual(0.3);
    }
  });
});

describe('drawFault', () => {
  const update = { service: 'dynamodb', operation: 'UpdateItem' } as const;

  function count(rates: Parameters<typeof drawFault>[0], request: Parameters<typeof drawFault>[1]): number {
    const chance = new Chance(1, 1);
    return Array.from({ length: 2_000 }, () => drawFault(rates, request, chance)).filter((fault) => fault !== undefined)
      .length;
  }

  test('meets its rate, and none at none', () => {
    expect(count({}, update)).toBe(0);
    expect(count({ reset: 1 }, update)).toBe(2_000);
    expect(count({ reset: 0.05 }, update)).toBeGreaterThan(60);
    expect(count({ reset: 0.05 }, update)).toBeLessThan(140);
    expect(count({ reset: 0.3, late: 0.3 }, update)).toBeGreaterThan(900);
  });

  test('has reads in no conflict', () => {
    for (const operation of ['GetItem', 'Query'])
      expect(count({ conflict: 1 }, { service: 'dynamodb', operation })).toBe(0);
    expect(count({ conflict: 1 }, { service: 's3', operation: 'GET' })).toBe(0);
    expect(count({ conflict: 1 }, { service: 's3', operation: 'PUT' })).toBe(2_000);
  });

  test('delays past every time-out of the clients', () => {
    const chance = new Chance(2, 1);
    for (let i = 0; i < 500; i++) {
      const fault = drawFault({ late: 1 }, update, chance);
      expect(fault?.delayMs).toBeGreaterThanOrEqual(500);
      expect(fault?.delayMs).toBeLessThanOrEqual(3_000);
    }
  });
});
