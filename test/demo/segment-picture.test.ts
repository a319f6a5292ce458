import { expect, test } from 'vitest';
import { type DrawnPartition, type DrawnPlace, drawSegments } from './segment-picture.ts';

function place(
  startOffset: number,
  endOffset: number,
  storage: DrawnPlace['storage'] = 'segment',
  state: DrawnPlace['state'] = 'merged',
): DrawnPlace {
  return { startOffset, endOffset, storage, state };
}

function partition(highWatermark: number, given: Partial<DrawnPartition> = {}): DrawnPartition {
  const offsets = Array.from({ length: highWatermark }, (_, offset) => offset);
  return { partition: 0, logStartOffset: 0, highWatermark, places: [], offsets, ...given };
}

/** The lines without scale and labels. */
function draw(partitions: readonly DrawnPartition[], columns: number): string[] {
  return drawSegments(partitions, columns + 5)
    .slice(1)
    .map((line) => line.slice(5));
}

test('draws where records are', () => {
  const places = [
    place(0, 40),
    place(40, 60),
    place(60, 70, 'hot', 'unmerged'),
    place(70, 80, 'inline', 'unmerged'),
    place(80, 90, 'hot', 'tail'),
    place(90, 100, 'inline', 'tail'),
  ];
  expect(draw([partition(100, { places })], 10)).toEqual(['[===[=hiHI']);
});

test('gives all partitions one scale', () => {
  const long = partition(100, { places: [place(0, 100)] });
  const short = partition(50, { partition: 1, places: [place(0, 50)] });
  expect(drawSegments([long, short], 25)).toEqual([
    '     |0              |80',
    '  0  [===================',
    '  1  [=========',
  ]);
});

test('no line is wider than the terminal, however narrow', () => {
  const one = partition(3, { places: [place(0, 3)] });
  for (const width of [0, 5, 6, 10, 21, 22, 80])
    for (const line of drawSegments([one], width)) expect(line.length).toBeLessThanOrEqual(Math.max(6, width));
});

test('draws what retention has dropped', () => {
  expect(draw([partition(100, { logStartOffset: 30, places: [place(20, 100)] })], 10)).toEqual(['...=======']);
  // A column that is still read in part is not dropped.
  expect(draw([partition(100, { logStartOffset: 39, places: [place(39, 100)] })], 10)).toEqual(['...[======']);
});

test('draws what compaction has left', () => {
  const places = [place(0, 60, 'segment', 'compacted'), place(80, 100)];
  const offsets = [
    0,
    25,
    ...Array.from({ length: 10 }, (_, i) => 50 + i),
    ...Array.from({ length: 20 }, (_, i) => 80 + i),
  ];
  expect(draw([partition(100, { places, offsets })], 10)).toEqual(['[-+--=--[=']);
});

test('draws more columns than offsets', () => {
  expect(draw([partition(2, { places: [place(0, 1), place(1, 2)] })], 6)).toEqual(['[==[==']);
  expect(draw([partition(0)], 6)).toEqual(['']);
});
