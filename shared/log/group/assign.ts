import {
  type Assignment,
  type AssignorGroup,
  type AssignorMember,
  type AssignorName,
  type AssignorTopic,
  assignorGroup,
  type GroupAssignment,
} from './assignor.ts';
import { assignRange } from './assignors/range.ts';
import { assignUniform } from './assignors/uniform.ts';

const ASSIGNORS: Readonly<Record<AssignorName, (group: AssignorGroup) => GroupAssignment>> = {
  uniform: assignUniform,
  range: assignRange,
};

/**
 * Assigns each partition of each topic to one of the members that subscribe to the topic. The result depends on the members
 * and the topics, not on the order in which they are listed.
 */
export function assign(
  name: AssignorName,
  members: readonly AssignorMember[],
  topics: readonly AssignorTopic[],
): Assignment {
  const group = assignorGroup(members, topics);
  const indexes = new Map(members.map((member, index) => [member, index]));
  const indexOfPosition = group.members.map((member) => indexes.get(member) as number);
  const owners = new Map<string, Int32Array>();
  for (const [i, positions] of ASSIGNORS[name](group).entries())
    owners.set(
      (group.topics[i] as AssignorTopic).topicId,
      positions.map((position) => (position < 0 ? -1 : (indexOfPosition[position] as number))),
    );
  return owners;
}
