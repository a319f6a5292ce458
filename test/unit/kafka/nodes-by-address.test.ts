import { describe, expect, it } from 'vitest';
import { nodeIdOf, nodesByAddress } from '../../../shared/kafka/nodes/nodes-by-address.ts';

const node = (nodeId: number, host: string, port = 9_092) => ({ nodeId, host, port });

describe('the nodes that clients see', () => {
  it('are one for all gateways behind one address, with the same id whoever is there', () => {
    const [seen, ...others] = nodesByAddress([node(1, 'lb'), node(2, 'lb'), node(3, 'lb')]);
    expect(others).toEqual([]);
    expect(nodesByAddress([node(7, 'lb')])).toEqual([seen]);
    expect(seen).toEqual({ nodeId: nodeIdOf({ host: 'lb', port: 9_092 }), host: 'lb', port: 9_092 });
  });

  it('are one for each address, in whatever order they come', () => {
    const all = [node(3, 'b'), node(1, 'a'), node(2, 'a', 9_093)];
    const seen = nodesByAddress(all);
    expect(seen.map(({ host, port }) => `${host}:${port}`)).toEqual(['a:9092', 'a:9093', 'b:9092']);
    expect(new Set(seen.map(({ nodeId }) => nodeId)).size).toBe(3);
    expect(nodesByAddress(all.toReversed())).toEqual(seen);
  });

  it('have ids that Java can count coordinators down from', () => {
    for (let i = 0; i < 1_000; i++) {
      const id = nodeIdOf({ host: `10.0.${i >> 8}.${i & 255}`, port: 9_092 });
      expect(id).toBeGreaterThanOrEqual(1);
      expect(id).toBeLessThan(2 ** 30);
    }
  });

  it('never have one id for two addresses', () => {
    const [first, second] = collision();
    expect(nodeIdOf(first)).toBe(nodeIdOf(second));
    expect(nodesByAddress([first, second])).toHaveLength(1);
    expect(nodesByAddress([second, first])).toEqual(nodesByAddress([first, second]));
  });
});

/** Two addresses with one id: of some hundred thousand names two will do. */
function collision() {
  const seen = new Map<number, string>();
  for (let i = 0; ; i++) {
    const id = nodeIdOf({ host: `host-${i}`, port: 1 });
    const other = seen.get(id);
    if (other !== undefined) return [node(1, other, 1), node(2, `host-${i}`, 1)] as const;
    seen.set(id, `host-${i}`);
  }
}
