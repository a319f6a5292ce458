import { describe, expect, it } from 'vitest';
import { EventLogError } from '../../../../shared/log/errors.ts';
import {
  checkPartition,
  checkPartitionCount,
  checkTopicName,
  headCount,
  headOf,
  type Topic,
} from '../../../../shared/log/topic/topic.ts';
import {
  choiceSetting,
  describeTopicConfig,
  numberSetting,
  parseTopicConfig,
  requiredCompression,
  TOPIC_SETTING_NAMES,
} from '../../../../shared/log/topic/topic-config.ts';

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof EventLogError) return `${error.code} ${error.details.field ?? error.details.partition}`;
    throw error;
  }
  return 'fine';
}

describe('topic names', () => {
  it.each(['a', 'orders', 'Orders.v2_final-3', '...', '-', '_', '0', 'a'.repeat(249), '__consumer_offsets'])(
    '"%s" is one',
    (name) => expect(codeOf(() => checkTopicName(name))).toBe('fine'),
  );
  it.each(['', '.', '..', 'a b', 'a/b', 'a#b', 'ä', 'a\n', '\u0000', 'a:b', 'a'.repeat(250), '名', 'a\u200b'])(
    '"%s" is none',
    (name) => expect(codeOf(() => checkTopicName(name))).toBe('invalid_request topic'),
  );
  it('say which field is wrong', () => {
    expect(codeOf(() => checkTopicName('', 'topics[3]'))).toBe('invalid_request topics[3]');
  });
});

describe('partitions', () => {
  const topic: Topic = { name: 't', topicId: 'i', partitions: 33, partitionsPerHead: 16, config: {}, createdAtMs: 0 };

  it.each([1, 16, 10_000])('%d are allowed', (count) => expect(codeOf(() => checkPartitionCount(count))).toBe('fine'));
  it.each([0, -1, 1.5, 10_001, Number.NaN, Number.POSITIVE_INFINITY])('%d are not', (count) =>
    expect(codeOf(() => checkPartitionCount(count))).toBe('invalid_request partitions'),
  );

  it('have a head and a slot each', () => {
    expect(headCount(topic)).toBe(3);
    expect(headOf(topic, 0)).toEqual({ headNumber: 0, slot: 0 });
    expect(headOf(topic, 15)).toEqual({ headNumber: 0, slot: 15 });
    expect(headOf(topic, 32)).toEqual({ headNumber: 2, slot: 0 });
    expect(headCount({ ...topic, partitions: 32 })).toBe(2);
    expect(headOf({ ...topic, partitionsPerHead: 1 }, 7)).toEqual({ headNumber: 7, slot: 0 });
  });

  it('that there are not are refused', () => {
    expect(codeOf(() => checkPartition(topic, 32))).toBe('fine');
    for (const partition of [-1, 33, 0.5]) {
      expect(codeOf(() => checkPartition(topic, partition))).toBe(`unknown_partition ${partition}`);
    }
    expect(codeOf(() => checkPartition(topic, Number.NaN))).toBe('unknown_partition NaN');
  });
});

describe('topic settings', () => {
  it.each([
    ['cleanup.policy', 'compact', 'compact'],
    ['cleanup.policy', 'compact,delete', 'compact,delete'],
    ['compression.type', 'uncompressed', 'uncompressed'],
    ['compression.type', 'zstd', 'zstd'],
    ['max.message.bytes', 0, 0],
    ['max.message.bytes', '4194304', 4_194_304],
    ['message.timestamp.type', 'LogAppendTime', 'LogAppendTime'],
    ['min.cleanable.dirty.ratio', '0.25', 0.25],
    ['retention.ms', -1, -1],
    ['retention.ms', '-1', -1],
    ['retention.bytes', 9_007_199_254_740_991, 9_007_199_254_740_991],
    ['segment.bytes', 1_048_576, 1_048_576],
  ])('%s takes %s', (name, given, kept) => {
    expect(parseTopicConfig({ [name]: given })).toEqual({ [name]: kept });
  });

  it.each([
    ['cleanup.policy', 'keep'],
    ['cleanup.policy', ['delete']],
    ['compression.type', 'none'],
    ['compression.type', 'brotli'],
    ['compression.type', 4],
    ['max.message.bytes', -1],
    ['max.message.bytes', 4_194_305],
    ['max.message.bytes', 1.5],
    ['max.message.bytes', '1e3'],
    ['max.message.bytes', ' 5'],
    ['max.message.bytes', ''],
    ['max.message.bytes', null],
    ['max.message.bytes', true],
    ['retention.ms', -2],
    ['retention.ms', Number.NaN],
    ['retention.ms', '9007199254740993'],
    ['min.cleanable.dirty.ratio', 1.01],
    ['segment.bytes', 2_147_483_648],
    ['segment.ms', 0],
    ['retention', 1],
    ['toString', 1],
    ['__proto__', 1],
  ])('%s refuses %s', (name, given) => {
    const config = Object.fromEntries([[name, given]]);
    expect(codeOf(() => parseTopicConfig(config))).toBe(`invalid_request config.${name}`);
  });

  it('tell a default from a choice', () => {
    const described = describeTopicConfig({ 'retention.ms': 604_800_000 });
    expect(Object.keys(described)).toEqual(TOPIC_SETTING_NAMES);
    expect(described['retention.ms']).toEqual({ value: 604_800_000, source: 'topic' });
    expect(described['cleanup.policy']).toEqual({ value: 'delete', source: 'default' });
    expect(numberSetting({}, 'max.message.bytes')).toBe(1_048_588);
    expect(choiceSetting({}, 'message.timestamp.type')).toBe('CreateTime');
    expect(choiceSetting({ 'cleanup.policy': 'compact' }, 'cleanup.policy')).toBe('compact');
  });

  it('have Kafka’s defaults, each of which its own check takes', () => {
    const defaults = Object.fromEntries(
      Object.entries(describeTopicConfig({})).map(([name, setting]) => [name, setting.value]),
    );
    expect(parseTopicConfig(defaults)).toEqual(defaults);
  });

  it.each([
    ['producer', undefined],
    ['uncompressed', 'none'],
    ['gzip', 'gzip'],
    ['snappy', 'snappy'],
    ['lz4', 'lz4'],
    ['zstd', 'zstd'],
  ])('compression.type %s asks for %s', (chosen, expected) => {
    expect(requiredCompression({ 'compression.type': chosen })).toBe(expected);
  });
});
