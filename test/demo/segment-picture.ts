/** A partition as it is drawn. */
export interface DrawnPartition {
  readonly partition: number;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  /** Where the offsets from the log start on are stored, in order. */
  readonly places: readonly DrawnPlace[];
  /** The offsets that have a record, in order. */
  readonly offsets: readonly number[];
}

export interface DrawnPlace {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly storage: 'inline' | 'hot' | 'segment';
  readonly state: 'tail' | 'unmerged' | 'merged' | 'compacted';
}

export const LEGEND: readonly string[] = [
  '  h hot object   i inline batch, both not merged yet   H I the same, in the tail',
  '  [== segment, from its first offset on   + compacted, some records left   - none',
  '  . dropped: below the log start',
];

const LABEL_WIDTH = 5;
const TICK_COLUMNS = 16;

/**
 * Draws a line for each partition, with a scale of offsets above. All partitions have the same scale, so that a column
 * stands for as many offsets in each. A column shows the place of its first offset, or the beginning of a segment in it.
 */
export function drawSegments(partitions: readonly DrawnPartition[], width: number): string[] {
  const end = Math.max(1, ...partitions.map(({ highWatermark }) => highWatermark));
  const columns = Math.max(1, width - LABEL_WIDTH);
  const offsetAt = (column: number): number => Math.floor((column * end) / columns);
  const lines = [`${' '.repeat(LABEL_WIDTH)}${scale(columns, offsetAt)}`];
  for (const one of partitions) {
    let line = `${one.partition}`.padStart(LABEL_WIDTH - 2).padEnd(LABEL_WIDTH);
    for (let column = 0; column < columns; column++) {
      const from = offsetAt(column);
      if (from >= one.highWatermark) break;
      // In a wide terminal several columns stand for one offset.
      const isRepeated = column > 0 && offsetAt(column - 1) === from;
      line += glyph(one, from, Math.max(from + 1, offsetAt(column + 1)), isRepeated);
    }
    lines.push(line);
  }
  return lines;
}

function scale(columns: number, offsetAt: (column: number) => number): string {
  let line = '';
  for (let column = 0; column < columns; column += TICK_COLUMNS) {
    const tick = `|${offsetAt(column).toLocaleString('en-US')}`;
    if (column + tick.length <= columns) line += tick.padEnd(TICK_COLUMNS);
  }
  return line.trimEnd();
}

/** What the offsets `[from, to)` are drawn as; `isRepeated` if the column before stands for them too. */
function glyph(
  { logStartOffset, places, offsets }: DrawnPartition,
  from: number,
  to: number,
  isRepeated: boolean,
): string {
  if (to <= logStartOffset) return '.';
  const begins = places.find(({ startOffset }) => startOffset >= from && startOffset < to);
  const place = begins ?? places.find(({ startOffset, endOffset }) => startOffset <= from && from < endOffset);
  // Compaction has left no segment here.
  if (place === undefined) return '-';
  if (place.storage !== 'segment') {
    const letter = place.storage === 'inline' ? 'i' : 'h';
    return place.state === 'tail' ? letter.toUpperCase() : letter;
  }
  if (begins !== undefined && !isRepeated) return '[';
  const left = offsets.filter((offset) => offset >= from && offset < to).length;
  if (left === 0) return '-';
  return left < to - from ? '+' : '=';
}
