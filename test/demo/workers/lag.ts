import { call } from '../call.ts';

/** How far a group is behind. */
export interface Lag {
  readonly partitions: readonly {
    readonly partition: number;
    readonly memberId: string | null;
    readonly committedOffset: number | null;
    readonly logStartOffset: number;
    readonly highWatermark: number;
  }[];
}

/** `undefined`: there is no such group yet. */
export async function lagOf(url: string, group: string): Promise<Lag | undefined> {
  return (await call(`${url}/v1/groups/${group}/lag`).catch(() => undefined)) as Lag | undefined;
}

/** The records that the group has not committed, also in partitions of which it has committed nothing. */
export function unreadOf({ partitions }: Lag): number {
  return partitions.reduce(
    (sum, { committedOffset, logStartOffset, highWatermark }) =>
      sum + highWatermark - (committedOffset ?? logStartOffset),
    0,
  );
}
