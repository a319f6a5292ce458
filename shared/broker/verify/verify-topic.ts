import { invalidField } from '../../log/errors.ts';
import { partitionState } from '../../log/head/head.ts';
import { READ_BYTES_MAX } from '../../log/limits.ts';
import { checkPartition, checkTopicName, headOf, type Topic } from '../../log/topic/topic.ts';
import type { BrokerContext } from '../context.ts';
import { checkHeadOf } from './check-head.ts';
import { checkObjects } from './check-objects.ts';
import { checkParts } from './check-parts.ts';
import { SegmentCheck } from './check-segments.ts';
import { type Position, parsePosition, positionToken, reportOf, startOf } from './position.ts';
import type { PartitionReport, VerificationPage } from './report.ts';
import { UnreadableHead, Verification } from './verification.ts';

export interface VerifyRequest {
  /** Only this partition, and what its head needs. Default: all. */
  readonly partition?: number | undefined;
  /** `nextPageToken` of the page before, of the same request. */
  readonly pageToken?: string | undefined;
  /** The call ends soon after so many bytes were read; default and maximum 64 MiB. */
  readonly maxBytes?: number | undefined;
  /** Also decompress and decode every record. */
  readonly deep?: boolean | undefined;
  /** Once this signal is aborted, the call returns how far it came. */
  readonly signal?: AbortSignal | undefined;
}

/** A call begins nothing more after this time, so that it fits into a request. */
const TIME_MS_MAX = 10_000;

/**
 * Checks that nothing of a topic is lost or damaged, partition by partition: all that head, tail nodes and segment list say must
 * agree, and all that they name must be stored whole. It changes nothing, and may run while the topic is written, read, merged,
 * compacted and swept: what is found is looked at again, so what a job replaces is no problem.
 *
 * A call ends after `maxBytes`, 10 seconds or 100 problems, whichever is first, and the next one goes on from `nextPageToken`.
 * It needs memory for about 40 MiB. Costs what reading all records costs, and for each head 2 Queries for each 64 tail nodes and
 * up to 6 GetItems, for each partition 1 ListObjectsV2 for each 1,000 segments.
 * @throws EventLogError `unknown_topic`, `unknown_partition`, `invalid_request`
 */
export async function verifyTopic(
  context: BrokerContext,
  topicName: string,
  { partition, pageToken, maxBytes = READ_BYTES_MAX, deep = false, signal }: VerifyRequest = {},
): Promise<VerificationPage> {
  checkTopicName(topicName);
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 1 || maxBytes > READ_BYTES_MAX)
    throw invalidField('maxBytes', `The limit of bytes must be from 1 to ${READ_BYTES_MAX}.`);
  const topic = await context.topics.refresh(topicName);
  if (partition !== undefined) checkPartition(topic, partition);
  const position =
    pageToken === undefined ? firstPosition(topic, partition ?? 0) : positionOf(topic, pageToken, partition);
  const limits = { bytesMax: maxBytes, endMs: context.clock.nowMs() + TIME_MS_MAX, signal };
  const last = partition ?? topic.partitions - 1;
  const reports: PartitionReport[] = [];
  const run = new Verification(context, topic, position, limits, deep);
  for (;;) {
    if (!(await advance(run))) break;
    reports.push(reportOf(position));
    if (position.partition >= last) return { partitions: reports, problems: run.problems };
    Object.assign(position, nextPosition(topic, position.partition));
    if (run.isOver()) break;
  }
  return { partitions: reports, problems: run.problems, nextPageToken: positionToken(position) };
}

function firstPosition({ topicId }: Topic, partition: number): Position {
  return startOf(topicId, partition, 'nodes');
}

/** The head is checked once, before its first partition. */
function nextPosition(topic: Topic, partition: number): Position {
  const next = partition + 1;
  return startOf(topic.topicId, next, headOf(topic, next).slot === 0 ? 'nodes' : 'records');
}

function positionOf(topic: Topic, pageToken: string, partition: number | undefined): Position {
  const position = parsePosition(pageToken);
  if (position.topicId !== topic.topicId)
    throw invalidField(
      'pageToken',
      'The topic has been deleted and made again since. Begin again without a page token.',
    );
  if (position.partition >= topic.partitions || (partition ?? position.partition) !== position.partition)
    throw invalidField('pageToken', 'This page token is of another partition. Repeat the request that it came from.');
  return position;
}

/** Goes on with the partition of the position; false if the call must end before it is finished. */
async function advance(run: Verification): Promise<boolean> {
  const { position } = run;
  try {
    if (position.stage === 'nodes') {
      if (!(await checkHeadOf(run))) return false;
      Object.assign(position, { stage: 'records', entry: 0 });
    }
    if (position.stage === 'records') {
      if (!(await checkRecords(run))) return false;
      position.stage = 'objects';
    }
    return await checkObjects(run);
  } catch (error) {
    if (!(error instanceof UnreadableHead)) throw error;
    run.spend(1);
    const { kind, storedAs = '', message } = error.problem;
    run.report({ kind, storedAs, message });
    return true;
  }
}

async function checkRecords(run: Verification): Promise<boolean> {
  const { position, slot } = run;
  const segments = new SegmentCheck(run);
  for (;;) {
    const view = await run.look();
    const { logStartOffset, nextOffset } = partitionState(view.head, slot);
    if (position.end === undefined)
      Object.assign(position, { start: logStartOffset, offset: logStartOffset, end: nextOffset });
    if (logStartOffset > position.offset) Object.assign(position, { offset: logStartOffset, crossing: undefined });
    const end = position.end ?? nextOffset;
    const mergedOffset = view.list.totals[slot]?.nextOffset ?? 0;
    let progress = 'advanced';
    while (progress === 'advanced' && position.offset < Math.min(end, mergedOffset)) {
      if (run.isOver()) return false;
      progress = await segments.advance(view, mergedOffset);
    }
    if (progress === 'look_again') continue;
    if (position.offset >= end) return true;
    const parts = await checkParts(run, view);
    if (parts === 'over') return false;
    if (parts === 'done') return true;
  }
}
