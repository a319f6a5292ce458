import { EventLogError } from '../../../log/errors.ts';
import { checkGroupName } from '../../../log/group/group.ts';
import type { BrokerContext } from '../../context.ts';
import { NO_TOPIC } from '../../usage/usage-meter.ts';
import { readGroup } from '../items.ts';
import { unknownGroup } from '../no-members.ts';
import { changeUnowned, type UnownedChange } from './change-unowned.ts';
import { checkPartitions, type TopicPartition, withTopicIds } from './chosen-partitions.ts';
import type { CommitOutcome } from './commit-offsets.ts';

export interface DeleteOffsetsRequest {
  readonly group: string;
  readonly partitions: readonly TopicPartition[];
}

/**
 * Forgets what a group without live members has committed for partitions. A partition without an offset is no error. The
 * outcomes are in the order of the request. Costs what `commitOffsets` without a member does.
 *
 * The slots are kept, with other tags: a late copy of an earlier commit is refused.
 * @throws EventLogError `invalid_request`, `unknown_group`, `group_not_empty`; then nothing was changed
 */
export async function deleteOffsets(context: BrokerContext, request: DeleteOffsetsRequest): Promise<CommitOutcome[]> {
  const { group, partitions } = request;
  checkGroupName(group, 'group');
  checkPartitions(partitions, 'partitions');
  const { items } = context.usage.of(NO_TOPIC, 'group');
  const checkGroup = async (): Promise<void> => {
    const found = await readGroup(items, group);
    if (found === undefined || found.isDeleted) throw unknownGroup(group);
  };
  const found = (await withTopicIds(context, partitions)).map((each): UnownedChange | EventLogError =>
    each instanceof EventLogError ? each : { ...each, decide: () => undefined },
  );
  const changes = found.flatMap((each) => (each instanceof EventLogError ? [] : [each]));
  const errors = await changeUnowned(context, items, group, changes, checkGroup);
  const byChange = new Map(changes.map((change, i) => [change, errors[i]]));
  return found.map((each) => {
    const error = each instanceof EventLogError ? each : byChange.get(each);
    return error === undefined ? { ok: true } : { ok: false, error };
  });
}
