/** What a producer knows of one transaction that it meant to make. */
export interface Told {
  readonly intent: number;
  readonly sent: Written[];
  readonly acknowledged: Written[];
  staged: boolean;
  outcome: 'committed' | 'aborted' | 'unknown';
}

interface Written {
  readonly place: string;
  readonly value: string;
}

/** What a reader of committed records saw of a partition, from its beginning. */
export interface View {
  readonly place: string;
  readonly values: readonly string[];
}

export interface History {
  readonly told: readonly Told[];
  readonly views: readonly View[];
  /** What is committed in the end, by partition. */
  readonly whole: ReadonlyMap<string, readonly string[]>;
  /** What the group was seen to have committed: the number of a transaction. */
  readonly offsets: readonly (number | null)[];
}

/** What contradicts the promises of transactions. */
export function judge({ told, views, whole, offsets }: History): string[] {
  const problems: string[] = [];
  for (const { place, values } of views) {
    const all = whole.get(place) ?? [];
    const at = values.findIndex((value, i) => all[i] !== value);
    if (at >= 0) problems.push(`a reader of ${place} saw ${values[at]} at ${at}, where ${all[at]} is committed`);
  }
  for (const [place, values] of whole) {
    const twice = values.filter((value, i) => values.indexOf(value) !== i);
    for (const value of twice) problems.push(`${value} is twice in ${place}`);
  }
  const isThere = ({ place, value }: Written): boolean => whole.get(place)?.includes(value) ?? false;
  for (const { intent, sent, acknowledged, outcome } of told) {
    const there = sent.filter(isThere);
    if (outcome === 'aborted')
      for (const { value } of there) problems.push(`${value} of a transaction that was aborted is committed`);
    const missing = acknowledged.filter((each) => !isThere(each));
    if (outcome === 'committed')
      for (const { value, place } of missing)
        problems.push(`${value} of a transaction that was committed is not in ${place}`);
    if (outcome === 'unknown' && there.length > 0 && missing.length > 0)
      problems.push(
        `transaction ${intent} is committed in part: ${missing.map(({ value }) => value).join(', ')} missing`,
      );
    // A producer that does not know what became of a batch does not commit.
    if (outcome === 'unknown' && there.length > 0 && sent.length > acknowledged.length)
      problems.push(`transaction ${intent} is committed, which nobody asked for`);
  }
  for (const offset of new Set(offsets)) {
    if (offset === null) continue;
    const owner = told.find(({ intent }) => intent === offset);
    if (owner === undefined || !owner.staged || owner.outcome === 'aborted')
      problems.push(`the group has committed offset ${offset}, of a transaction that did not commit`);
    else if (!owner.acknowledged.every(isThere))
      problems.push(`offset ${offset} is committed without the records of its transaction`);
  }
  return problems;
}
