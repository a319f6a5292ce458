import type { Principal } from '../../access/credentials.ts';
import type { CommitOutcome } from '../../broker/groups/offsets/commit-offsets.ts';
import type { ResetTo } from '../../broker/groups/offsets/reset-offsets.ts';
import { invalidField } from '../../log/errors.ts';
import { type PartitionSet, partitionSet } from '../../log/group/partition-set.ts';
import { decodePollToken } from '../../log/group/poll-token.ts';
import type { Subscription } from '../../log/group/subscription.ts';
import { allowsAllTopics, allowsTopic, visibleGroups } from '../../log/scopes.ts';
import { throwIfAllFailed } from '../answer/outcomes.ts';
import { toProblem } from '../answer/problem.ts';
import { empty, json, stream } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import { abortedWith, type Handlers, type HttpContext } from '../handler.ts';
import { readJson } from '../request/body.ts';
import { check } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import { accessDenied } from '../request/principal.ts';
import {
  type CommitInput,
  commitInput,
  type ExtendOutput,
  extendInput,
  type GroupOutput,
  type GroupPage,
  type HeartbeatInput,
  type HeartbeatOutput,
  heartbeatInput,
  type LagOutput,
  type OffsetsOutput,
  type OffsetsPage,
  pollInput,
  type ResetInput,
  type ResetOutput,
  resetInput,
} from './contract.ts';
import type { groupOperations } from './operations.ts';
import { pollText } from './poll-output.ts';

export function groupHandlers(context: HttpContext): Handlers<typeof groupOperations> {
  const { broker } = context;
  return {
    async listGroups(call) {
      const page: GroupPage = await broker.listGroups({ ...call.query, visible: visibleGroups(call.principal.scopes) });
      return json(call, 200, page);
    },

    async getGroup(call) {
      const output: GroupOutput = await broker.describeGroup(call.params.group);
      return json(call, 200, output);
    },

    async deleteGroup(call) {
      await broker.deleteGroup(call.params.group);
      return empty(call, 204);
    },

    async heartbeat(call) {
      const { group, member: memberId } = call.params;
      const input = await bodyOf(call.request, heartbeatInput);
      const subscription = subscriptionOf(input);
      if (subscription !== undefined) mustAllow(call.principal, subscription);
      const output: HeartbeatOutput = await broker.heartbeat({
        group,
        memberId,
        memberEpoch: input.memberEpoch,
        instanceId: input.instanceId ?? undefined,
        subscription,
        assignor: input.assignor ?? undefined,
        sessionTimeoutMs: input.sessionTimeoutMs ?? undefined,
        rebalanceTimeoutMs: input.rebalanceTimeoutMs ?? undefined,
        owned: ownedOf(input),
      });
      return json(call, 200, output);
    },

    async leaveGroup(call) {
      const { group, member: memberId } = call.params;
      const { instanceId, willReturn } = call.query;
      if (willReturn && instanceId === undefined)
        throw invalidField('willReturn', 'Only a static member can return. Give its instanceId too.');
      await broker.leaveGroup({ group, memberId, instanceId, willReturn });
      return empty(call, 204);
    },

    async extendLease(call) {
      const { group, member } = call.params;
      const { token } = await bodyOf(call.request, extendInput);
      if (decodePollToken(token, 'token').memberId !== member)
        throw invalidField('token', `The token is not of the member '${member}'.`);
      const output: ExtendOutput = await broker.extendLease({ group, token });
      return json(call, 200, output);
    },

    async pollGroup(call) {
      const { scopes } = call.principal;
      const input = await bodyOf(call.request, pollInput);
      const subscription = subscriptionOf(input);
      if (subscription !== undefined) mustAllow(call.principal, subscription);
      const stop = abortedWith(call.request.signal, context.stopping);
      try {
        const result = await broker.pollGroup({
          group: call.params.group,
          memberId: input.memberId ?? undefined,
          instanceId: input.instanceId ?? undefined,
          subscription,
          assignor: input.assignor ?? undefined,
          after: input.after ?? undefined,
          commitAtOnce: input.commit === 'at_once',
          commitLater: input.commit === 'later',
          paused: input.paused?.map(({ topic, partitions }) => ({ topic, partitions: partitions ?? undefined })),
          startAt: input.startAt ?? undefined,
          maxRecords: input.maxRecords ?? undefined,
          maxBytes: input.maxBytes ?? undefined,
          waitMs: input.waitMs ?? undefined,
          leaseMs: input.leaseMs ?? undefined,
          mayRead: (topic) => allowsTopic(scopes, 'consume', topic),
          signal: stop.signal,
        });
        const report = (error: unknown): void => context.onError(error, call.requestId);
        return stream(call, pollText(result, input.encoding ?? 'auto'), { 'Content-Type': MEDIA.json }, report);
      } finally {
        stop.abort();
      }
    },

    async getGroupLag(call) {
      const output: LagOutput = await broker.groupLag({ group: call.params.group, ...call.query });
      return json(call, 200, output);
    },

    async getOffsets(call) {
      const page = await broker.fetchOffsets({ group: call.params.group, ...call.query });
      const output: OffsetsPage = {
        ...page,
        items: page.items.map(({ topic, partition, offset, leaderEpoch, metadata, committedAtMs }) => ({
          topic,
          partition,
          offset,
          leaderEpoch,
          metadata,
          committedAtMs,
        })),
      };
      return json(call, 200, output);
    },

    async commitOffsets(call) {
      const { group } = call.params;
      const input = await bodyOf(call.request, commitInput);
      const member = memberOf(input);
      const { offsets } = input;
      const mayCommit = offsets.map(({ topic }) => allowsTopic(call.principal.scopes, 'consume', topic));
      const allowed = offsets.filter((_, i) => mayCommit[i]);
      // Without any allowed topic the group is not touched at all.
      if (allowed.length === 0) throw accessDenied();
      const done = await broker.commitOffsets({
        group,
        member,
        offsets: allowed.map(({ leaderEpoch, metadata, ...where }) => ({
          ...where,
          leaderEpoch: leaderEpoch ?? undefined,
          metadata: metadata ?? undefined,
        })),
      });
      let next = 0;
      const outcomes = mayCommit.map(
        (isAllowed): CommitOutcome =>
          isAllowed ? (done[next++] as CommitOutcome) : { ok: false, error: accessDenied() },
      );
      throwIfAllFailed(done);
      return json(call, 200, outcomesOf(offsets, outcomes));
    },

    async resetOffsets(call) {
      const { group } = call.params;
      const input = await bodyOf(call.request, resetInput);
      const reset = resetOf(input);
      for (const { topic } of input.topics)
        if (!allowsTopic(call.principal.scopes, 'consume', topic)) throw accessDenied();
      const dryRun = input.dryRun ?? false;
      const topics = input.topics.map(({ topic, partitions }) => ({ topic, partitions: partitions ?? undefined }));
      const results = await broker.resetOffsets({ group, topics, reset, dryRun });
      throwIfAllFailed(results.map(({ error }) => (error === undefined ? { ok: true } : { ok: false, error })));
      const output: ResetOutput = {
        dryRun,
        partitions: results.map(({ error, ...result }) =>
          error === undefined ? result : { ...result, error: toProblem(error) },
        ),
      };
      return json(call, 200, output);
    },

    async deleteOffsets(call) {
      const { group } = call.params;
      const { topic, partition } = call.query;
      if (!allowsTopic(call.principal.scopes, 'any', topic)) throw accessDenied();
      const count = partition === undefined ? (await broker.describeTopic(topic)).partitions : 1;
      const partitions = Array.from({ length: count }, (_, i) => ({ topic, partition: partition ?? i }));
      const outcomes = await broker.deleteOffsets({ group, partitions });
      throwIfAllFailed(outcomes);
      return json(call, 200, outcomesOf(partitions, outcomes));
    },
  };
}

