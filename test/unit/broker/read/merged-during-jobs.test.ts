import { describe, expect, it } from 'vitest';
import { recordsOf } from '../../../../shared/log/batch/stored-batch.ts';
import { HEAD, headKey } from '../../../../shared/storage/keys.ts';
import { appendTo, codeOf, memoryBroker, record, requestsFor, text, valuesOf } from '../../../support/memory-broker.ts';
import { numbers, readOnce, setUpMerged, staleHead, takeWith } from '../../../support/merged-reads.ts';

/** Reads of records that jobs merge, compact, drop or delete meanwhile. */

describe('a read during jobs', () => {
  it('finds in segments what was merged and cleaned after it began', async () => {
    const { log, append, reader } = await setUpMerged();
    await append(60, (i) => `${i}`.padEnd(i % 3 === 0 ? 9_000 : 10, '.'));
    for (const taken of [0, 1, 20, 59]) {
      for (const offset of [0, 5]) {
        const { batches } = await reader({ cacheBytesMax: 1 }).read({ topic: 't', partition: 0, from: { offset } });
        const values = await takeWith(batches, taken, async () => {
          await log.merge({ nodes: 2 });
          await log.clean();
        });
        expect(values.map((value) => value.replaceAll('.', ''))).toEqual(numbers(60 - offset, offset));
      }
    }
  });

  it('looks again each time that something is missing', async () => {
    const { log, append, reader } = await setUpMerged();
    await append(100);
    const { batches } = await reader({ cacheBytesMax: 1 }).read({ topic: 't', partition: 0, from: { offset: 0 } });
    let looks = 0;
    const values: string[] = [];
    for await (const batch of batches) {
      values.push(...recordsOf(batch).map((each) => text(each.value)));
      if (values.length % 16 !== 1) continue;
      looks++;
      await log.merge({ nodes: 2 });
      await log.clean();
    }
    expect(values).toEqual(numbers(100));
    expect(looks).toBeGreaterThan(4);
  });

  it('goes on in the segment that replaced the one it was reading', async () => {
    const { log, append, reader } = await setUpMerged();
    for (let i = 0; i < 12; i++) {
      await append(8, (k) => `${8 * i + k}`.padEnd(40_000, '.'));
      await log.merge();
    }
    const { batches, nextOffset } = await reader({ cacheBytesMax: 1 }).read({
      topic: 't',
      partition: 0,
      from: { offset: 2 },
      maxBytes: 3_000_000,
    });
    const values = await takeWith(batches, 9, async () => {
      await log.replace(0, 0, 12, ({ baseOffset }) => baseOffset !== 60);
      await log.clean();
    });
    expect(values.map((value) => value.replaceAll('.', ''))).toEqual(
      numbers(nextOffset - 2, 2).filter((value) => value !== '60'),
    );
  });

  it('sees a segment list that was replaced while it was remembered', async () => {
    const { log, append, reader } = await setUpMerged();
    const value = (i: number): string => `${i}`.padEnd(9_000, '.');
    await append(33, value);
    await log.merge({ nodes: 2 });
    // It remembers the list, but not all data.
    const broker = reader({ cacheBytesMax: 100_000 });
    const valuesFrom = async (from: number): Promise<string[]> =>
      (await valuesOf(broker, 't', 0, { from })).map((each) => each.replaceAll('.', ''));
    expect(await valuesFrom(2)).toEqual(numbers(31, 2));
    const before = requestsFor(broker, 'read').getItem;
    await broker.read({ topic: 't', partition: 0, from: { offset: 2 } });
    expect(requestsFor(broker, 'read').getItem - before).toBe(1);
    await log.merge();
    await log.replace(0, 0, 2);
    await log.clean();
    expect(await valuesFrom(0)).toEqual(numbers(33));
    expect(await broker.offsetForTime('t', 0, 1)).toMatchObject({ offset: 0 });
  });

  it('is out of range if retention dropped what it was going to take', async () => {
    const { log, append, reader, raiseStart, stores } = await setUpMerged();
    await append(81);
    for (let i = 0; i < 10; i++) await log.merge({ nodes: 1 });
    const broker = reader({ cacheBytesMax: 1 });
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 2 }, maxBytes: 1_000_000 });
    const taking = takeWith(batches, 3, async () => {
      await raiseStart(76);
      await log.drop(0, 76);
      await log.clean();
    });
    await expect(taking).rejects.toMatchObject({
      code: 'offset_out_of_range',
      details: { logStartOffset: 76, highWatermark: 81 },
    });
    // A look that knew the old start, and the old list.
    const now = await stores.items.get(headKey((await broker.describeTopic('t')).topicId, 0));
    const stale = staleHead(stores, { ...now, attributes: { ...now.attributes, [HEAD.start(0)]: 0 } });
    await expect(memoryBroker(stale).read({ topic: 't', partition: 0, from: { offset: 4 } })).rejects.toMatchObject({
      code: 'offset_out_of_range',
      details: { offset: 4, logStartOffset: 76, highWatermark: 81 },
    });
  });

  it('goes on although retention has dropped what it has taken, and fetches nothing that it does not need', async () => {
    const { log, append, reader, raiseStart } = await setUpMerged();
    const value = (i: number): string => `${i}`.padEnd(40_000, '.');
    for (let i = 0; i < 20; i++) {
      await append(8, (k) => value(8 * i + k));
      await log.merge();
    }
    const broker = reader({ cacheBytesMax: 1 });
    const { batches, nextOffset } = await broker.read({
      topic: 't',
      partition: 0,
      from: { offset: 2 },
      maxBytes: 3_000_000,
    });
    let before = 0;
    const values = await takeWith(batches, 30, async () => {
      await raiseStart(30);
      await log.drop(0, 30);
      await log.replace(0, 0, 12);
      await log.clean();
      before = requestsFor(broker, 'read').bytesRead;
    });
    expect(values.map((each) => each.replaceAll('.', ''))).toEqual(numbers(nextOffset - 2, 2));
    // The new segment as a whole, but none of those behind it.
    const [replaced] = (await log.list()).slots[0]?.segments ?? [];
    expect(requestsFor(broker, 'read').bytesRead - before).toBeLessThanOrEqual(
      (replaced?.bytes ?? 0) + (replaced?.indexBytes ?? 0),
    );
  });

  it('by time begins at a record that was appended while it looked again', async () => {
    const { log, append, stores, writer } = await setUpMerged();
    for (let i = 0; i < 40; i++) {
      await writer.appendRecords({ topic: 't', records: [record(`${i}`, { partition: 0, timestampMs: 100 + i })] });
      await writer.idle();
    }
    await log.merge();
    const get = stores.objects.get.bind(stores.objects);
    let isReplaced = false;
    const busy = Object.assign(Object.create(stores.objects) as typeof stores.objects, {
      get: async (...args: Parameters<typeof get>) => {
        if (!isReplaced) {
          isReplaced = true;
          await log.replace(0, 0, 1, ({ baseOffset }) => baseOffset < 20);
          await log.clean();
          await append(2, (i) => `new ${i}`);
        }
        return get(...args);
      },
    });
    const other = memoryBroker({ ...stores, objects: busy });
    const known = { topic: 't', partition: 0 };
    const { offset, highWatermark, batches } = await other.read({ ...known, from: { timestampMs: 130 } });
    expect([offset, highWatermark]).toEqual([40, 42]);
    expect(await takeWith(batches, -1, async () => {})).toEqual(['new 0', 'new 1']);
  });

  it('is corrupt_data if a segment, a page or a node is missing, and names it', async () => {
    const { log, append, reader, stores, topicId } = await setUpMerged();
    await append(33);
    await log.merge({ nodes: 1 });
    await log.merge({ nodes: 1 });
    await log.spill(0, 1);
    const [segment] = (await log.list()).slots[0]?.segments ?? [];
    const key = log.keyOf(0, segment as NonNullable<typeof segment>);
    await stores.objects.delete(key);
    const error = await readOnce(reader(), 0).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'corrupt_data', details: { storedAs: key } });
    expect(await readOnce(reader(), 0, 1)).toMatchObject({ values: numbers(8), nextOffset: 8 });
    await stores.items.delete({ pk: `node#${topicId}#0`, sk: '0000000000000016' });
    expect(await codeOf(readOnce(reader(), 16))).toBe('corrupt_data');
    expect(await readOnce(reader(), 32)).toMatchObject({ values: ['32'] });
    await stores.items.delete({ pk: `segments#${topicId}#0`, sk: '00#0000000000000000#0000000000000005' });
    expect(await codeOf(readOnce(reader(), 0, 1))).toBe('corrupt_data');
  });

  it('is unknown_topic if the topic was deleted, although there is another of its name', async () => {
    const { log, append, reader, writer, stores } = await setUpMerged();
    await append(81);
    for (let i = 0; i < 10; i++) await log.merge({ nodes: 1 });
    const broker = reader({ cacheBytesMax: 1 });
    const { batches } = await broker.read({ topic: 't', partition: 0, from: { offset: 2 } });
    const taking = takeWith(batches, 3, async () => {
      await writer.deleteTopic('t');
      for (const segment of (await log.list()).slots[0]?.segments ?? [])
        await stores.objects.delete(log.keyOf(0, segment));
      await stores.clock.advance(3_600_001);
      await writer.resumeDeletions();
      await writer.putTopic({ name: 't' });
      for (let i = 0; i < 10; i++) await appendTo(writer, 't', 0, ['new']);
    });
    await expect(taking).rejects.toMatchObject({ code: 'unknown_topic' });
  });
});
