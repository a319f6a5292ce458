import { expect, it } from 'vitest';
import { headFromAttributes } from '../../../../shared/broker/heads/items.ts';
import { KnownHead } from '../../../../shared/broker/heads/known-head.ts';
import { HEAD } from '../../../../shared/storage/keys.ts';

const open = headFromAttributes({ [HEAD.firstEntry]: 8 });
/** What is left of a head whose topic was deleted and swept. */
const swept = headFromAttributes({ [HEAD.closed]: 1 });

it('knows a closed head as closed, although it has fewer entries than before, and whatever comes late', () => {
  const known = new KnownHead('t', { topicId: 'id', headNumber: 0 });
  expect(known.see(open, 1)).toBe(open);
  expect(known.see(headFromAttributes({}), 2)).toBe(open);
  expect(known.see(swept, 3)).toBe(swept);
  expect(known.see(open, 4)).toBe(swept);
});
