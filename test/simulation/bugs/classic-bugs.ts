import type { PlantedBug } from './planted-bug.ts';

const COMMIT = 'shared/broker/groups/classic/commit-classic-offsets.ts';
const CLAIM = 'shared/broker/groups/classic/claim-assignment.ts';
const SYNC = 'shared/broker/groups/classic/sync-classic-group.ts';
const JOIN = 'shared/broker/groups/classic/join-classic-group.ts';
const HEARTBEAT = 'shared/broker/groups/classic/heartbeat-classic-group.ts';
const ITEMS = 'shared/broker/groups/classic/state/items.ts';
const ROUNDS = 'shared/broker/groups/classic/state/rounds.ts';
const ROUND = 'shared/log/group/classic/round.ts';
const DECIDE_JOIN = 'shared/log/group/classic/join.ts';
const GROUP = 'shared/log/group/classic/classic-group.ts';
const MEMBER = 'shared/log/group/classic/classic-member.ts';
const FETCH = 'shared/broker/groups/offsets/fetch-offsets.ts';
const NO_MEMBERS = 'shared/broker/groups/no-members.ts';
const DELETE = 'shared/broker/groups/delete-group.ts';

function bug(name: string, why: string, file: string, from: string, to: string): PlantedBug {
  return { name, why, edits: [{ file, from, to }], of: 'classic' };
}

