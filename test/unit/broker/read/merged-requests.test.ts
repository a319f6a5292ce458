import { describe, expect, it } from 'vitest';
import { readAll, requestsFor } from '../../../support/memory-broker.ts';
import { readOnce, setUpMerged } from '../../../support/merged-reads.ts';

/** The requests of reads of merged records: few, and no more bytes than are needed. */

describe('the objects that a reader of merged records gets', () => {
  const MIB = 1024 * 1024;

  /** Two segments, of 30 MiB and of 9 MiB. */
  async function setUpLarge() {
    const set = await setUpMerged();
    const { writer, log, append, stores } = set;
    const startMs = stores.clock.nowMs();
    await writer.putTopic({ name: 't', config: { 'max.message.bytes': 2 * MIB } });
    await append(40, () => 'x'.repeat(0.75 * MIB));
    await log.merge();
    await append(48, () => 'x'.repeat(0.1875 * MIB));
    await log.merge();
    await log.clean();
    const segments = (await log.list()).slots[0]?.segments ?? [];
    expect(segments.map(({ bytes }) => Math.floor(bytes / MIB))).toEqual([30, 9]);
    const most = segments.reduce((sum, { bytes, indexBytes }) => sum + Math.ceil((bytes + indexBytes) / (8 * MIB)), 0);
    return { ...set, segments, most, startMs };
  }

  it.each([
    ['1 byte', 1],
    ['the default', undefined],
    ['5 MiB', 5 * MIB],
    ['64 MiB', 64 * MIB],
  ])('are at most one for each 8 MiB of a segment, in reads of %s', async (_, maxBytes) => {
    const { reader, most, segments } = await setUpLarge();
    const broker = reader();
    expect(await readAll(broker, 't', 0, maxBytes === undefined ? {} : { maxBytes })).toHaveLength(88);
    const { getObject, bytesRead } = requestsFor(broker, 'read');
    expect(getObject).toBeLessThanOrEqual(most);
    expect(bytesRead).toBe(segments.reduce((sum, { bytes, indexBytes }) => sum + bytes + indexBytes, 0));
  });

  it('are as few if each read stops before it has taken everything', async () => {
    const { reader, most } = await setUpLarge();
    const broker = reader();
    let reads = 0;
    for (let offset = 0; offset < 88; reads++) {
      const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset }, maxBytes: 3 * MIB });
      for await (const batch of batches) {
        expect(batch.baseOffset).toBe(offset);
        offset = batch.endOffset;
        if (offset % 2 === 0) break;
      }
    }
    expect(reads).toBeGreaterThanOrEqual(44);
    expect(requestsFor(broker, 'read').getObject).toBeLessThanOrEqual(most);
  });

  it('are the index and the blocks for a read in the middle, and large chunks once reads go on', async () => {
    const { reader } = await setUpLarge();
    const broker = reader();
    const read = async (offset: number) => {
      const before = requestsFor(broker, 'read');
      const { nextOffset } = await readOnce(broker, offset, 1);
      const { getObject, bytesRead } = requestsFor(broker, 'read');
      return { nextOffset, getObject: getObject - before.getObject, mib: (bytesRead - before.bytesRead) / MIB };
    };
    const first = await read(7);
    expect(first).toMatchObject({ nextOffset: 8, getObject: 2 });
    expect(first.mib).toBeLessThan(0.8);
    const second = await read(8);
    expect(second).toMatchObject({ nextOffset: 9, getObject: 1 });
    expect(second.mib).toBeGreaterThanOrEqual(12);
    for (let offset = 9; offset < 24; offset++) expect((await read(offset)).getObject).toBe(0);
    const other = await read(30);
    expect(other.getObject).toBe(1);
    expect(other.mib).toBeLessThan(0.8);
  });

  it('are no large chunks for a read that begins at a time', async () => {
    const { reader, startMs } = await setUpLarge();
    const broker = reader();
    const from = { timestampMs: startMs + 20 };
    const { offset, batches } = await broker.read({ topic: 't', partition: 0, from, maxBytes: 2 * MIB });
    expect(offset).toBe(20);
    for await (const batch of batches) expect(batch.endOffset).toBeLessThanOrEqual(23);
    const { getObject, bytesRead } = requestsFor(broker, 'read');
    expect(getObject).toBe(3);
    expect(bytesRead).toBeLessThan(2.5 * MIB);
  });
});
