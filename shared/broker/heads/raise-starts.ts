import { invariant } from '../../log/errors.ts';
import { type Head, partitionState } from '../../log/head/head.ts';
import { HEAD, headKey } from '../../storage/keys.ts';
import type { ItemStore } from '../../storage/ports.ts';
import { type RetryContext, retrying } from '../retry.ts';
import { type HeadName, headFromAttributes } from './items.ts';

/**
 * Raises the log start offsets of some slots; one that is higher already stays. No offset may be beyond the end of its
 * partition in `observed`. Returns the head afterwards. A closed head is left as it is.
 *
 * The condition on the old start makes a request that arrives late or twice harmless. The end of a partition only rises, so
 * it needs no condition. 1 UpdateItem, none if nothing is to be raised, more if others raise the same starts.
 */
export async function raiseStarts(
  context: RetryContext,
  items: ItemStore,
  name: HeadName,
  observed: Head,
  starts: ReadonlyMap<number, number>,
): Promise<Head> {
  for (let head = observed; ; ) {
    const raises = [...starts].filter(([slot, offset]) => partitionState(head, slot).logStartOffset < offset);
    if (head.closed || raises.length === 0) return head;
    for (const [slot, offset] of raises)
      invariant(offset <= partitionState(head, slot).nextOffset, () => `slot ${slot} ends before the offset ${offset}`);
    const { attributes } = await retrying(context, 'from_error', () =>
      items.update(
        headKey(name.topicId, name.headNumber),
        raises.map(([slot, value]) => ({ do: 'set', name: HEAD.start(slot), value })),
        [
          { if: 'item_exists' },
          { if: 'absent', name: HEAD.closed },
          ...raises.map(([slot, value]) => ({ if: 'at_most' as const, name: HEAD.start(slot), value: value - 1 })),
        ],
      ),
    );
    head = headFromAttributes(attributes, head);
  }
}