export const CLASSIC_BUGS: readonly PlantedBug[] = [
  bug(
    'classic-commit-of-an-older-generation',
    'A commit of an older generation is accepted after a newer one has claimed the partition.',
    COMMIT,
    "if (slot.fence > generation) return 'refuse';",
    "if (slot.fence > generation) return 'write';",
  ),
  bug(
    'classic-commit-by-instance-id',
    'A commit of the former user of an instance id is accepted.',
    COMMIT,
    'owner?.memberKey === key && owner.memberId === memberId',
    'owner?.memberKey === key',
  ),
  bug(
    'classic-commit-unasked',
    'A commit for a partition that the member has not claimed is accepted without a look at the group.',
    COMMIT,
    "return isOwn(slot) ? 'write' : 'ask';",
    "return isOwn(slot) ? 'write' : 'write';",
  ),
  {
    ...bug(
      'classic-commit-leaves-the-fence',
      'A commit does not raise the fence of a partition that nobody has claimed.',
      COMMIT,
      ': { owner: slot.owner, fence: generation },',
      ': { owner: slot.owner, fence: slot.fence },',
    ),
    isUnmet: true,
  },
  bug(
    'classic-claim-of-an-older-generation',
    'A sync claims partitions that a newer generation has claimed.',
    CLAIM,
    'if (slot.fence > generation) throw',
    'if (slot.fence > generation + 1_000) throw',
  ),
  bug(
    'classic-assignment-not-claimed',
    'A sync is answered without a claim of what is assigned.',
    SYNC,
    'if (protocolType === CONSUMER_PROTOCOL)',
    "if (protocolType === '')",
  ),
  bug(
    'classic-assignment-claimed-later',
    'A sync is answered while what is assigned is being claimed.',
    CLAIM,
    'await eachOf(byPage(claimant.group, entries)',
    'void eachOf(byPage(claimant.group, entries)',
  ),
  {
    ...bug(
      'classic-former-user-claims-back',
      'A sync of the former user of an instance id claims its partitions back.',
      CLAIM,
      'if (hasPredecessor) await checkInstance',
      'if (hasPredecessor && seen === undefined) await checkInstance',
    ),
    isUnmet: true,
  },
  bug(
    'classic-round-does-not-wait',
    'A round ends although members have not joined it.',
    ROUND,
    'if (!due && (group.isInitialRound || joined.length < live.length))',
    'if (!due && group.isInitialRound)',
  ),
  {
    name: 'classic-first-round-does-not-wait',
    why: 'The first round of a group ends before its time.',
    edits: [
      {
        file: ROUND,
        from: 'if (!due && (group.isInitialRound || joined.length < live.length))',
        to: 'if (!due && joined.length < live.length)',
      },
      { file: JOIN, from: 'if (group.isInitialRound && !due) return false;', to: '' },
    ],
    of: 'classic',
  },
  bug(
    'classic-move-without-the-epoch',
    'A group is moved whatever its epoch has become.',
    ITEMS,
    "{ if: 'equals', name: GROUP.epoch, value: seen.epoch },",
    '',
  ),
  bug(
    'classic-move-without-the-phase',
    'A group is moved whatever its phase has become.',
    ITEMS,
    "{ if: 'equals', name: GROUP.phase, value: PHASES.indexOf(seen.phase) },",
    '',
  ),
  {
    ...bug(
      'classic-move-without-the-round',
      'A group is moved whatever its round has become.',
      ITEMS,
      "{ if: 'equals', name: GROUP.round, value: seen.round },",
      '',
    ),
    isUnmet: true,
  },
  bug(
    'classic-member-overwritten',
    'A member is stored whatever it has become since it was read.',
    ITEMS,
    'classicMemberToAttributes(next), [condition])',
    'classicMemberToAttributes(next), [condition].slice(1))',
  ),
  bug(
    'classic-heartbeat-of-another-id',
    'A heartbeat of the former user of an instance id is accepted.',
    ITEMS,
    "{ if: 'equals', name: CLASSIC_MEMBER.memberId, value: memberId },",
    '',
  ),
  bug(
    'classic-heartbeat-of-one-that-is-gone',
    'A heartbeat of a member that is gone is accepted.',
    ITEMS,
    "{ if: 'absent', name: CLASSIC_MEMBER.gone },",
    '',
  ),
  bug(
    'classic-heartbeat-of-any-generation',
    'A heartbeat of an older generation is accepted.',
    HEARTBEAT,
    'if (group.epoch !== generation) throw',
    'if (group.epoch < generation) throw',
  ),
  bug(
    'classic-heartbeat-while-joining',
    'A heartbeat is not told that the members join again.',
    HEARTBEAT,
    "if (group.phase === 'joining') throw",
    "if (group.phase === 'empty') throw",
  ),
  bug(
    'classic-gone-member-comes-back',
    'A member that is gone joins again under its id.',
    JOIN,
    "const isEnded = found?.isGone === true && (given !== '' || this.#mustBeKnown);",
    'const isEnded = found?.isGone === true && this.#mustBeKnown;',
  ),
  bug(
    'classic-missing-member-not-noticed',
    'A member of the generation that is gone does not begin a round.',
    ROUNDS,
    'const isMissing = roster === undefined || roster.members.some(({ key }) => gone.has(key));',
    'const isMissing = roster === undefined;',
  ),
  bug(
    'classic-session-without-margin',
    'A session ends two seconds after the last heartbeat.',
    MEMBER,
    'nowMs > seenAtMs + sessionTimeoutMs + CLOCK_MARGIN_MS',
    'nowMs > seenAtMs + CLOCK_MARGIN_MS',
  ),
  {
    ...bug(
      'classic-leader-waited-for-without-end',
      'A leader that does not assign in time holds up its generation.',
      ROUNDS,
      "if (group.phase === 'syncing' && isDue(group, nowMs))",
      "if (group.phase === 'empty' && isDue(group, nowMs))",
    ),
    isUnmet: true,
  },
  {
    ...bug(
      'classic-generation-answered-to-a-later-joiner',
      'A member that has joined a round which has not begun is answered with the present generation.',
      DECIDE_JOIN,
      'if (listed === undefined || known.round > group.round) return next;',
      'if (listed === undefined) return next;',
    ),
    isUnmet: true,
  },
  bug(
    'classic-round-keeps-its-number',
    'Members that join again do not begin another round.',
    GROUP,
    'round: group.round + 1,',
    'round: group.round + (hasGeneration(group) ? 0 : 1),',
  ),
  bug(
    'classic-offsets-from-memory',
    'A reader gets the offset that its process has in memory.',
    FETCH,
    'let page = await readPage(items, name);',
    'let page = context.groups.getPage(group, name.topicId, name.page) ?? (await readPage(items, name));',
  ),
  bug(
    'classic-group-deleted-with-members',
    'A group is deleted while it has members.',
    NO_MEMBERS,
    'if (present.some((member) => isLive(member, nowMs))) return true;',
    'if (present.some((member) => isLive(member, nowMs))) return false;',
  ),
  {
    ...bug(
      'classic-group-deleted-under-a-round',
      'A group is deleted although a round has begun since it was read.',
      DELETE,
      "{ if: 'equals', name: GROUP.round, value: found?.round ?? 0 },",
      '',
    ),
    isUnmet: true,
  },
];
