import { describe, expect, it } from 'vitest';
import { parseHistory, printHistory } from './history-lines.ts';
import { summarizeHistory } from './history-summary.ts';
import { history } from './made/history-builder.ts';
import { randomHistory } from './made/random-history.ts';

describe('a history as lines of JSON', () => {
  it('is read back as it was written', () => {
    for (let seed = 0; seed < 50; seed++) {
      const { events } = randomHistory(seed, 40);
      const text = printHistory(events);
      expect(text.split('\n')).toHaveLength(events.length + 1);
      expect(parseHistory(text)).toEqual(events);
    }
  });

  it('may have empty lines, and no end of the last one', () => {
    const { events } = history()
      .append(1, ['a'])
      .appended(1, 0)
      .read(2)
      .gave(2, ['a'])
      .end(3)
      .saw(3, 1)
      .delete(4)
      .deleted(4);
    expect(parseHistory(`\n${printHistory(events).trim()}\n\r\n`)).toEqual(events);
    expect(parseHistory('')).toEqual([]);
  });

  const line = printHistory(history().append(1, ['a']).events).trim();
  it.each([
    ['is cut off', line.slice(0, -3), 'not JSON'],
    ['is no object', '17', 'no event'],
    ['is null', 'null', 'no event'],
    ['lacks a field', line.replace('"op":1,', ''), 'op'],
    ['has a field that there is not', line.replace('"op":1,', '"op":1,"atomc":true,'), 'atomc'],
    ['has a field of another type', line.replace('"op":1,', '"op":"1",'), 'op'],
    ['has a negative partition', line.replace('"partition":0', '"partition":-1'), 'partition'],
    ['asks for what there is not', line.replace('"append"', '"apend"'), 'f'],
    ['has no records', line.replace(/"records":\[.*\]/, '"records":[]'), 'records'],
  ])('names the line that %s', (_, bad, what) => {
    expect(() => parseHistory(`${line}\n\n${bad}\n${line}`)).toThrow(/^Line 3 of the history is n/);
    expect(() => parseHistory(`${line}\n\n${bad}\n${line}`)).toThrow(what);
  });

  it('takes no outcome that is neither one thing nor the other', () => {
    const ok = printHistory(history().append(1, ['a']).appended(1, 0).events.slice(1));
    expect(parseHistory(ok)).toHaveLength(1);
    expect(() => parseHistory(ok.replace('"offset":0', '"error":"throttled"'))).toThrow('Line 1');
  });
});

describe('the summary of a history', () => {
  it('counts operations by how they ended, and each acknowledged record once', () => {
    const keyed = { idempotencyKey: 'k' };
    const { events } = history()
      .append(1, ['a', 'b'], keyed)
      .append(2, ['a', 'b'], keyed)
      .appended(1, 0)
      .appended(2, 0, { duplicate: true })
      .append(3, ['c', 'd'])
      .fates(3, { type: 'ok', partition: 0, offset: 2 }, { type: 'info', error: 'storage_unavailable' })
      .append(4, ['e'])
      .ended(4, 'fail')
      .append(5, ['f'])
      .read(6, 1)
      .gave(6, ['b', 'c'])
      .end(7)
      .saw(7, 3)
      .delete(8)
      .deleted(8, 'info');
    expect(summarizeHistory(events)).toEqual({
      operations: {
        append: { ok: 2, fail: 1, info: 1, open: 1 },
        read: { ok: 1, fail: 0, info: 0, open: 0 },
        end: { ok: 1, fail: 0, info: 0, open: 0 },
        create_topic: { ok: 0, fail: 0, info: 0, open: 0 },
        delete_topic: { ok: 0, fail: 0, info: 1, open: 0 },
        describe_topic: { ok: 0, fail: 0, info: 0, open: 0 },
      },
      acknowledgedRecords: 3,
      readRecords: 2,
    });
  });
});
