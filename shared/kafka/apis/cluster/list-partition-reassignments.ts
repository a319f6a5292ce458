import { KAFKA_ERRORS } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { LIST_PARTITION_REASSIGNMENTS } from '../../protocol/messages/cluster/list-partition-reassignments.ts';

/** There are none: partitions are not on servers, so none of them ever moves. */
export const listPartitionReassignments = handler(LIST_PARTITION_REASSIGNMENTS, 'authentication', async () => ({
  errorCode: KAFKA_ERRORS.NONE,
  errorMessage: null,
  topics: [],
}));
