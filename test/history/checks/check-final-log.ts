import { addSequence } from '../../../shared/log/head/producer.ts';
import type { FinalLog, ReadRecord } from '../history.ts';
import {
  headOf,
  isSameContent,
  type Lane,
  type Report,
  type SentAppend,
  type SentRecord,
  shown,
  type Topic,
} from './check-model.ts';

type SentByValue = ReadonlyMap<string, SentRecord>;

/**
 * Goes through the final log of a topic: its offsets have no gap (R3), and every record was sent and has not failed (R2),
 * is unchanged (R1) and there once (R5), in the order of its request and of its producer (R4), whose epochs never go back
 * (R6), and is not left over from before a deletion.
 */
export function checkFinalLog(report: Report, topic: Topic, log: FinalLog, sent: SentByValue): void {
  for (const [partition, records] of log) {
    if (report.isFull) return;
    if (records.length === 0) continue;
    const lane = topic.last.lane(partition);
    lane.final = records;
    checkOffsets(report, lane);
    checkRecords(report, lane, sent);
  }
}

function checkOffsets(report: Report, lane: Lane): void {
  const { final } = lane;
  for (let i = 0; i < final.length; i++) {
    const { offset } = final[i] as ReadRecord;
    if (offset === i) continue;
    report.add('R3', `Record ${i} of ${lane.name} in the final log has offset ${offset}.`);
    lane.isBroken = true;
    return;
  }
}

/** What a producer wrote last to a partition. */
interface LastWritten {
  epoch: number;
  nextSequence: number;
}

function checkRecords(report: Report, lane: Lane, sent: SentByValue): void {
  const { final, topic, partition } = lane;
  const steps: (SentRecord | undefined)[] = [];
  lane.steps = steps;
  const goneBefore = topic.goneBefore(Number.POSITIVE_INFINITY);
  let producers: Map<number, LastWritten> | undefined;
  for (let i = 0; i < final.length && !report.isFull; i++) {
    const found = final[i] as ReadRecord;
    const record = identify(report, lane, found, sent);
    if (record === undefined) {
      steps.push(undefined);
      continue;
    }
    if (record.foundOffset >= 0) {
      const first = topic.last.lane(record.foundPartition);
      report.add(
        'R5',
        `${shown(found.value)} is in ${first.at(record.foundOffset)} and again in ${lane.at(found.offset)}.`,
      );
      continue;
    }
    record.foundPartition = partition;
    record.foundOffset = found.offset;
    if (record.settledAt < goneBefore) {
      report.add('deletion', `${lane.at(found.offset)} is ${shown(found.value)}, which was deleted with its topic.`);
    }
    checkPlaceInRequest(report, lane, record, steps[i - 1] === record.append.lastFound);
    steps.push(record);
    if (record.append.request.producer === undefined) continue;
    producers ??= new Map();
    checkSequence(report, lane, record, record.append.request.producer, producers);
  }
}

/** Whose record this is. Reports one that no one sent, that has failed, or that is not as it was sent. */
export function identify(report: Report, lane: Lane, found: ReadRecord, sent: SentByValue): SentRecord | undefined {
  const record = sent.get(found.value);
  if (record === undefined || record.append.topic !== lane.topic) {
    report.add('R2', `${lane.at(found.offset)} is ${shown(found.value)}, which no one sent there.`);
    return undefined;
  }
  if (record.triedAt === Number.POSITIVE_INFINITY) {
    report.add('R2', `${lane.at(found.offset)} is ${shown(found.value)}, of which every try has failed.`);
    return undefined;
  }
  const { content } = record;
  if (!isSameContent(content, found) || (content.partition ?? lane.partition) !== lane.partition) {
    report.add('R1', `${lane.at(found.offset)} is ${shown(found.value)}, but not as it was sent.`);
  }
  return record;
}

/** The records of a request keep their order, and those of one commit stand together. */
function checkPlaceInRequest(report: Report, lane: Lane, record: SentRecord, isNext: boolean): void {
  const { append, foundOffset, foundPartition } = record;
  const last = append.lastFound;
  append.found++;
  append.lastFound = record;
  if (last === undefined || last.foundPartition !== foundPartition) {
    append.partitionsFound++;
  } else if (last.place > record.place) {
    report.add('R4', `${lane.at(foundOffset)} is an earlier record of its request than ${lane.at(last.foundOffset)}.`);
  } else if (append.commit !== 'each_batch' && !isNext) {
    const both = `${lane.at(last.foundOffset)} and ${lane.at(foundOffset)}`;
    report.add('R4', `${both} were appended as one, by operation ${append.request.op}, and others stand between them.`);
  }
}

