import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { toHex } from '../../../shared/log/bytes.ts';
import { EventLogError } from '../../../shared/log/errors.ts';
import { batchIdText, batchTimeMs, makeBatchId } from '../../../shared/log/head/batch-id.ts';
import { type Entry, packEntry, unpackEntry } from '../../../shared/log/head/entry.ts';
import { EMPTY_TOTALS, packTotals, type SlotTotals, unpackTotals } from '../../../shared/log/head/head.ts';
import {
  batchOnceKey,
  fenceKeysBelow,
  fenceKeysOf,
  firstBatchOnceKey,
  idempotencyOnceKey,
  markerOnceKey,
  newSlotOnceKey,
} from '../../../shared/log/head/once-key.ts';
import {
  type AbortedTransaction,
  type OpenTransaction,
  packAborted,
  packOpen,
  unpackAborted,
  unpackOpen,
} from '../../../shared/log/head/open-transactions.ts';
import { type ProducerState, packProducer, unpackProducer } from '../../../shared/log/head/producer.ts';
import { packSharers, type SharerName, unpackSharers } from '../../../shared/log/head/sharers.ts';
import { packUse, type UsePart, unpackUse } from '../../../shared/log/head/use.ts';
import * as keys from '../../../shared/storage/keys.ts';
import { itIsPacked } from '../../support/packed-format.ts';

/** Golden bytes of what we persist: files that are never edited, so that what was written once can always be read. */
const FOLDER = new URL('../../fixtures/formats/', import.meta.url);

interface GoldenFile<Value, Bytes = string> {
  readonly format: string;
  readonly cases: readonly { readonly hex: Bytes; readonly value: Value }[];
}

function golden<Value, Bytes = string>(file: string): GoldenFile<Value, Bytes> {
  return JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as GoldenFile<Value, Bytes>;
}

const fromHex = (hex: string): Uint8Array => new Uint8Array(Buffer.from(hex, 'hex'));

type EntryJson = Omit<Entry, 'batchId'> & { readonly batchId: string };
type SlotJson = {
  readonly epoch: number;
  readonly batches: readonly { baseSequence: number; records: number; baseOffset: number }[];
};
type OpenJson = Omit<OpenTransaction, 'firstOffsets'> & { readonly firstOffsets: [number, number][] };
type ProducerJson = { readonly ended?: number; readonly slots: Readonly<{ [slot: string]: SlotJson }> };

const entryFromJson = (json: EntryJson): Entry => ({ ...json, batchId: fromHex(json.batchId) });
const isTransactional = ({ markers, parts }: EntryJson): boolean =>
  markers !== undefined || parts.some(({ producer }) => producer?.transaction !== undefined);
const openFromJson = (value: readonly OpenJson[]) =>
  value.map((each) => ({ ...each, firstOffsets: new Map(each.firstOffsets) }));
const sealedCases = (file: string, unpack: (packed: Uint8Array) => unknown) =>
  golden<unknown>(file).cases.map(({ hex }) => ({ file, hex, unpack }));
const entryToJson = (entry: Entry): EntryJson => ({ ...entry, batchId: toHex(entry.batchId) });
const producerFromJson = (json: ProducerJson): ProducerState => {
  const slots: SlotJson[] = [];
  for (const [slot, batches] of Object.entries(json.slots)) slots[Number(slot)] = batches;
  return { slots, ...(json.ended === undefined ? {} : { ended: json.ended }) };
};
const producerToJson = ({ slots, ended }: ProducerState): ProducerJson => ({
  ...(ended === undefined ? {} : { ended }),
  slots: Object.fromEntries(
    [...slots.entries()].flatMap(([slot, known]) => (known === undefined ? [] : [[slot, known]])),
  ),
});

