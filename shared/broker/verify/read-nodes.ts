import { TAIL_NODE_ENTRIES, type TailNode } from '../../log/head/head.ts';
import { nodePartitionKey, nodeSortKey } from '../../storage/keys.ts';
import { nodeFromAttributes } from '../heads/items.ts';
import { causeText, isDamage, type Verification } from './verification.ts';

export interface ReadNode {
  readonly firstEntry: number;
  /** `undefined` if the node is damaged. */
  readonly node: TailNode | undefined;
  readonly damage?: string;
}

const NODES_PER_QUERY = 64;
/** What a node counts towards the limit of a call. */
const NODE_BYTES = 512;

/** Up to 64 tail nodes with entry numbers in `[from, to)`, in order, also damaged ones. 1 Query. */
export async function readNodes(run: Verification, from: number, to: number): Promise<ReadNode[]> {
  const { topicId, headNumber } = run.name;
  const range = { pk: nodePartitionKey(topicId, headNumber), from: nodeSortKey(from), to: nodeSortKey(to) };
  const { items } = await run.ask(() => run.stores.items.query({ ...range, limit: NODES_PER_QUERY }));
  run.spend((items.length + 1) * NODE_BYTES);
  return items.map(({ sk, attributes }) => {
    const firstEntry = Number(sk);
    try {
      return { firstEntry, node: nodeFromAttributes(firstEntry, attributes) };
    } catch (error) {
      if (!isDamage(error)) throw error;
      return { firstEntry, node: undefined, damage: causeText(error) };
    }
  });
}

/** The end of the nodes, if what was read reaches it: behind the last node, or if there are none where some must be. */
export function endOf(nodes: readonly ReadNode[], firstEntry: number): readonly ReadNode[] {
  const last = nodes.at(-1);
  const isEnd = last === undefined || last.firstEntry + TAIL_NODE_ENTRIES >= firstEntry;
  return isEnd ? [{ firstEntry, node: undefined }] : [];
}
