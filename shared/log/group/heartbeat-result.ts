/** The answer to a heartbeat of a member. */
export interface HeartbeatResult {
  readonly memberId: string;
  /** For the next request. */
  readonly memberEpoch: number;
  /** When to send it. Sooner if there is something left to do. */
  readonly heartbeatIntervalMs: number;
  readonly sessionTimeoutMs: number;
  /** Whether the member has all partitions that it will get for now, and the group's target is in force. */
  readonly isSettled: boolean;
  /** The partitions that the member reads from now on, and no others. Topics that were deleted are left out. */
  readonly assignment: readonly AssignedTopic[];
}

export interface AssignedTopic {
  readonly topic: string;
  readonly topicId: string;
  readonly partitions: readonly number[];
}
