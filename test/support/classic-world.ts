import type { Broker } from '../../shared/broker/broker.ts';
import type { JoinClassicRequest, JoinClassicResult } from '../../shared/broker/groups/classic/join-classic-group.ts';
import { ByteWriter } from '../../shared/log/bytes.ts';
import { partitionsOfAssignment } from '../../shared/log/group/classic/consumer-assignment.ts';
import { bytes } from './memory-broker.ts';

/** What a classic consumer sends. */

export const GROUP = 'g';

/** A ConsumerProtocolAssignment. */
export function assignmentOf(
  topics: Readonly<Record<string, readonly number[]>>,
  { version = 1, userData = -1 }: { readonly version?: number; readonly userData?: number } = {},
): Uint8Array {
  const writer = new ByteWriter();
  writer.int16(version);
  writer.int32(Object.keys(topics).length);
  for (const [topic, partitions] of Object.entries(topics)) {
    writer.int16(bytes(topic).length);
    writer.write(bytes(topic));
    writer.int32(partitions.length);
    for (const partition of partitions) writer.int32(partition);
  }
  writer.int32(userData);
  return writer.finish();
}

/** A ConsumerProtocolSubscription. `owned`: `topic/partition` of each. */
export function subscriptionBytes(
  topics: readonly string[],
  {
    owned = [],
    version = 3,
    rack,
  }: { readonly owned?: readonly string[]; readonly version?: number; readonly rack?: string } = {},
): Uint8Array {
  const writer = new ByteWriter();
  const text = (value: string): void => {
    writer.int16(bytes(value).length);
    writer.write(bytes(value));
  };
  writer.int16(version);
  writer.int32(topics.length);
  for (const topic of topics) text(topic);
  writer.int32(-1);
  if (version >= 1) {
    const byTopic = Map.groupBy(owned, (name) => name.split('/')[0] as string);
    writer.int32(byTopic.size);
    for (const [topic, names] of byTopic) {
      text(topic);
      writer.int32(names.length);
      for (const name of names) writer.int32(Number(name.split('/')[1]));
    }
  }
  if (version >= 2) writer.int32(-1);
  if (version >= 3) {
    if (rack === undefined) writer.int16(-1);
    else text(rack);
  }
  return writer.finish();
}

/** `topic/partition`, sorted. */
export function partitionNames(assignment: Uint8Array): string[] {
  return partitionsOfAssignment(assignment)
    .flatMap(({ topic, partitions }) => partitions.map((partition) => `${topic}/${partition}`))
    .sort();
}

export function joinRequest(memberId: string, more: Partial<JoinClassicRequest> = {}): JoinClassicRequest {
  return {
    group: GROUP,
    memberId,
    protocolType: 'consumer',
    protocols: [{ name: 'range', metadata: bytes('metadata') }],
    sessionTimeoutMs: 10_000,
    rebalanceTimeoutMs: 30_000,
    ...more,
  };
}

/** Distributes partitions 0 to `partitions` - 1 of a topic over the members, in turns. */
export function assignInTurns(
  { members }: JoinClassicResult,
  topic: string,
  partitions: number,
): { readonly memberId: string; readonly assignment: Uint8Array }[] {
  return members.map(({ memberId }, i) => ({
    memberId,
    assignment: assignmentOf({
      [topic]: Array.from({ length: partitions }, (_, partition) => partition).filter(
        (partition) => partition % members.length === i,
      ),
    }),
  }));
}

/** The members join at the same time, and sync: the leader assigns in turns. */
export async function settle(
  broker: Broker,
  requests: readonly JoinClassicRequest[],
  { topic = 'orders', partitions = 4 }: { readonly topic?: string; readonly partitions?: number } = {},
): Promise<{ readonly joined: readonly JoinClassicResult[]; readonly assigned: readonly string[][] }> {
  const joined = await Promise.all(requests.map((request) => broker.joinClassicGroup(request)));
  const synced = await Promise.all(
    joined.map((result, i) =>
      broker.syncClassicGroup({
        group: (requests[i] as JoinClassicRequest).group,
        memberId: result.memberId,
        instanceId: requests[i]?.instanceId,
        generation: result.generation,
        assignments: result.leader === result.memberId ? assignInTurns(result, topic, partitions) : [],
      }),
    ),
  );
  return { joined, assigned: synced.map(({ assignment }) => partitionNames(assignment)) };
}
