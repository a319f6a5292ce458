import type { PolledPartition, PollResult } from '../../broker/groups/poll.ts';
import { recordsOf } from '../../log/batch/stored-batch.ts';
import { toProblem } from '../answer/problem.ts';
import type { Encoding } from '../records/contract.ts';
import { jsonOfRecord } from '../records/json-values.ts';
import type { PollOutput } from './contract.ts';

const PIECE_LENGTH = 64 * 1024;
const UTF8 = new TextEncoder();

/** Prints a poll's result as JSON, in pieces that are made only when they are read: records are unpacked one batch at a time. */
export async function* pollText(result: PollResult, encoding: Encoding): AsyncGenerator<Uint8Array> {
  const { memberId, memberEpoch, token, leaseExpiresAtMs, isSettled, assignment, unknownTopics, gaps } = result;
  const commits = result.commits.map(({ outcome, ...where }) =>
    outcome.ok ? where : { ...where, error: toProblem(outcome.error) },
  );
  const about: Omit<PollOutput, 'partitions'> = {
    memberId,
    memberEpoch,
    token,
    leaseExpiresAtMs,
    isSettled,
    assignment,
    ...(unknownTopics.length === 0 ? {} : { unknownTopics }),
    commits,
    gaps,
  };
  let text = `${JSON.stringify(about).slice(0, -1)},"partitions":[`;
  let isFirst = true;
  for (const partition of result.partitions) {
    if (!isFirst) text += ',';
    isFirst = false;
    for (const piece of partitionTexts(partition, encoding)) {
      text += piece;
      if (text.length < PIECE_LENGTH) continue;
      yield UTF8.encode(text);
      text = '';
    }
  }
  yield UTF8.encode(`${text}]}`);
}

function* partitionTexts(polled: PolledPartition, encoding: Encoding): Generator<string> {
  const { topic, partition, offset, nextOffset, logStartOffset, highWatermark } = polled;
  yield `{"topic":${JSON.stringify(topic)},"partition":${partition},"records":[`;
  let isFirst = true;
  for (const batch of polled.batches) {
    for (const record of batch.header.control ? [] : recordsOf(batch)) {
      if (record.offset < offset || record.offset >= nextOffset) continue;
      yield `${isFirst ? '' : ','}${jsonOfRecord(record, encoding)}`;
      isFirst = false;
    }
  }
  yield `],"nextOffset":${nextOffset},"logStartOffset":${logStartOffset},"highWatermark":${highWatermark}}`;
}
