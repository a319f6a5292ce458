import { COMPRESSIONS, type Compression } from '../batch/codecs.ts';
import { invalidField } from '../errors.ts';
import { BATCH_BYTES_DEFAULT, BATCH_BYTES_MAX } from '../limits.ts';

/**
 * Topic settings under Kafka's names, with Kafka's defaults and value checks ("Topic Configs" in Kafka's documentation).
 * A value is stored only if a topic sets it, so that a default can be distinguished from a choice.
 */
interface NumberSetting {
  readonly type: 'number';
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

interface ChoiceSetting {
  readonly type: 'choice';
  readonly default: string;
  readonly values: readonly string[];
}

const MS_MAX = Number.MAX_SAFE_INTEGER;
const DAY_MS = 86_400_000;

function number(defaultValue: number, min: number, max: number): NumberSetting {
  return { type: 'number', default: defaultValue, min, max };
}

function choice(values: readonly string[]): ChoiceSetting {
  return { type: 'choice', default: values[0] as string, values };
}

export const TOPIC_SETTINGS = {
  'cleanup.policy': choice(['delete', 'compact', 'compact,delete', 'delete,compact']),
  'compression.type': choice(['producer', 'uncompressed', ...COMPRESSIONS.filter((name) => name !== 'none')]),
  'delete.retention.ms': number(DAY_MS, 0, MS_MAX),
  'max.compaction.lag.ms': number(MS_MAX, 1, MS_MAX),
  'max.message.bytes': number(BATCH_BYTES_DEFAULT, 0, BATCH_BYTES_MAX),
  'message.timestamp.after.max.ms': number(3_600_000, 0, MS_MAX),
  'message.timestamp.before.max.ms': number(MS_MAX, 0, MS_MAX),
  'message.timestamp.type': choice(['CreateTime', 'LogAppendTime']),
  'min.cleanable.dirty.ratio': { type: 'number', default: 0.5, min: 0, max: 1 },
  'min.compaction.lag.ms': number(0, 0, MS_MAX),
  'retention.bytes': number(-1, -1, Number.MAX_SAFE_INTEGER),
  'retention.ms': number(7 * DAY_MS, -1, MS_MAX),
  'segment.bytes': number(1_073_741_824, 1_048_576, 2_147_483_647),
  'segment.ms': number(7 * DAY_MS, 1, MS_MAX),
} as const satisfies Record<string, NumberSetting | ChoiceSetting>;

export type TopicSettingName = keyof typeof TOPIC_SETTINGS;
export type TopicSettingValue = string | number;
/** Only the settings that the topic itself sets. */
export type TopicConfig = Readonly<Partial<Record<TopicSettingName, TopicSettingValue>>>;

export const TOPIC_SETTING_NAMES = Object.keys(TOPIC_SETTINGS) as TopicSettingName[];

/**
 * Checks names and values. Numbers may be given as text, as Kafka's tools send them.
 * @throws EventLogError `invalid_request` naming the setting, its range, and the given value
 */
export function parseTopicConfig(given: Readonly<Record<string, unknown>>): TopicConfig {
  const config: Partial<Record<TopicSettingName, TopicSettingValue>> = {};
  for (const [name, value] of Object.entries(given)) {
    checkSettingName(name);
    config[name as TopicSettingName] = parseSetting(name as TopicSettingName, value);
  }
  return config;
}

/** @throws EventLogError `invalid_request` naming the existing settings */
export function checkSettingName(name: string): void {
  if (Object.hasOwn(TOPIC_SETTINGS, name)) return;
  throw invalidField(
    `config.${name}`,
    `There is no topic setting of this name. The settings are: ${TOPIC_SETTING_NAMES.join(', ')}.`,
  );
}

/** Checks what settings must be to each other, as Kafka does (`LogConfig.validateValues`). @throws EventLogError `invalid_request` */
export function checkTogether(config: TopicConfig): void {
  const [min, max] = [numberSetting(config, 'min.compaction.lag.ms'), numberSetting(config, 'max.compaction.lag.ms')];
  if (min <= max) return;
  throw invalidField(
    'config.min.compaction.lag.ms',
    `min.compaction.lag.ms (${min}) cannot be more than max.compaction.lag.ms (${max}).`,
  );
}

function parseSetting(name: TopicSettingName, value: unknown): TopicSettingValue {
  const setting: NumberSetting | ChoiceSetting = TOPIC_SETTINGS[name];
  const field = `config.${name}`;
  if (setting.type === 'choice') {
    if (typeof value === 'string' && setting.values.includes(value)) return value;
    throw invalidField(field, `${name} takes ${settingRange(name)}.`);
  }
  const parsed = typeof value === 'string' && /^-?\d+(\.\d+)?$/.test(value) ? Number(value) : value;
  if (
    typeof parsed === 'number' &&
    parsed >= setting.min &&
    parsed <= setting.max &&
    (!isWhole(name) || Number.isSafeInteger(parsed))
  ) {
    return parsed;
  }
  throw invalidField(field, `${name} takes ${settingRange(name)}.`);
}

/** Describes the allowed values of a setting for people. */
export function settingRange(name: TopicSettingName): string {
  const setting: NumberSetting | ChoiceSetting = TOPIC_SETTINGS[name];
  if (setting.type === 'choice') return `one of: ${setting.values.join(', ')}`;
  return `${isWhole(name) ? 'a whole number' : 'a number'} from ${setting.min} to ${setting.max}`;
}

/** Whether a numeric setting takes whole numbers: all do, except ratios. */
export function isWhole(name: TopicSettingName): boolean {
  return name !== 'min.cleanable.dirty.ratio';
}

export interface DescribedSetting {
  readonly value: TopicSettingValue;
  readonly source: 'default' | 'topic';
}

export function describeTopicConfig(config: TopicConfig): Record<TopicSettingName, DescribedSetting> {
  const described = {} as Record<TopicSettingName, DescribedSetting>;
  for (const name of TOPIC_SETTING_NAMES) {
    const own = config[name];
    described[name] =
      own === undefined ? { value: TOPIC_SETTINGS[name].default, source: 'default' } : { value: own, source: 'topic' };
  }
  return described;
}

export function numberSetting(config: TopicConfig, name: TopicSettingName): number {
  return Number(config[name] ?? TOPIC_SETTINGS[name].default);
}

export function choiceSetting(config: TopicConfig, name: TopicSettingName): string {
  return String(config[name] ?? TOPIC_SETTINGS[name].default);
}

/** Whether only the last record of each key is kept. */
export function isCompacted(config: TopicConfig): boolean {
  return choiceSetting(config, 'cleanup.policy').split(',').includes('compact');
}

/** The codec that stored batches of the topic must have; `undefined` keeps what the producer chose. */
export function requiredCompression(config: TopicConfig): Compression | undefined {
  const chosen = choiceSetting(config, 'compression.type');
  if (chosen === 'producer') return undefined;
  return chosen === 'uncompressed' ? 'none' : (chosen as Compression);
}
