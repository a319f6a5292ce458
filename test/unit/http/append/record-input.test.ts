import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { entriesFromJson, recordsFromJson, recordsFromNdjson } from '../../../../shared/http/append/record-input.ts';
import { EventLogError } from '../../../../shared/log/errors.ts';
import { RECORDS_PER_REQUEST_MAX } from '../../../../shared/log/limits.ts';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (bytes: Uint8Array | null | undefined): string | null => (bytes ? new TextDecoder().decode(bytes) : null);
const ofJson = (value: unknown) => recordsFromJson(utf8(typeof value === 'string' ? value : JSON.stringify(value)));

function errorOf(run: () => unknown): EventLogError {
  try {
    run();
  } catch (error) {
    if (error instanceof EventLogError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('records from JSON', () => {
  it('are what was sent, to the letter', () => {
    const [first, second, third] = ofJson(`{ "records" : [
      { "value" : { "id": 12345678901234567890, "2": 1, "1": 2.50 }, "key": [1, 2], "timestamp": 5, "partition": 3 },
      { "value": "x", "headers": [{"name": "h", "value": "v"}, {"name": "h", "value": null}, {"name":"b","value":{"$base64":"/w=="}}] },
      { "val\\u0075e": 1.0, "key": null } ] }`);
    expect(text(first?.value)).toBe('{"id":12345678901234567890,"2":1,"1":2.50}');
    expect(text(first?.key)).toBe('[1,2]');
    expect(first).toMatchObject({ timestampMs: 5, partition: 3, headers: [] });
    expect(second?.headers).toEqual([
      { key: 'h', value: utf8('v') },
      { key: 'h', value: null },
      { key: 'b', value: new Uint8Array([255]) },
    ]);
    expect(text(third?.value)).toBe('1.0');
    expect(third?.key).toBeNull();
  });

  it.each([
    ['{"records":[{"value":"first"}],"records":[{"value":"second"}]}', 'records'],
    ['{"records":[{"value":1},{"key":"a","value":"x","key":"b"}]}', 'records[1].key'],
    ['{"records":[{"value":"x","v\\u0061lue":"y"}]}', 'records[0].value'],
    [
      '{"records":[{"value":1,"headers":[{"name":"a","value":"1"},{"name":"b","value":"1","name":"c"}]}]}',
      'records[0].headers[1].name',
    ],
    ['{"records":[{"value":{"$base64":"AA==","$base64":"AQ=="}}]}', '$base64'],
  ])('with a member that is given twice are refused: %s', (json, field) => {
    const error = errorOf(() => ofJson(json));
    expect([error.code, error.details.field]).toEqual(['invalid_request', field]);
    expect(error.message).toContain('more than once');
  });

  it('with a misspelt member are refused by its name, and not by that of what it leaves out', () => {
    const error = errorOf(() => ofJson('{"records":[{"value":1,"partition":"0"},{"key":"a","val":1}]}'));
    expect([error.code, error.details.field]).toEqual(['invalid_request', 'records[1].val']);
    expect(error.message).toContain('records[1].val ');
  });

  it('keep a value whose own members are given twice, to the letter', () => {
    expect(text(ofJson('{"records":[{"value":{"a":1,"a":2}}]}')[0]?.value)).toBe('{"a":1,"a":2}');
  });

  it('keep every value, whatever stands around it', () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ value: fc.json(), key: fc.json() }), { minLength: 1, maxLength: 5 }),
        (given) => {
          const plain = given.filter(
            ({ value, key }) => ![value, key].some((json) => /^(null|".*)$|\$base64/s.test(json)),
          );
          if (plain.length === 0) return;
          const json = `{"records":[${plain.map(({ value, key }) => `{"key": ${key} ,"value":${value}}`).join(' , ')}]}`;
          const records = ofJson(json);
          expect(records.map(({ key, value }) => [text(key), text(value)])).toEqual(
            plain.map(({ key, value }) => [key, value]),
          );
        },
      ),
      { numRuns: 500 },
    );
  });

  it.each([
    [{}, 'records'],
    [{ records: [] }, 'records'],
    [{ records: {} }, 'records'],
    [{ records: [{}] }, 'records[0].value'],
    [{ records: [{ value: 1, extra: 1 }] }, 'records[0].extra'],
    [{ records: [{ value: 1 }], more: 1 }, 'more'],
    [{ records: [{ value: 1 }, { value: 1, partition: -1 }] }, 'records[1].partition'],
    [{ records: [{ value: 1, partition: 1.5 }] }, 'records[0].partition'],
    [{ records: [{ value: 1, partition: '1' }] }, 'records[0].partition'],
    [{ records: [{ value: 1, timestamp: 2 ** 53 }] }, 'records[0].timestamp'],
    [{ records: [{ value: 1, headers: {} }] }, 'records[0].headers'],
    [{ records: [{ value: 1, headers: [{ name: 1, value: 'x' }] }] }, 'records[0].headers[0].name'],
    [{ records: [{ value: 1, headers: [{ name: 'x' }] }] }, 'records[0].headers[0].value'],
    [{ records: [{ value: 1, headers: [{ name: 'x', value: 5 }] }] }, 'records[0].headers[0].value'],
    [{ records: [{ value: 1, headers: [{ name: 'x', value: { $base64: '!' } }] }] }, 'records[0].headers[0].value'],
    ['{"records":[{"value":1,"headers":[{"name":"\\ud800","value":null}]}]}', 'records[0].headers[0].name'],
    ['{"records":[{"value":"\\ud800"}]}', 'records[0].value'],
    ['{"records":[{"value":1,"key":{"a":"\\ud800"}}]}', 'records[0].key'],
    ['{"records":[{"value":1,"__proto__":{"x":1}}]}', 'records[0].__proto__'],
    ['{"records":[{"value":1}],"__proto__":1}', '__proto__'],
    [{ records: [{ value: { $base64: 'x' } }] }, 'records[0].value'],
    ['[]', 'body'],
    ['null', 'body'],
    ['"records"', 'body'],
  ])('%j is refused and names %s', (body, field) => {
    const error = errorOf(() => ofJson(body));
    expect(error.code).toBe('invalid_request');
    expect(error.details.field).toBe(field);
  });

  it('take __proto__ as any other name', () => {
    const [record] = ofJson(
      '{"records":[{"value":{"__proto__":{"polluted":1}},"key":"__proto__","headers":[{"name":"__proto__","value":"x"}]}]}',
    );
    expect(text(record?.value)).toBe('{"__proto__":{"polluted":1}}');
    expect(record?.headers[0]?.key).toBe('__proto__');
    expect(Object.hasOwn(Object.prototype, 'polluted')).toBe(false);
  });

  it('are at most so many, and the error names the limit', () => {
    const many = (count: number) => ({ records: Array(count).fill({ value: 1 }) });
    expect(ofJson(many(RECORDS_PER_REQUEST_MAX))).toHaveLength(RECORDS_PER_REQUEST_MAX);
    const error = errorOf(() => ofJson(many(RECORDS_PER_REQUEST_MAX + 1)));
    expect(error.code).toBe('request_too_large');
    expect(error.details.recordsMax).toBe(RECORDS_PER_REQUEST_MAX);
  });

  it.each([
    ['within a value', `{"records":[{"value":${'['.repeat(100_000)}${']'.repeat(100_000)}}]}`],
    ['as the body', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['without an end', '{"a":'.repeat(100_000)],
  ])('nested too deep %s are refused', (_where, json) => {
    expect(errorOf(() => ofJson(json)).code).toBe('invalid_request');
  });
});