describe('golden bytes', () => {
  it('are all tested', () => {
    expect(readdirSync(FOLDER).sort()).toEqual([
      'aborted-transactions-v1.json',
      'aborted-transactions-v2.json',
      'batch-id-v1.json',
      'classic-assignment-v1.json',
      'classic-protocols-v1.json',
      'classic-roster-v1.json',
      'entry-v1-sealed.json',
      'entry-v1.json',
      'keys-v1.json',
      'once-key-v1.json',
      'open-transactions-v1.json',
      'open-transactions-v2.json',
      'partition-set-v1.json',
      'producer-v1.json',
      'segment-index-v1.json',
      'segment-list-v1.json',
      'segment-page-v1.json',
      'sharers-v1.json',
      'subscription-v1.json',
      'target-v1.json',
      'totals-v1.json',
      'use-v1.json',
    ]);
  });

  it.each(golden<EntryJson>('entry-v1.json').cases)('entry $hex', ({ hex, value }) => {
    expect(entryToJson(unpackEntry(fromHex(hex)))).toEqual(value);
    // Those with transactions are packed otherwise now.
    if (!isTransactional(value)) expect(toHex(packEntry(entryFromJson(value)))).toBe(hex);
  });

  it.each(golden<EntryJson>('entry-v1-sealed.json').cases)('sealed entry $hex', ({ hex, value }) => {
    expect(isTransactional(value)).toBe(true);
    expect(entryToJson(unpackEntry(fromHex(hex)))).toEqual(value);
    expect(toHex(packEntry(entryFromJson(value)))).toBe(hex);
  });

  it.each(golden<UsePart[]>('use-v1.json').cases)('use $hex', ({ hex, value }) => {
    expect(unpackUse(fromHex(hex))).toEqual(value);
    expect(toHex(packUse(value))).toBe(hex);
  });

  it.each(golden<SharerName[]>('sharers-v1.json').cases)('sharers $hex', ({ hex, value }) => {
    expect(unpackSharers(fromHex(hex))).toEqual({ sharers: value });
    expect(toHex(packSharers(value))).toBe(hex);
  });

  it.each(golden<SlotTotals[]>('totals-v1.json').cases)('totals $hex', ({ hex, value }) => {
    expect(unpackTotals(fromHex(hex))).toEqual(value);
    expect(toHex(packTotals(value))).toBe(hex);
  });

  it.each(golden<ProducerJson>('producer-v1.json').cases)('producer $hex', ({ hex, value }) => {
    expect(producerToJson(unpackProducer(fromHex(hex)))).toEqual(value);
    expect(toHex(packProducer(producerFromJson(value)))).toBe(hex);
  });

  it.each(golden<OpenJson[]>('open-transactions-v1.json').cases)(
    'open transactions, version 1, $hex',
    ({ hex, value }) => {
      expect(unpackOpen(fromHex(hex))).toEqual(openFromJson(value));
    },
  );

  it.each(golden<OpenJson[]>('open-transactions-v2.json').cases)('open transactions $hex', ({ hex, value }) => {
    expect(unpackOpen(fromHex(hex))).toEqual(openFromJson(value));
    expect(toHex(packOpen(openFromJson(value)))).toBe(hex);
  });

  it.each(golden<AbortedTransaction[]>('aborted-transactions-v1.json').cases)(
    'aborted, version 1, $hex',
    ({ hex, value }) => {
      expect(unpackAborted(fromHex(hex))).toEqual(value);
    },
  );

  it.each(golden<AbortedTransaction[]>('aborted-transactions-v2.json').cases)('aborted $hex', ({ hex, value }) => {
    expect(unpackAborted(fromHex(hex))).toEqual(value);
    expect(toHex(packAborted(value))).toBe(hex);
  });

  it.each([
    ...sealedCases('entry-v1-sealed.json', unpackEntry),
    ...sealedCases('open-transactions-v2.json', unpackOpen),
    ...sealedCases('aborted-transactions-v2.json', unpackAborted),
  ])('no bit of $file can be wrong: $hex', ({ hex, unpack }) => {
    for (let bit = 0; bit < hex.length * 4; bit++) {
      const damaged = fromHex(hex);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      expect(() => unpack(damaged)).toThrow(expect.objectContaining({ code: 'corrupt_data' }));
    }
  });

  it.each(golden<{ random: string; timeMs: number }>('batch-id-v1.json').cases)('batch id $hex', ({ hex, value }) => {
    const id = makeBatchId(fromHex(value.random), value.timeMs);
    expect(batchIdText(id)).toBe(hex);
    expect(batchTimeMs(fromHex(hex))).toBe(value.timeMs);
  });

  type OnceKeyJson =
    | { kind: 'batch'; slot: number; producerId: number; producerEpoch: number; baseSequence: number }
    | { kind: 'first_batch'; slot: number; producerId: number }
    | { kind: 'fence_of'; slot: number; producerId: number; epoch: number }
    | { kind: 'fence_below'; slot: number; producerId: number; from: number; below: number }
    | { kind: 'idempotency'; use: string }
    | { kind: 'marker'; producerId: number; transaction: number }
    | { kind: 'new_slot'; producerId: number; transaction: number; slots: number };
  it.each(golden<OnceKeyJson, string[]>('once-key-v1.json').cases)('once keys $hex', ({ hex, value }) => {
    expect(onceKeysOf(value).map(toHex)).toEqual(hex);
  });
  function onceKeysOf(value: OnceKeyJson): Uint8Array[] {
    switch (value.kind) {
      case 'batch':
        return [batchOnceKey(value.slot, value.producerId, value.producerEpoch, value.baseSequence)];
      case 'first_batch':
        return [firstBatchOnceKey(value.slot, value.producerId)];
      case 'fence_of':
        return fenceKeysOf(value.slot, value.producerId, value.epoch);
      case 'fence_below':
        return fenceKeysBelow(value.slot, value.producerId, value.from, value.below);
      case 'idempotency':
        return [idempotencyOnceKey(fromHex(value.use))];
      case 'marker':
        return [markerOnceKey(value.producerId, value.transaction)];
      case 'new_slot':
        return [newSlotOnceKey(value.producerId, value.transaction, value.slots)];
    }
  }

  it('keys of objects and items, and names of attributes', () => {
    const id = makeBatchId(fromHex('0102030405ff'), 1_700_000_000_000);
    const topicId = 'AAECAwQFBgcICQoLDA0ODw';
    const text = (key: { pk: string; sk: string }): string => `${key.pk} | ${key.sk}`;
    const made = {
      hotObject: keys.hotObjectKey(id, topicId, 12),
      sharedObject: keys.sharedObjectKey(id),
      due: text(keys.dueKey('merge', { topicId, headNumber: 12, dueAtMs: 1_700_000_000_000, version: 7 })),
      use: text(keys.useKey(topicId, 12, '00ff')),
      segmentList: text(keys.segmentListKey(topicId, 12)),
      segmentPage: text(keys.segmentPageKey(topicId, 12, { slot: 3, startOffset: 77, version: 8 })),
      segmentObject: keys.segmentObjectKey(topicId, 195, 77, 8),
      topic: text(keys.topicKey('orders.eu')),
      head: text(keys.headKey(topicId, 12)),
      node: `${keys.nodePartitionKey(topicId, 12)} | ${keys.nodeSortKey(8_000)}`,
      lastNode: keys.nodeSortKey(9_007_199_254_740_984),
      inlineBatch: text(keys.inlineBatchKey(topicId, 12, id)),
      reference: text(keys.referenceKey(id)),
      checkpoint: text(keys.checkpointKey(topicId, 12)),
      producer: text(keys.producerKey(topicId, 12, 4_711)),
      idempotency: text(keys.idempotencyKey(topicId, '00ff')),
      garbage: text(keys.garbageKey(1_700_000_000_000, `topic#${topicId}`)),
      producerIds: text(keys.PRODUCER_ID_COUNTER),
      attributes: {
        topic: keys.TOPIC,
        head: { ...keys.HEAD, next: keys.HEAD.next(15), start: keys.HEAD.start(0) },
        node: keys.NODE,
        inlineBatch: keys.INLINE_BATCH,
        reference: { ...keys.REFERENCE, mark: keys.REFERENCE.mark(3) },
        segmentList: keys.SEGMENT_LIST,
        segmentPage: keys.SEGMENT_PAGE,
        use: keys.USE,
        checkpoint: keys.CHECKPOINT,
        producer: keys.PRODUCER,
        idempotency: keys.IDEMPOTENCY,
        garbage: keys.GARBAGE,
        job: keys.JOB,
        counter: keys.COUNTER,
      },
    };
    expect(made).toEqual(JSON.parse(readFileSync(new URL('keys-v1.json', FOLDER), 'utf8')));
  });
});