async function bodyOf<S extends Parameters<typeof check>[0]>(
  request: Request,
  schema: S,
): Promise<ReturnType<typeof check<S>>> {
  requireMediaType(request.headers.get('content-type'), [MEDIA.json]);
  return check(schema, await readJson(request));
}

function subscriptionOf({
  topics,
  topicPattern,
}: Pick<HeartbeatInput, 'topics' | 'topicPattern'>): Subscription | undefined {
  if (topics == null && topicPattern == null) return undefined;
  return { topics: topics ?? [], ...(topicPattern == null ? {} : { pattern: topicPattern }) };
}

/**
 * A pattern can match topics that do not exist yet, so it takes the right on all topics. @throws EventLogError `access_denied`
 */
function mustAllow({ scopes }: Principal, { topics, pattern }: Subscription): void {
  if (pattern !== undefined && !allowsAllTopics(scopes, 'consume')) throw accessDenied();
  if (!topics.every((topic) => allowsTopic(scopes, 'consume', topic))) throw accessDenied();
}

function ownedOf({ owned }: HeartbeatInput): PartitionSet | undefined {
  if (owned == null) return undefined;
  return partitionSet(owned.flatMap(({ topicId, partitions }) => partitions.map((each) => [topicId, each] as const)));
}

type CommittingMember = { readonly memberId: string; readonly instanceId?: string; readonly memberEpoch?: number };

/** Who commits offsets; `undefined`: nobody is a member. `path` precedes the names of fields. @throws EventLogError `invalid_request` */
export function memberOf(
  { memberId, instanceId, memberEpoch }: Pick<CommitInput, 'memberId' | 'instanceId' | 'memberEpoch'>,
  path = '',
): CommittingMember | undefined {
  if (memberId == null) {
    const field = instanceId == null ? 'memberEpoch' : 'instanceId';
    if (instanceId != null || memberEpoch != null)
      throw invalidField(
        `${path}${field}`,
        `${field} says nothing without memberId. Give memberId too, or leave ${field} out.`,
      );
    return undefined;
  }
  // Without the epoch a member of an earlier life could commit for the present one.
  if (memberEpoch == null)
    throw invalidField(
      `${path}memberEpoch`,
      'A member commits with its memberEpoch, as its last heartbeat was answered.',
    );
  return { memberId, memberEpoch, ...(instanceId == null ? {} : { instanceId }) };
}

function resetOf({ to, timestamp, offset, shiftBy }: ResetInput): ResetTo {
  const given: ResetTo[] = [
    ...(to == null ? [] : [{ to }]),
    ...(timestamp == null ? [] : [{ timestampMs: timestamp }]),
    ...(offset == null ? [] : [{ offset }]),
    ...(shiftBy == null ? [] : [{ shiftBy }]),
  ];
  const [reset] = given;
  if (reset !== undefined && given.length === 1) return reset;
  throw invalidField('to', `Give exactly one of to, timestamp, offset and shiftBy; this request has ${given.length}.`);
}

function outcomesOf(
  partitions: readonly { readonly topic: string; readonly partition: number }[],
  outcomes: readonly CommitOutcome[],
): OffsetsOutput {
  return {
    offsets: partitions.map(({ topic, partition }, i) => {
      const outcome = outcomes[i] as CommitOutcome;
      return outcome.ok ? { topic, partition } : { topic, partition, error: toProblem(outcome.error) };
    }),
  };
}