function checkSequence(
  report: Report,
  lane: Lane,
  { place, foundOffset }: SentRecord,
  { id, epoch, sequence: firstSequence }: { readonly id: number; readonly epoch: number; readonly sequence: number },
  producers: Map<number, LastWritten>,
): void {
  const sequence = addSequence(firstSequence, place);
  const nextSequence = addSequence(sequence, 1);
  const last = producers.get(id);
  if (last === undefined) {
    producers.set(id, { epoch, nextSequence });
    return;
  }
  const expected = epoch === last.epoch ? last.nextSequence : 0;
  if (epoch < last.epoch) {
    report.add('R6', `${lane.at(foundOffset)} has epoch ${epoch} of producer ${id}, after epoch ${last.epoch}.`);
  } else if (sequence !== expected) {
    report.add(
      'R4',
      `${lane.at(foundOffset)} has sequence ${sequence} of producer ${id}, where ${expected} comes next.`,
    );
  }
  last.epoch = epoch;
  last.nextSequence = nextSequence;
}

/**
 * Holds appends against the final log: an acknowledged record is there, where it was said to be (R1); one with an expected
 * offset has got it (R5); one that the log can recognise was not rejected after it had been appended (R2); and what is
 * one commit is there wholly or not at all.
 */
export function checkAppends(report: Report, appends: readonly SentAppend[]): void {
  for (const append of appends) {
    if (report.isFull) return;
    const { commit, found, records } = append;
    for (const record of records) if (record.acknowledgedAt !== Number.POSITIVE_INFINITY) checkKept(report, record);
    if (found === 0) continue;
    if (found < records.length && commit !== 'each_batch') checkWholeness(report, append);
    const { expectedOffset } = append.request;
    if (expectedOffset !== undefined) {
      checkExpectedOffset(report, append, expectedOffset);
      checkNotRejected(report, append);
    }
  }
}

function checkKept(report: Report, record: SentRecord): void {
  const { append, content, foundPartition, foundOffset, toldPartition, toldOffset } = record;
  const isMoved = toldPartition >= 0 && (toldPartition !== foundPartition || toldOffset !== foundOffset);
  if (foundOffset >= 0 && !isMoved) return;
  const { last } = append.topic;
  const told = toldPartition < 0 ? '' : ` in ${last.lane(toldPartition).at(toldOffset)}`;
  const found = foundOffset < 0 ? 'is lost' : `is in ${last.lane(foundPartition).at(foundOffset)}`;
  report.add('R1', `${shown(content.value)} of operation ${append.request.op}, acknowledged${told}, ${found}.`);
}

function checkWholeness(report: Report, { commit, request, records }: SentAppend): void {
  const headsFound = new Set(
    records.filter((each) => each.foundOffset >= 0).map((each) => headOf(each.foundPartition)),
  );
  const missing = records.find(({ foundOffset, toldPartition, content }) => {
    if (foundOffset >= 0) return false;
    const partition = content.partition ?? (toldPartition < 0 ? undefined : toldPartition);
    return commit !== 'each_head' || (partition !== undefined && headsFound.has(headOf(partition)));
  });
  if (missing === undefined) return;
  const value = shown(missing.content.value);
  report.add('atomic', `Operation ${request.op} is one commit, and in the final log but for ${value}.`);
}

function checkExpectedOffset(report: Report, { request, records, topic }: SentAppend, expectedOffset: number): void {
  const { foundOffset, foundPartition } = records[0] as SentRecord;
  if (foundOffset < 0 || foundOffset === expectedOffset) return;
  const place = topic.last.lane(foundPartition).at(foundOffset);
  report.add('R5', `Operation ${request.op} expected offset ${expectedOffset} and was appended in ${place}.`);
}

/**
 * A retry of an append that was applied is answered as its duplicate, whatever offset it expects. It was applied before
 * the rejection if it stands before the end that the rejection told.
 */
function checkNotRejected(report: Report, { request, records, topic, rejectedAtEnd }: SentAppend): void {
  const { foundOffset, foundPartition } = records[0] as SentRecord;
  if (foundOffset < 0 || foundOffset >= rejectedAtEnd) return;
  if (request.producer === undefined && request.idempotencyKey === undefined) return;
  report.add(
    'R2',
    `Operation ${request.op} is in ${topic.last.lane(foundPartition).at(foundOffset)}, and a try of it was rejected since ` +
      `the partition ended at ${rejectedAtEnd}.`,
  );
}