const count = fc.oneof(fc.nat(300), fc.maxSafeNat());
const slotArbitrary = fc.nat(15);
const entryArbitrary: fc.Arbitrary<Entry> = fc
  .record({
    batchId: fc
      .tuple(fc.uint8Array({ minLength: 6, maxLength: 6 }), fc.nat(2 ** 48 - 1))
      .map(([random, timeMs]) => makeBatchId(random, timeMs)),
    onceKeys: fc.nat(400),
    parts: fc.array(
      fc.record(
        {
          slot: slotArbitrary,
          records: count,
          position: count,
          bytes: count,
          maxTimestampMs: fc.oneof(fc.constant(-1), fc.maxSafeNat()),
          producer: fc.record({ producerId: count, producerEpoch: fc.nat(32_767), baseSequence: fc.nat(2 ** 31 - 1) }),
          keyed: fc.nat(400),
        },
        { requiredKeys: ['slot', 'records', 'position', 'bytes', 'maxTimestampMs'] },
      ),
      { maxLength: 40 },
    ),
    placed: fc.oneof(
      fc.record({ location: fc.constantFrom('inline', 'hot') }),
      fc
        .tuple(fc.nat(2_000), fc.nat(2_000))
        .map(([a, b]) => ({ location: 'shared', share: { sharer: Math.min(a, b), sharers: Math.max(a, b) + 1 } })),
    ),
    continued: fc.option(fc.constant(true), { nil: undefined }),
  })
  .map(({ placed, continued, ...entry }) => ({ ...entry, ...placed, ...(continued ? { continued } : {}) }) as Entry);