describe('records from NDJSON', () => {
  it('are one a line', () => {
    const records = recordsFromNdjson(utf8('{"value":{"n": 1.0}}\r\n\n{"value":"b","key":2}\n'));
    expect(records.map(({ key, value }) => [text(key), text(value)])).toEqual([
      [null, '{"n":1.0}'],
      ['2', 'b'],
    ]);
  });

  it.each([
    ['', 'records'],
    [' \n\n', 'records'],
    ['{"value":1}\n{"key":1}', 'records[1].value'],
    ['{"value":1}\n{"valu":1}', 'records[1].valu'],
    ['{"value":1}\n\n{broken', 'line 3'],
    ['{"value":1} {"value":2}', 'line 1'],
    ['{"value":\n1}', 'line 1'],
  ])('%j is refused and names %s', (body, field) => {
    expect(errorOf(() => recordsFromNdjson(utf8(body))).details.field).toBe(field);
  });

  it('are at most so many', () => {
    const error = errorOf(() => recordsFromNdjson(utf8('{"value":1}\n'.repeat(RECORDS_PER_REQUEST_MAX + 1))));
    expect(error.code).toBe('request_too_large');
  });
});

describe('entries', () => {
  const entry = { id: 'a', topic: 't', records: [{ value: { x: 1 } }] };
  const ofEntries = (body: unknown) => entriesFromJson(utf8(typeof body === 'string' ? body : JSON.stringify(body)));

  it('have records of their own', () => {
    const entries = ofEntries(
      '{"entries":[{"records":[{"value":[1.0]},{"value":"s"}],"id":"a","topic":"t"},{"id":"b","topic":"u","records":[{"key":{"k": 1},"value":null}]}]}',
    );
    expect(
      entries.map(({ id, topic, records }) => [id, topic, records.map(({ key, value }) => [text(key), text(value)])]),
    ).toEqual([
      [
        'a',
        't',
        [
          [null, '[1.0]'],
          [null, 's'],
        ],
      ],
      ['b', 'u', [['{"k":1}', null]]],
    ]);
  });

  it.each([
    [{ entries: [] }, 'entries'],
    [{ entries: [entry, entry] }, 'entries[1].id'],
    [{ entries: [{ ...entry, id: '' }] }, 'entries[0].id'],
    [{ entries: [{ ...entry, topic: 'a/b' }] }, 'entries[0].topic'],
    [{ entries: [{ ...entry, records: [] }] }, 'entries[0].records'],
    [{ entries: [{ ...entry, records: [{ value: { $base64: 1 } }] }] }, 'entries[0].records[0].value'],
    [{ entries: null }, 'entries'],
    [{ entries: [null] }, 'entries[0]'],
  ])('%j are refused and name %s', (body, field) => {
    expect(errorOf(() => ofEntries(body)).details.field).toBe(field);
  });

  it('have at most so many records together', () => {
    const half = Array(RECORDS_PER_REQUEST_MAX / 2 + 1).fill({ value: 1 });
    const entries = [
      { ...entry, records: half },
      { ...entry, id: 'b', records: half },
    ];
    expect(errorOf(() => ofEntries({ entries })).code).toBe('request_too_large');
  });
});
