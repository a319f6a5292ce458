import { invalidField } from '../errors.ts';
import { GROUP_ID_BYTES_MAX } from '../limits.ts';

/**
 * What the members of a consumer group share. No process coordinates a group: each heartbeat reads this, and changes it by a
 * conditional update.
 */
export interface Group {
  /** Rises whenever members come, go, or change what they subscribe to. */
  readonly epoch: number;
  /** The group epoch that the target in force was computed for. A new target is needed while it is below `epoch`. */
  readonly targetEpoch: number;
  /** The name of the target in force; `undefined` before the first. */
  readonly target: { readonly name: string; readonly parts: number; readonly members: number } | undefined;
  /** Nobody computes a target before this time, so that the members of a group do not all compute the same. */
  readonly computeAfterMs: number;
  readonly emptySinceMs: number | undefined;
  /** Its members use Kafka's classic protocol (`classic/classic-group.ts`), so it has no targets. */
  readonly isClassic: boolean;
  /** Not a classic group, but members by the classic protocol belong to it, or did a moment ago (docs/design/0012). */
  readonly hasClassicMembers: boolean;
  /** Rises whenever members of a classic group begin to join. The epoch rises only when they have. */
  readonly round: number;
  /** The names of what is stored in parts for the group: its target, or its roster and the assignment of its leader. */
  readonly namedParts: readonly string[];
  /** The group was deleted, and has had no member since. */
  readonly isDeleted: boolean;
  /** It was deleted because nobody used it, which does not hold if it has an offset all the same. */
  readonly isUnused: boolean;
}

/** `needs_target`: the next heartbeat computes one. */
export function needsTarget(group: Group, nowMs: number): boolean {
  // A time far ahead comes from a wrong clock.
  return group.targetEpoch < group.epoch && !(nowMs < group.computeAfterMs && group.computeAfterMs - nowMs < 10_000);
}

const NOT_PRINTABLE = /\p{C}/u;
const utf8 = new TextEncoder();

/** Checks the id of a group, a member or an instance. @throws EventLogError `invalid_request` naming the field */
export function checkGroupName(name: string, field: string): void {
  const bytes = utf8.encode(name).length;
  if (bytes < 1 || bytes > GROUP_ID_BYTES_MAX)
    throw invalidField(field, `${field} must have 1 to ${GROUP_ID_BYTES_MAX} bytes of UTF-8; this has ${bytes}.`, {
      bytesMax: GROUP_ID_BYTES_MAX,
    });
  // Unpaired surrogates are in this class too.
  if (NOT_PRINTABLE.test(name)) throw invalidField(field, `${field} cannot contain control or format characters.`);
}
