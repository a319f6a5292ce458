import { describe, expect, it } from 'vitest';
import { eventId } from '../../../../shared/http/read/event-id.ts';
import { FROM_START, parseFrom, parseLastEventId } from '../../../../shared/http/read/tail-from.ts';

const OFFSETS = new Map([
  [0, 17],
  [1, 4],
]);

describe('the beginning of a tail', () => {
  it.each([
    ['latest', { from: { tail: 0 } }],
    ['earliest', { from: FROM_START }],
    ['ts:0', { from: { timestampMs: 0 } }],
    ['0:17,1:4', { from: FROM_START, offsets: OFFSETS }],
    [eventId('q83vASNFZ4mrze8BI0VniQ', OFFSETS), { from: FROM_START, offsets: OFFSETS, offsetsOf: 'q83vASNF' }],
  ])('can be %s', (text, from) => {
    expect(parseFrom(text)).toEqual({ ...from, field: 'from' });
  });

  it.each([
    '',
    'x',
    '0',
    '0:',
    ':0',
    '0:-1',
    '0:1,',
    '0:1,0:2',
    'ts:',
    'ts:1.5',
    'ts:9007199254740992',
    '0:9007199254740992',
    'LATEST',
    'q83vASNF.AQACBA0',
  ])('can not be %j', (text) => {
    expect(() => parseFrom(text)).toThrow(/^from takes latest, earliest/);
  });
});

describe('the id that a client sends by itself', () => {
  it('is taken as it was sent', () => {
    expect(parseLastEventId(eventId('q83vASNFZ4mrze8BI0VniQ', OFFSETS), 'Last-Event-ID')).toEqual({
      from: FROM_START,
      offsets: OFFSETS,
      offsetsOf: 'q83vASNF',
      field: 'Last-Event-ID',
    });
  });

  it.each(['', 'x', '0:17,1:4', 'latest', 'earliest', 'ts:0', 'q83vASNF.AQACBA0'])('can not be %j', (text) => {
    expect(() => parseLastEventId(text, 'lastEventId')).toThrow(/^lastEventId takes the id of an event/);
  });
});
