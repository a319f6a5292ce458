/** A transaction that was aborted in one partition. A reader of committed records leaves out its batches. */
export interface AbortedRange {
  readonly producerId: number;
  readonly firstOffset: number;
  /** The offset of its marker. */
  readonly lastOffset: number;
}

interface Covered {
  readonly startOffset: number;
  readonly endOffset: number;
}

/** Those that have an offset of their own, a marker or the first batch or anything between, in `[startOffset, endOffset)`. */
export function abortedWithin<One extends AbortedRange>(
  aborted: readonly One[],
  { startOffset, endOffset }: Covered,
): readonly One[] {
  return aborted.filter(({ firstOffset, lastOffset }) => firstOffset < endOffset && lastOffset >= startOffset);
}

/**
 * The lists of adjacent segments as one, by the offsets of the markers. A transaction that several of them have appears once:
 * no two transactions of a partition have the same marker.
 */
export function joinAborted(lists: readonly (readonly AbortedRange[])[]): readonly AbortedRange[] {
  const byMarker = new Map(lists.flatMap((list) => list.map((one) => [one.lastOffset, one] as const)));
  return [...byMarker.values()].sort((a, b) => a.lastOffset - b.lastOffset);
}

/**
 * Tells which batches of a partition belong to an aborted transaction: a producer has one transaction at a time, so those of
 * its batches that lie between the transaction's first offset and its marker.
 */
export class AbortedBatches {
  readonly #byProducer = new Map<number, AbortedRange[]>();

  /** `aborted`: those of each producer in the order of their offsets. */
  constructor(aborted: readonly AbortedRange[]) {
    for (const one of aborted) {
      const known = this.#byProducer.get(one.producerId);
      if (known === undefined) this.#byProducer.set(one.producerId, [one]);
      else known.push(one);
    }
  }

  /** The transaction that a transactional batch belongs to, if that was aborted. */
  of(producerId: number, baseOffset: number): AbortedRange | undefined {
    const own = this.#byProducer.get(producerId) ?? [];
    let low = 0;
    let high = own.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((own[middle] as AbortedRange).lastOffset > baseOffset) high = middle;
      else low = middle + 1;
    }
    const next = own[low];
    return next !== undefined && next.firstOffset <= baseOffset ? next : undefined;
  }
}
