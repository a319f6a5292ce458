import { KAFKA_ERRORS, type KafkaErrorNumber } from '../error-codes.ts';

/** The only epoch, of every gateway: the log never loses acknowledged records to a change of leaders. */
export const LEADER_EPOCH = 0;
const NONE = -1;

/** Why a client that knows a partition's leader by this epoch must ask for metadata first, as Kafka says it. */
export function leaderEpochError(currentLeaderEpoch: number): KafkaErrorNumber | undefined {
  if (currentLeaderEpoch === NONE || currentLeaderEpoch === LEADER_EPOCH) return undefined;
  return currentLeaderEpoch > LEADER_EPOCH ? KAFKA_ERRORS.UNKNOWN_LEADER_EPOCH : KAFKA_ERRORS.FENCED_LEADER_EPOCH;
}
