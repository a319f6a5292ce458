import { toHex } from '../../../log/bytes.ts';
import { invalidField } from '../../../log/errors.ts';
import { type ClassicProtocol, checkProtocols } from '../../../log/group/classic/protocols.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import { REBALANCE_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MAX, SESSION_TIMEOUT_MS_MIN } from '../../../log/limits.ts';
import type { Random } from '../../../storage/ports.ts';
import { bounded } from '../../read/read.ts';

export interface JoinClassicRequest {
  readonly group: string;
  /** Empty for a member that has none yet. */
  readonly memberId: string;
  readonly instanceId?: string | undefined;
  /** `consumer`, or what another kind of clients uses. The same for all members. */
  readonly protocolType: string;
  /** In the member's order of preference. */
  readonly protocols: readonly ClassicProtocol[];
  /** 3 s to 30 min. The gateway may ask for more. */
  readonly sessionTimeoutMs: number;
  /** How long the member may take to join again. More than an hour counts as an hour. */
  readonly rebalanceTimeoutMs: number;
  /** A member without an id gets one with the error `member_id_required`, as from JoinGroup v4 on. */
  readonly requiresMemberId?: boolean | undefined;
  /** The client knows `skipAssignment`, as from JoinGroup v9 on. */
  readonly supportsSkippingAssignment?: boolean | undefined;
  readonly clientId?: string | undefined;
  readonly clientHost?: string | undefined;
  /** Ends the wait, when the client has closed its connection for example. */
  readonly signal?: AbortSignal | undefined;
}

const PROTOCOL_TYPE_LENGTH_MAX = 255;
const CLIENT_TEXT_LENGTH_MAX = 256;
const CLIENT_ID_IN_MEMBER_ID_MAX = 100;

/** @throws EventLogError `invalid_request` naming the field */
export function checkJoin(request: JoinClassicRequest): void {
  const { group, memberId, instanceId, protocolType, protocols, sessionTimeoutMs, rebalanceTimeoutMs } = request;
  checkGroupName(group, 'group');
  if (memberId !== '') checkGroupName(memberId, 'memberId');
  if (instanceId !== undefined) checkGroupName(instanceId, 'instanceId');
  if (protocolType === '' || protocolType.length > PROTOCOL_TYPE_LENGTH_MAX)
    throw invalidField('protocolType', `protocolType has 1 to ${PROTOCOL_TYPE_LENGTH_MAX} characters.`);
  checkProtocols(protocols);
  bounded('sessionTimeoutMs', sessionTimeoutMs, SESSION_TIMEOUT_MS_MIN, SESSION_TIMEOUT_MS_MAX);
  if (!Number.isSafeInteger(rebalanceTimeoutMs) || rebalanceTimeoutMs < 0)
    throw invalidField('rebalanceTimeoutMs', 'rebalanceTimeoutMs takes a whole number from 0 on.');
}

/** As clients often set it to the largest number that there is. */
export function rebalanceTimeout({ rebalanceTimeoutMs }: JoinClassicRequest): number {
  return Math.min(rebalanceTimeoutMs, REBALANCE_TIMEOUT_MS_MAX);
}

/** What people see of the client: cut off, not rejected. */
export function clientText(text: string | undefined): string | undefined {
  return text?.slice(0, CLIENT_TEXT_LENGTH_MAX);
}

/** Like Kafka's: the instance id or the client id, and a UUID. */
export function newMemberId(random: Random, { instanceId, clientId }: JoinClassicRequest): string {
  const hex = toHex(random.bytes(16));
  const uuid = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
  const name = (instanceId ?? clientId ?? '').replace(/[^\x21-\x7e]/g, '_').slice(0, CLIENT_ID_IN_MEMBER_ID_MAX);
  return `${name}-${uuid}`;
}