const totalsArbitrary: fc.Arbitrary<SlotTotals[]> = fc
  .uniqueArray(fc.record({ slot: slotArbitrary, nextOffset: count, maxTimestampMs: fc.maxSafeNat(), bytes: count }), {
    selector: ({ slot }) => slot,
  })
  .map((some) => {
    const totals: SlotTotals[] = [];
    for (const { slot, ...total } of some) if (total.nextOffset > 0) totals[slot] = total;
    return Array.from(totals, (total) => total ?? EMPTY_TOTALS);
  });
const producerArbitrary: fc.Arbitrary<ProducerState> = fc
  .record({
    slots: fc
      .uniqueArray(
        fc.tuple(
          slotArbitrary,
          fc.record({
            epoch: fc.nat(32_767),
            open: fc.option(fc.record({ number: fc.nat(), firstOffset: count }), { nil: undefined }),
            batches: fc.array(
              fc.record({ baseSequence: fc.nat(2 ** 31 - 1), records: fc.nat(100_000), baseOffset: fc.maxSafeNat() }),
              { maxLength: 5 },
            ),
          }),
        ),
        { selector: ([slot]) => slot },
      )
      .map((some) => {
        const slots: ProducerState['slots'][number][] = [];
        for (const [slot, { open, ...known }] of some) slots[slot] = open === undefined ? known : { ...known, open };
        return slots;
      }),
    ended: fc.option(fc.nat(), { nil: undefined }),
  })
  .map(({ slots, ended }) => (ended === undefined ? { slots } : { slots, ended }));

describe.each([
  {
    name: 'entries',
    arbitrary: entryArbitrary as fc.Arbitrary<unknown>,
    pack: packEntry as (value: unknown) => Uint8Array,
    unpack: unpackEntry,
  },
  {
    name: 'uses',
    arbitrary: fc.array(fc.record({ slot: slotArbitrary, baseOffset: count, records: count }), { maxLength: 20 }),
    pack: packUse as (value: unknown) => Uint8Array,
    unpack: unpackUse,
  },
  {
    name: 'totals',
    arbitrary: totalsArbitrary,
    pack: packTotals as (value: unknown) => Uint8Array,
    unpack: unpackTotals,
  },
  {
    name: 'producers',
    arbitrary: producerArbitrary,
    pack: packProducer as (value: unknown) => Uint8Array,
    unpack: unpackProducer,
  },
])('$name', itIsPacked);

it('totals that name a slot no head has are refused, not made room for', () => {
  const slot = [0xff, 0xff, 0xff, 0xff, 0x0f];
  expect(() => unpackTotals(Uint8Array.from([1, 1, ...slot, 1, 0, 1]))).toThrow(EventLogError);
  expect(() => unpackTotals(Uint8Array.from([1, 1, 16, 1, 0, 1]))).toThrow(EventLogError);
});
