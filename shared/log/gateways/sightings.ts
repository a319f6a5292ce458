/** What a gateway last wrote of itself. */
export interface AnnouncedGateway {
  /** Of its process. */
  readonly id: string;
  /** Where clients reach it. */
  readonly host: string;
  readonly port: number;
  /** Raised each time. */
  readonly beat: number;
  readonly announcedAtMs: number;
}

/** A gateway announces itself, and looks for the others, so often. */
export const ANNOUNCE_MS = 5_000;
/** One that has announced nothing new for so many looks of another is taken for gone. */
const LOOKS_MISSED_MAX = 3;
/** One that is seen for the first time may have been gone for long. Clocks may differ by less than this. */
const FIRST_SEEN_AGE_MS_MAX = 60_000;

interface Sighting {
  readonly gateway: AnnouncedGateway;
  readonly looksMissed: number;
}

/**
 * Which gateways there are, as one of them has seen it. Nobody's clock decides how long another is there: a gateway that
 * lives is seen to count on. What is wrong here only sends clients to a gateway that does not answer, or to fewer gateways
 * than there are: any gateway serves any partition.
 */
export class GatewaySightings {
  #seen = new Map<string, Sighting>();

  /** Takes in one look at all announcements. */
  look(announced: readonly AnnouncedGateway[], nowMs: number): void {
    const seen = new Map<string, Sighting>();
    for (const gateway of announced) {
      const before = this.#seen.get(gateway.id);
      const isOld = Math.abs(nowMs - gateway.announcedAtMs) > FIRST_SEEN_AGE_MS_MAX;
      const isNew = before === undefined ? !isOld : before.gateway.beat !== gateway.beat;
      const looksMissed = isNew ? 0 : (before?.looksMissed ?? LOOKS_MISSED_MAX) + 1;
      seen.set(gateway.id, { gateway, looksMissed });
    }
    this.#seen = seen;
  }

  /** Those that are there, in no particular order. */
  get live(): AnnouncedGateway[] {
    return [...this.#seen.values()]
      .filter(({ looksMissed }) => looksMissed < LOOKS_MISSED_MAX)
      .map(({ gateway }) => gateway);
  }
}
