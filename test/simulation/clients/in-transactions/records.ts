import type { LogRecord } from '../../../../shared/log/batch/record.ts';
import type { ReadRecord } from '../../../history/history.ts';
import { EPOCH_MS } from '../../world/simulated-process.ts';
import type { Client } from '../client.ts';

/** A few, so that nearly everything is superseded. */
const KEYS = 4;
const AGE_MS_MAX = 24 * 3_600_000;
const TOMBSTONE_SHARE = 0.2;
/** The header that names a record without a value. */
const NAME = 'name';
const UTF8 = new TextEncoder();

/** In runs with jobs records have keys and ages, and some have no value: there is something to remove then. */
export function recordsOf({ chance, world, nowMs }: Client, values: readonly string[]): LogRecord[] {
  if (world.conditions.jobs === undefined)
    return values.map((value) => ({ key: null, value: UTF8.encode(value), headers: [], timestampMs: EPOCH_MS }));
  const ageMs = chance.chance(0.5) ? chance.next() ** 2 * AGE_MS_MAX : 0;
  return values.map((value) => {
    const content = { key: UTF8.encode(`k${chance.below(KEYS)}`), timestampMs: EPOCH_MS + Math.floor(nowMs - ageMs) };
    return chance.chance(TOMBSTONE_SHARE)
      ? { ...content, value: null, headers: [{ key: NAME, value: UTF8.encode(value) }] }
      : { ...content, value: UTF8.encode(value), headers: [] };
  });
}

/** What the client knows a record by. */
export function nameOf({ value, headers }: ReadRecord): string {
  return headers?.[NAME] ?? value;
}
