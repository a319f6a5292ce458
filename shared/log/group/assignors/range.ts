import type { AssignorGroup, GroupAssignment } from '../assignor.ts';

/**
 * Gives each subscriber of a topic a range of consecutive partitions. The first subscribers get one more if the number
 * does not divide evenly. Topics with the same number of partitions and the same subscribers are co-partitioned: partition
 * i of each goes to the same member, as joins need it. Like Kafka's, this assignor does not look at what members own; a
 * member keeps its ranges while the numbers of partitions and the order of subscribers stay.
 */
export function assignRange({ topics, subscribers }: AssignorGroup): GroupAssignment {
  return topics.map(({ partitions }, topic) => {
    const owners = new Int32Array(partitions).fill(-1);
    const members = subscribers[topic] as readonly number[];
    const each = Math.floor(partitions / members.length);
    const larger = partitions % members.length;
    let from = 0;
    for (const [i, member] of members.entries()) {
      const to = from + each + (i < larger ? 1 : 0);
      owners.fill(member, from, to);
      from = to;
    }
    return owners;
  });
}
