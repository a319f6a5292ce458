import { invalidField } from '../../../log/errors.ts';
import {
  TOPIC_SETTING_NAMES,
  TOPIC_SETTINGS,
  type TopicSettingName,
  type TopicSettingValue,
} from '../../../log/topic/topic-config.ts';
import { BOOLEAN, DOUBLE, INT, LIST, LONG, STRING } from './config-types.ts';

/** A topic's setting as Kafka's clients see it. */
export interface KafkaSetting {
  readonly type: number;
  /** The name of the broker's setting that is the default of this one. */
  readonly brokerName: string;
  readonly documentation: string;
}

export const KAFKA_SETTINGS: Readonly<Record<TopicSettingName, KafkaSetting>> = {
  'cleanup.policy': {
    type: LIST,
    brokerName: 'log.cleanup.policy',
    documentation: 'What happens to old records: they are deleted, or only the newest of each key is kept, or both.',
  },
  'compression.type': {
    type: STRING,
    brokerName: 'compression.type',
    documentation: 'The compression that stored batches must have; producer keeps what the producer chose.',
  },
  'delete.retention.ms': {
    type: LONG,
    brokerName: 'log.cleaner.delete.retention.ms',
    documentation: 'How long compaction keeps a tombstone.',
  },
  'max.compaction.lag.ms': {
    type: LONG,
    brokerName: 'log.cleaner.max.compaction.lag.ms',
    documentation: 'The longest time that a record waits for compaction.',
  },
  'max.message.bytes': {
    type: INT,
    brokerName: 'message.max.bytes',
    documentation: 'The largest record batch that is accepted, as compressed.',
  },
  'message.timestamp.after.max.ms': {
    type: LONG,
    brokerName: 'log.message.timestamp.after.max.ms',
    documentation: 'How far the timestamp of a record may be ahead of the time of its append.',
  },
  'message.timestamp.before.max.ms': {
    type: LONG,
    brokerName: 'log.message.timestamp.before.max.ms',
    documentation: 'How far the timestamp of a record may be behind the time of its append.',
  },
  'message.timestamp.type': {
    type: STRING,
    brokerName: 'log.message.timestamp.type',
    documentation: 'Whether records keep the timestamp of their producer or get the time of their append.',
  },
  'min.cleanable.dirty.ratio': {
    type: DOUBLE,
    brokerName: 'log.cleaner.min.cleanable.ratio',
    documentation: 'The share of a partition that must be uncompacted before compaction begins.',
  },
  'min.compaction.lag.ms': {
    type: LONG,
    brokerName: 'log.cleaner.min.compaction.lag.ms',
    documentation: 'The shortest time that a record is kept from compaction.',
  },
  'retention.bytes': {
    type: LONG,
    brokerName: 'log.retention.bytes',
    documentation: 'The bytes of a partition beyond which its oldest records are deleted; -1 for no limit.',
  },
  'retention.ms': {
    type: LONG,
    brokerName: 'log.retention.ms',
    documentation: 'How long records are kept; -1 for no limit.',
  },
  'segment.bytes': {
    type: INT,
    brokerName: 'log.segment.bytes',
    documentation: 'The largest size of a segment.',
  },
  'segment.ms': {
    type: LONG,
    brokerName: 'log.roll.ms',
    documentation: 'The time after which a segment is closed even if it is small.',
  },
};

/**
 * Settings of Kafka that are about the disks, replicas and tiers of its servers. Tools and frameworks set them as a matter of
 * course, so they are accepted, but there is nothing here for them to change: every record is durable in the store before it
 * is acknowledged. They are not kept. They are described with these values, which are Kafka's defaults or what is true here.
 */
