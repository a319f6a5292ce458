import type { PlantedBug } from './planted-bug.ts';

const MEMBER = 'shared/log/group/member.ts';
const CLAIM = 'shared/log/group/claim.ts';
const ITEMS = 'shared/broker/groups/items.ts';
const HEARTBEAT = 'shared/broker/groups/membership/heartbeat.ts';
const LOOK_AFTER = 'shared/broker/groups/membership/look-after-group.ts';
const CLAIM_PARTITIONS = 'shared/broker/groups/membership/claim-partitions.ts';
const JOIN = 'shared/broker/groups/membership/join-group.ts';
const LEAVE = 'shared/broker/groups/membership/leave-group.ts';
const TARGETS = 'shared/broker/groups/membership/targets.ts';
const COMMIT = 'shared/broker/groups/offsets/commit-offsets.ts';
const COMMIT_PAGE = 'shared/broker/groups/offsets/commit-page.ts';
const PAGES = 'shared/broker/groups/offsets/pages.ts';
const UNOWNED = 'shared/broker/groups/offsets/change-unowned.ts';
const EXPIRE = 'shared/broker/groups/membership/expire-members.ts';
const DELETE = 'shared/broker/groups/delete-group.ts';
const SWEEP = 'shared/broker/groups/sweep-groups.ts';
const POLL = 'shared/broker/groups/poll.ts';

function bug(name: string, why: string, file: string, from: string, to: string): PlantedBug {
  return { name, why, edits: [{ file, from, to }], of: 'groups' };
}

