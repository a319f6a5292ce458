import { invalidField } from '../../log/errors.ts';
import type { AssignorName } from '../../log/group/assignor.ts';
import { checkGroupName } from '../../log/group/group.ts';
import { decodePollToken, type PollToken } from '../../log/group/poll-token.ts';
import type { Subscription } from '../../log/group/subscription.ts';
import {
  READ_BYTES_DEFAULT,
  READ_BYTES_MAX,
  READ_RECORDS_DEFAULT,
  READ_RECORDS_MAX,
  READ_WAIT_MS_MAX,
} from '../../log/limits.ts';
import type { Random } from '../../storage/ports.ts';
import { bounded } from '../read/read.ts';

export interface PollRequest {
  readonly group: string;
  /** Default: that of `after`, otherwise a random one. */
  readonly memberId?: string | undefined;
  readonly instanceId?: string | undefined;
  /** Needed to join; otherwise `undefined` leaves it as it is. */
  readonly subscription?: Subscription | undefined;
  readonly assignor?: AssignorName | undefined;
  /** The token of the last poll: its records are processed, and are committed now. */
  readonly after?: string | undefined;
  /** Commit the records of this poll before they are returned: each is given out at most once. Default false. */
  readonly commitAtOnce?: boolean | undefined;
  /**
   * The records of `after` are not processed yet: read on after them, and commit nothing. A later poll without this commits
   * them too. Default false.
   */
  readonly commitLater?: boolean | undefined;
  /** Partitions that stay the member's, and are not read now. Without `partitions`, all of the topic. */
  readonly paused?: readonly PausedTopic[] | undefined;
  /** Where partitions begin of which the group has committed nothing. Default `earliest`. */
  readonly startAt?: 'earliest' | 'latest' | undefined;
  readonly maxRecords?: number | undefined;
  readonly maxBytes?: number | undefined;
  /** At the end of all partitions, wait this long for records; default 0. */
  readonly waitMs?: number | undefined;
  /** The member keeps its partitions for this long after each poll. Taken when it joins; default 30 s. */
  readonly leaseMs?: number | undefined;
  /**
   * Whether the caller may read a topic, for a member that others may have subscribed to more. Default: all. Otherwise nothing
   * is committed or read for it: the poll is rejected.
   */
  readonly mayRead?: ((topic: string) => boolean) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PausedTopic {
  readonly topic: string;
  readonly partitions?: readonly number[] | undefined;
}

/** A checked request. */
export interface CheckedPoll extends PollRequest {
  readonly memberId: string;
  readonly token: PollToken | undefined;
  readonly maxRecords: number;
  readonly maxBytes: number;
  readonly waitMs: number;
}

/** @throws EventLogError `invalid_request` naming the field */
export function checkPoll(random: Random, request: PollRequest): CheckedPoll {
  checkGroupName(request.group, 'group');
  const token = request.after === undefined ? undefined : decodePollToken(request.after, 'after');
  const differs = (given: string | undefined, known: string | undefined): boolean =>
    given !== undefined && given !== known;
  if (
    token !== undefined &&
    (differs(request.memberId, token.memberId) || differs(request.instanceId, token.instanceId))
  )
    throw invalidField(
      'after',
      'The token in `after` is of another member. Leave out `memberId` and `instanceId`, or give its own.',
    );
  if (token === undefined && request.subscription === undefined)
    throw invalidField(
      'topics',
      'The first poll of a member must say what it subscribes to: `topics`, or `topicPattern`.',
    );
  if (request.commitAtOnce && request.commitLater)
    throw invalidField('commitLater', 'A poll commits at once or later. Leave out `commitAtOnce` or `commitLater`.');
  return {
    ...request,
    token,
    memberId: token?.memberId ?? request.memberId ?? Buffer.from(random.bytes(16)).toString('base64url'),
    instanceId: token?.instanceId ?? request.instanceId,
    maxRecords: bounded('maxRecords', request.maxRecords ?? READ_RECORDS_DEFAULT, 0, READ_RECORDS_MAX),
    maxBytes: bounded('maxBytes', request.maxBytes ?? READ_BYTES_DEFAULT, 1, READ_BYTES_MAX),
    waitMs: bounded('waitMs', request.waitMs ?? 0, 0, READ_WAIT_MS_MAX),
  };
}
