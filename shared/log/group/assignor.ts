import type { PartitionSet } from './partition-set.ts';

/** The assignors that a group can choose, under Kafka's names. */
export const ASSIGNOR_NAMES = ['uniform', 'range'] as const;
export type AssignorName = (typeof ASSIGNOR_NAMES)[number];

export interface AssignorMember {
  /** Unique in the group. Members that are equal otherwise are treated in the order of their keys. */
  readonly key: string;
  /** No assignor uses it yet. */
  readonly rack?: string;
  /** Ids of the topics that the member subscribes to. Topics that do not exist are ignored. */
  readonly topics: readonly string[];
  /** What the member has now. If several members have a partition, it counts for the first of them. */
  readonly owned: PartitionSet;
}

export interface AssignorTopic {
  readonly topicId: string;
  readonly name: string;
  readonly partitions: number;
}

/** Topic id -> for each partition the index of its member in the list of members, or -1 if nobody subscribes. */
export type Assignment = ReadonlyMap<string, Int32Array>;

/** The group as assignors see it: the same for the same members and topics, in whatever order they were listed. */
export interface AssignorGroup {
  /** Ascending by key. */
  readonly members: readonly AssignorMember[];
  /** Ascending by name. */
  readonly topics: readonly AssignorTopic[];
  /** For each topic the positions of its subscribers in `members`, ascending. */
  readonly subscribers: readonly (readonly number[])[];
}

/** For each topic of the group, in its order: the position of each partition's member in the group's members, or -1. */
export type GroupAssignment = readonly Int32Array[];

/** The order of strings does not depend on a locale: every process must find the same one. */
function ascending(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function assignorGroup(members: readonly AssignorMember[], topics: readonly AssignorTopic[]): AssignorGroup {
  const sortedMembers = members.toSorted((a, b) => ascending(a.key, b.key));
  const sortedTopics = topics.toSorted((a, b) => ascending(a.name, b.name));
  const topicNumbers = new Map(sortedTopics.map(({ topicId }, i) => [topicId, i]));
  const subscribers: number[][] = sortedTopics.map(() => []);
  for (const [position, member] of sortedMembers.entries()) {
    for (const topicId of new Set(member.topics)) {
      const topic = topicNumbers.get(topicId);
      if (topic !== undefined) (subscribers[topic] as number[]).push(position);
    }
  }
  return { members: sortedMembers, topics: sortedTopics, subscribers };
}
