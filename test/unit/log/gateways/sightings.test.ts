import { describe, expect, it } from 'vitest';
import { type AnnouncedGateway, GatewaySightings } from '../../../../shared/log/gateways/sightings.ts';

const NOW = 1_700_000_000_000;
const MINUTE = 60_000;

function announced(id: string, beat: number, announcedAtMs = NOW): AnnouncedGateway {
  return { id, host: `${id}.example`, port: 9_092, beat, announcedAtMs };
}

function live(sightings: GatewaySightings): string[] {
  return sightings.live.map(({ id }) => id).sort();
}

describe('a gateway', () => {
  it('is there as long as it counts on, however wrong its clock is', () => {
    const sightings = new GatewaySightings();
    for (let beat = 0; beat < 10; beat++) {
      const after = NOW + beat * 5_000;
      sightings.look([announced('right', beat, after), announced('behind', beat, after - 50_000)], after);
      expect(live(sightings)).toEqual(['behind', 'right']);
    }
  });

  it('is there while its announcements come late, and gone after three looks without one', () => {
    const sightings = new GatewaySightings();
    sightings.look([announced('a', 1), announced('b', 1)], NOW);
    for (let i = 1; i <= 2; i++) {
      sightings.look([announced('a', 1), announced('b', 1 + i)], NOW + i * 5_000);
      expect(live(sightings)).toEqual(['a', 'b']);
    }
    sightings.look([announced('a', 1), announced('b', 4)], NOW + 15_000);
    expect(live(sightings)).toEqual(['b']);
    sightings.look([announced('a', 1), announced('b', 4)], NOW + 20_000);
    expect(live(sightings)).toEqual(['b']);
    // It only stood still.
    sightings.look([announced('a', 2), announced('b', 5)], NOW + 25_000);
    expect(live(sightings)).toEqual(['a', 'b']);
  });

  it('is gone when its announcement is gone', () => {
    const sightings = new GatewaySightings();
    sightings.look([announced('a', 1), announced('b', 1)], NOW);
    sightings.look([announced('b', 2)], NOW);
    expect(live(sightings)).toEqual(['b']);
  });

  it('that announced itself long ago is not there until it does so again', () => {
    const sightings = new GatewaySightings();
    sightings.look([announced('dead', 7, NOW - MINUTE - 1), announced('ahead', 7, NOW + MINUTE + 1)], NOW);
    expect(live(sightings)).toEqual([]);
    sightings.look([announced('dead', 7, NOW - MINUTE - 1), announced('ahead', 8, NOW + MINUTE + 1)], NOW);
    expect(live(sightings)).toEqual(['ahead']);
  });
});
