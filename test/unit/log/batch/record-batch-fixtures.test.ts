import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { StoredRecord } from '../../../../shared/log/batch/record.ts';
import { decodeRecords, type RecordBatchHeader, readBatchHeader } from '../../../../shared/log/batch/record-batch.ts';

interface FixtureRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: string | null;
  readonly headers: readonly { readonly key: string; readonly value: string | null }[];
}

interface FixtureCase {
  readonly file: string;
  readonly description: string;
  readonly batch: Readonly<Record<string, number | string | boolean>>;
  readonly records?: readonly FixtureRecord[];
  readonly recordsSha256?: string;
}

const FOLDER = new URL('../../../fixtures/record-batch/', import.meta.url);
const CASES = JSON.parse(readFileSync(new URL('cases.json', FOLDER), 'utf8')) as FixtureCase[];

describe('record batches that real clients wrote', () => {
  it('are all listed', () => {
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.bin'));
    expect(CASES.map((fixture) => fixture.file).sort()).toEqual(files.sort());
    expect(files).toHaveLength(44);
  });

  for (const { file, description, batch, records, recordsSha256 } of CASES) {
    it(`${file}: ${description}`, () => {
      const bytes = new Uint8Array(readFileSync(new URL(file, FOLDER)));
      const header = readBatchHeader(bytes);
      expect(header.bytes).toBe(bytes.length);
      expect(describeHeader(header, bytes)).toEqual(batch);
      expect(header.deleteHorizonMs).toBe(Number(batch.attributes) & 64 ? batch.baseTimestamp : undefined);
      const decoded = decodeRecords(bytes, 0, header).map(describeRecord);
      if (records !== undefined) expect(decoded).toEqual(records);
      else expect(hashOf(decoded)).toBe(recordsSha256);
      // The same at a place within other bytes.
      const moved = new Uint8Array(bytes.length + 18);
      moved.set(bytes, 7);
      expect(decodeRecords(moved, 7, readBatchHeader(moved, 7)).map(describeRecord)).toEqual(decoded);
    });
  }
});

function describeHeader(header: RecordBatchHeader, bytes: Uint8Array): Record<string, number | string | boolean> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const { bytes: _bytes, deleteHorizonMs: _horizon, ...fields } = header;
  return { ...fields, magic: view.getInt8(16), attributes: view.getInt16(21) };
}

function describeRecord(record: StoredRecord): FixtureRecord {
  return {
    offset: record.offset,
    timestamp: record.timestampMs,
    key: base64(record.key),
    value: base64(record.value),
    headers: record.headers.map(({ key, value }) => ({ key, value: base64(value) })),
  };
}

function hashOf(records: readonly FixtureRecord[]): string {
  const hash = createHash('sha256');
  for (const { offset, timestamp, key, value, headers } of records) {
    const pairs = headers.map((header) => [header.key, header.value]);
    hash.update(`${JSON.stringify([offset, timestamp, key, value, pairs])}\n`);
  }
  return hash.digest('hex');
}

function base64(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('base64');
}