export const GROUP_BUGS: readonly PlantedBug[] = [
  bug(
    'group-commit-of-anybody',
    'A commit is accepted whoever owns the partition.',
    COMMIT,
    'owner === undefined || owner.memberKey !== key || owner.memberId !== memberId',
    'owner === undefined',
  ),
  {
    // The next user's claim has a higher member epoch, which rejects these commits too: members of the simulation always name theirs.
    ...bug(
      'group-commit-by-instance-id',
      'A commit of the former user of an instance id is accepted.',
      COMMIT,
      ' || owner.memberId !== memberId)',
      ')',
    ),
    isUnmet: true,
  },
  {
    ...bug(
      'group-commit-of-a-former-life',
      'A commit of a member from before it was ended is accepted after it has joined again.',
      COMMIT,
      'memberEpoch < owner.memberEpoch',
      'memberEpoch < 0',
    ),
    isUnmet: true,
  },
  bug(
    'group-late-commit-goes-back',
    'A commit that is delivered again takes back what its member has committed since.',
    COMMIT,
    '(hasChanged || onlyForward) &&',
    'false &&',
  ),
  bug(
    'group-page-without-condition',
    'Slots are changed whatever they have become since they were read.',
    PAGES,
    "conditions.push({ if: 'equals', name: OFFSET_PAGE.tag(slot), value: seen.tag });",
    '',
  ),
  bug(
    'group-claim-forgets-the-offset',
    'The new owner of a partition begins without what was committed.',
    CLAIM_PARTITIONS,
    '{ ...slot, owner, fence: member.targetEpoch }',
    '{ committed: undefined, owner, fence: member.targetEpoch }',
  ),
  bug(
    'group-told-before-the-claim',
    'A member is told of partitions whose slots it has not claimed.',
    CLAIM_PARTITIONS,
    'return { hasGained: true, told: member };',
    'return { hasGained: true, told: listed };',
  ),
  {
    ...bug(
      'group-refused-claim-not-noticed',
      'A member is told of a partition although its claim was refused.',
      CLAIM_PARTITIONS,
      'return results.every(({ ok }) => ok);',
      'return results.length >= 0;',
    ),
    isUnmet: true,
  },
  bug(
    'group-taken-from-its-holder',
    'A partition is claimed while another member holds it.',
    CLAIM,
    "if (holder !== undefined && holds(holder, topicId, partition.partition)) return 'blocked';",
    '',
  ),
  bug(
    'group-fence-not-compared',
    'A member with an old target claims a partition that was claimed for a newer one.',
    CLAIM,
    "return slot.tag !== 0 && fence >= member.targetEpoch ? 'blocked' : 'free';",
    "return 'free';",
  ),
  bug(
    'group-own-slot-not-claimed-again',
    'A member that follows another under its instance id does not claim its partitions.',
    CLAIM,
    "return fence === member.targetEpoch && owner.memberId === member.memberId ? 'own' : 'free';",
    "return 'own';",
  ),
  bug(
    'group-revoking-not-held',
    'A partition is handed over as soon as its owner was told to let go of it.',
    MEMBER,
    'hasPartition(member.revoking, topicId, partition)',
    'false',
  ),
  bug(
    'group-released-unasked',
    'A member counts as having let go, whatever it says that it still has.',
    MEMBER,
    'held === undefined ? member.revoking : intersection(member.revoking, held)',
    'NO_PARTITIONS',
  ),
  bug(
    'group-expired-too-early',
    'A session ends three seconds before its time.',
    MEMBER,
    'nowMs > endsAtMs + CLOCK_MARGIN_MS',
    'nowMs > endsAtMs - 3_000',
  ),
  bug(
    'group-epoch-begins-again',
    'The epoch of a member that joins again begins at 1.',
    JOIN,
    'epoch: seen.epoch + 1, targetEpoch: 0',
    'epoch: 1, targetEpoch: 0',
  ),
  bug(
    'group-epoch-reused',
    'A member that joins again has the epoch of its former life.',
    JOIN,
    'epoch: seen.epoch + 1, targetEpoch: 0',
    'epoch: seen.epoch, targetEpoch: 0',
  ),
  bug(
    'group-join-without-raise',
    'A member joins, and the epoch of the group stays as it is.',
    JOIN,
    '    await raiseEpochOf(context, items, group, made);',
    '',
  ),
  bug(
    'group-static-not-claimed-again',
    'A member follows another under its instance id without claiming its partitions.',
    JOIN,
    ', unclaimed: seen.assigned };',
    ' };',
  ),
  bug(
    'group-instance-shared',
    'A second member takes an instance id while the first one is there.',
    JOIN,
    'if (!seen.isAway && !isOverdue(seen, nowMs))',
    'if (nowMs < 0)',
  ),
  bug(
    'group-leave-without-end',
    'A member that leaves keeps its partitions until its session ends.',
    LEAVE,
    '{ ...member, isAway: true } : end(member)',
    '{ ...member, isAway: true } : member',
  ),
  bug(
    'group-member-without-condition',
    'A member is written whatever it has become since it was read.',
    ITEMS,
    "{ if: 'equals', name: MEMBER.version, value: seen.version },",
    '',
  ),
  bug(
    'group-old-heartbeat-obeyed',
    'A heartbeat under an old epoch counts as one that knows what the member was told.',
    ITEMS,
    "{ if: 'equals', name: MEMBER.epoch, value: memberEpoch },",
    '',
  ),
  bug(
    'group-target-of-a-newer-epoch',
    'A target names the epoch that the group has reached since its members were listed.',
    TARGETS,
    "{ do: 'set', name: GROUP.targetEpoch, value: epoch },",
    "{ do: 'set', name: GROUP.targetEpoch, value: Number((await items.get(groupKey(name))).attributes?.[GROUP.epoch]) },",
  ),
  bug(
    'group-older-target-in-force',
    'A target that took long to compute replaces a newer one.',
    TARGETS,
    ", { if: 'at_most', name: GROUP.targetEpoch, value: epoch - 1 }]",
    ']',
  ),
  bug(
    'group-growth-not-noticed',
    'Nobody notices that a topic has got more partitions.',
    LOOK_AFTER,
    'isOutdated = topicsHash(topics) !== computedFrom?.topicsHash;',
    'isOutdated = topics.length < 0;',
  ),
  bug(
    'group-reset-keeps-the-owner',
    'After a reset a late commit of a member that is gone is accepted.',
    UNOWNED,
    'content: { owner: undefined, fence: seen.fence, committed }',
    'content: { owner: seen.owner, fence: seen.fence, committed }',
  ),
  bug(
    'group-deleted-with-members',
    'A group is deleted without a look at its members.',
    DELETE,
    "if (await hasLiveMember(context, items, group)) return 'not_empty';",
    '',
  ),
  bug(
    'group-deleted-beside-a-join',
    'A deletion does not notice that the group has changed since its members were listed.',
    DELETE,
    "{ if: 'equals', name: GROUP.epoch, value: epoch },",
    '',
  ),
  bug(
    'group-listing-left',
    'A deleted group stays listed.',
    DELETE,
    'if (listing !== undefined)\n',
    'if (listing === undefined)\n',
  ),
  bug(
    'group-swept-with-members',
    'The sweep takes every group for one without members.',
    SWEEP,
    'const isLive = await hasLiveMember(context, items, name);',
    'const isLive = false;',
  ),
  bug(
    'group-poll-passes-over-records',
    'A poll commits up to the end of what it has read, also what it has not given out.',
    POLL,
    'position.offset = part.nextOffset;',
    'position.offset = Math.max(part.nextOffset, highWatermark);',
  ),
  bug(
    'group-poll-goes-on-elsewhere',
    'A poll reads on where its token stands, in partitions that have moved since.',
    POLL,
    'token !== undefined && token.memberEpoch === this.#memberEpoch',
    'token !== undefined',
  ),
  bug(
    'group-given-up-at-once',
    'What a target takes away from a member is free at once.',
    MEMBER,
    'revoking: union(member.revoking, lost),',
    'revoking: member.revoking,',
  ),
  bug(
    'group-gain-under-the-same-epoch',
    'The epoch of a member does not rise when it gets a partition.',
    MEMBER,
    'assigned: union(member.assigned, gained),',
    'assigned: union(member.assigned, gained), ...{ epoch: member.epoch },',
  ),
  bug(
    'group-loss-under-the-same-epoch',
    'The epoch of a member does not rise when it is told to let go of a partition.',
    MEMBER,
    'assigned: difference(member.assigned, lost),',
    'assigned: difference(member.assigned, lost), ...{ epoch: member.epoch },',
  ),
  bug(
    'group-gone-member-forgotten',
    'A member that is gone is forgotten at once, so that its epochs begin again while its requests are under way.',
    TARGETS,
    'const GONE_KEPT_MS = 600_000;',
    'const GONE_KEPT_MS = -10_000;',
  ),
  bug(
    'group-answer-repeated-unclaimed',
    'An answer is repeated before what it names is claimed.',
    HEARTBEAT,
    'const claimed = await claimUnclaimed(this.#context, this.#items, this.#request.group, member);',
    'const claimed = member;',
  ),
  bug(
    'group-nobody-expires',
    'A member whose session has ended keeps its partitions.',
    EXPIRE,
    'isOverdue(member, context.clock.nowMs()));',
    'isOverdue(member, 0));',
  ),
  bug(
    'group-commit-rejected-by-memory',
    'A commit of the owner is rejected because of what the process remembers from before the claim.',
    COMMIT_PAGE,
    'if (first !== undefined)',
    'if (tries >= 0)',
  ),
];
