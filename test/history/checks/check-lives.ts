import { type KnownRecord, type Life, type Report, type SentRecord, type Step, shown } from './check-model.ts';

/**
 * Of a topic that was deleted only the last life has left a log to judge by. Of an earlier one it is known what was
 * acknowledged and read within it, and those must agree.
 */

/**
 * Takes in that a record stood at an offset in an earlier life, as an acknowledgement told at that time, or a read. To be
 * told of all acknowledgements first, in their order, and then of what was read.
 */
export function learn(
  report: Report,
  life: Life,
  partition: number,
  offset: number,
  record: SentRecord,
  acknowledgedAt = Number.POSITIVE_INFINITY,
): KnownRecord | undefined {
  const lane = life.lane(partition);
  life.known ??= new Map();
  lane.known ??= new Map();
  const elsewhere = life.known.get(record);
  if (elsewhere !== undefined && (elsewhere.lane !== lane || elsewhere.offset !== offset)) {
    const [here, there] = [lane.at(offset), elsewhere.lane.at(elsewhere.offset)];
    report.add('R5', `${shown(record.content.value)} was at ${there}, and in the same life of the topic at ${here}.`);
    return undefined;
  }
  const known = lane.known.get(offset);
  if (known === undefined) {
    const added: KnownRecord = { record, lane, offset, acknowledgedAt, read: undefined };
    lane.known.set(offset, added);
    life.known.set(record, added);
    return added;
  }
  if (known.record !== record) {
    const isAcknowledged = Math.min(known.acknowledgedAt, acknowledgedAt) < Number.POSITIVE_INFINITY;
    report.add(
      isAcknowledged ? 'R1' : 'R10',
      `${lane.at(offset)} was ${shown(known.record.content.value)}, and in the same life of the topic ` +
        `${shown(record.content.value)}.`,
    );
    return undefined;
  }
  return known;
}

/** Makes what is known of an earlier life the steps of its partitions. */
export function layOutKnown(life: Life): void {
  for (const lane of life.lanes.values()) {
    const known = [...(lane.known?.values() ?? [])].sort((a, b) => a.offset - b.offset);
    lane.offsets = known.map(({ offset }) => offset);
    lane.steps = known.map(({ record: { append, content, triedAt }, acknowledgedAt }): Step => {
      return { append, content, triedAt, appendedAfter: -1, acknowledgedAt };
    });
  }
}
