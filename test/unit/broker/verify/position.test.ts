import { describe, expect, it } from 'vitest';
import { encodePageToken } from '../../../../shared/broker/page.ts';
import { type Position, parsePosition, positionToken, startOf } from '../../../../shared/broker/verify/position.ts';
import { codeOf } from '../../../support/memory-broker.ts';

const POSITION: Position = {
  topicId: 'AAAAAAAAAAAAAAAAAAAA-_',
  partition: 9_999,
  stage: 'records',
  entry: Number.MAX_SAFE_INTEGER - 1,
  pagesBelow: Number.MAX_SAFE_INTEGER - 2,
  offset: Number.MAX_SAFE_INTEGER - 3,
  start: Number.MAX_SAFE_INTEGER - 4,
  end: Number.MAX_SAFE_INTEGER - 5,
  segment: {
    startOffset: Number.MAX_SAFE_INTEGER - 6,
    version: Number.MAX_SAFE_INTEGER - 7,
    block: 123_456,
    hash: 2n ** 64n - 1n,
    maxTimestampMs: -2,
    isWhole: false,
  },
  after: 'segments/AAAAAAAAAAAAAAAAAAAA-_/9999/0000000000000001-0000000000000002',
  setHash: 1n,
  crossing: 2 ** 32 - 1,
  counts: {
    records: 1,
    markers: 9,
    batches: 2,
    bytes: 3,
    segments: 4,
    unmergedParts: 5,
    tailParts: 6,
    problems: 7,
    orphans: 8,
  },
};

describe('the page token of a verification', () => {
  it.each([
    ['in the middle of everything', POSITION],
    ['at the beginning', startOf('AAAAAAAAAAAAAAAAAAAA-_', 0, 'nodes')],
    ['among the objects', { ...POSITION, stage: 'objects' as const, segment: undefined }],
    ['in a whole segment', { ...POSITION, segment: { ...POSITION.segment, isWhole: true } as Position['segment'] }],
  ])('holds all that the next call needs, %s', (_, position) => {
    const token = positionToken(position);
    expect(token.length).toBeLessThanOrEqual(1_024);
    expect(parsePosition(token)).toEqual(position);
  });

  it.each([
    ['', 'nothing'],
    ['a#b', 'another text'],
    ['a##0000000000000000#3.3.0.0.0.0.0.0.0.0.0.0.0.0.0', 'an unknown stage'],
    ['a##0000000000000000#0.0.-1.0.0.0.0.0.0.0.0.0.0.0.0', 'a negative number'],
    ['a##0000000000000000#0.0.0.0.0.0.9999999999999999.0.0.0.0.0.0.0.0', 'a number that is too large'],
    ['a##0000000000000000.0000000000000000#0.0.0.0.0.0.0.0.0.0.0.0.0.0.0', 'the hash of no segment'],
    ['a##0000000000000000#0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.1.1.1.1', 'a segment without a hash'],
  ])('is refused with %j: %s', async (text) => {
    const parse = async () => parsePosition(text === '' ? '' : encodePageToken(text));
    expect(await codeOf(parse())).toBe('invalid_request');
  });
});