export const SETTINGS_WITHOUT_EFFECT: ReadonlyMap<string, { readonly type: number; readonly value: string }> = new Map([
  ['compression.gzip.level', { type: INT, value: '-1' }],
  ['compression.lz4.level', { type: INT, value: '9' }],
  ['compression.zstd.level', { type: INT, value: '3' }],
  ['file.delete.delay.ms', { type: LONG, value: '60000' }],
  ['flush.messages', { type: LONG, value: '1' }],
  ['flush.ms', { type: LONG, value: '0' }],
  ['follower.replication.throttled.replicas', { type: LIST, value: '' }],
  ['index.interval.bytes', { type: INT, value: '4096' }],
  ['leader.replication.throttled.replicas', { type: LIST, value: '' }],
  ['local.retention.bytes', { type: LONG, value: '-2' }],
  ['local.retention.ms', { type: LONG, value: '-2' }],
  ['min.insync.replicas', { type: INT, value: '1' }],
  ['preallocate', { type: BOOLEAN, value: 'false' }],
  ['remote.log.copy.disable', { type: BOOLEAN, value: 'false' }],
  ['remote.log.delete.on.disable', { type: BOOLEAN, value: 'false' }],
  ['remote.storage.enable', { type: BOOLEAN, value: 'false' }],
  ['segment.index.bytes', { type: INT, value: '10485760' }],
  ['segment.jitter.ms', { type: LONG, value: '0' }],
  ['unclean.leader.election.enable', { type: BOOLEAN, value: 'false' }],
]);

const VALUES: Readonly<Record<number, { readonly pattern: RegExp; readonly meaning: string }>> = {
  [INT]: { pattern: /^-?\d{1,10}$/, meaning: 'a whole number' },
  [LONG]: { pattern: /^-?\d{1,19}$/, meaning: 'a whole number' },
  [BOOLEAN]: { pattern: /^(?:true|false)$/i, meaning: 'true or false' },
};

/** Whether a setting is a list, to which values can be added. @throws EventLogError `invalid_request` if there is no such setting */
export function isListSetting(name: string): boolean {
  return typeOf(name) === LIST;
}

function typeOf(name: string): number {
  if (isTopicSetting(name)) return KAFKA_SETTINGS[name].type;
  const ignored = SETTINGS_WITHOUT_EFFECT.get(name);
  if (ignored !== undefined) return ignored.type;
  throw invalidField(
    `config.${name}`,
    `There is no topic setting '${name}'. The settings are: ${TOPIC_SETTING_NAMES.join(', ')}.`,
  );
}

/** Whether there is such a setting, also one without effect. */
export function isSetting(name: string): boolean {
  return isTopicSetting(name) || SETTINGS_WITHOUT_EFFECT.has(name);
}

export function isTopicSetting(name: string): name is TopicSettingName {
  return Object.hasOwn(TOPIC_SETTINGS, name);
}

/** Java's largest long, which Kafka has as the default of settings without a limit. Ours is the largest exact number. */
const LONG_MAX = '9223372036854775807';

export function settingText(value: TopicSettingValue): string {
  return value === Number.MAX_SAFE_INTEGER ? LONG_MAX : String(value);
}

/** The entries of a list setting, without spaces around them and each once. */
export function listEntries(text: string): string[] {
  const entries = text.split(',').map((entry) => entry.trim());
  return [...new Set(entries.filter((entry) => entry !== ''))];
}

/**
 * Settings as text, as `putTopic` takes them: `null` resets one to its default. Those without effect are checked and left out.
 * @throws EventLogError `invalid_request`
 */
export function settingsFromText(given: ReadonlyMap<string, string | null>): Record<string, string | null> {
  const settings: Record<string, string | null> = {};
  for (const [name, text] of given) {
    const type = typeOf(name);
    if (isTopicSetting(name)) settings[name] = text === null ? null : valueFromText(type, text.trim());
    else if (text !== null) checkText(name, type, text.trim());
  }
  return settings;
}

function valueFromText(type: number, text: string): string {
  if (type === LIST) return listEntries(text).join(',');
  const isBeyondExact = type === LONG && /^\d{16,19}$/.test(text) && BigInt(text) > BigInt(Number.MAX_SAFE_INTEGER);
  return isBeyondExact && BigInt(text) <= BigInt(LONG_MAX) ? String(Number.MAX_SAFE_INTEGER) : text;
}

function checkText(name: string, type: number, text: string): void {
  const value = VALUES[type];
  if (value === undefined || value.pattern.test(text)) return;
  throw invalidField(`config.${name}`, `${name} takes ${value.meaning}.`);
}
