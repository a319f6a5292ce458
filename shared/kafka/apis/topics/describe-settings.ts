import {
  type DescribedSetting,
  describeTopicConfig,
  TOPIC_SETTING_NAMES,
  type TopicSettingName,
} from '../../../log/topic/topic-config.ts';
import type { Gateway, GatewaySettings } from '../../gateway.ts';
import { DEFAULT_GATEWAY_SETTINGS } from '../../gateway.ts';
import { BOOLEAN, INT, LONG, SOURCE_DEFAULT, SOURCE_STATIC_BROKER, SOURCE_TOPIC } from './config-types.ts';
import { KAFKA_SETTINGS, SETTINGS_WITHOUT_EFFECT, settingText } from './topic-settings.ts';

/** A setting as DescribeConfigs and CreateTopics answer it. */
export interface ShownSetting {
  readonly name: string;
  readonly value: string;
  readonly readOnly: boolean;
  readonly configSource: number;
  readonly isSensitive: false;
  /** Where the value comes from, and what it would be without that. */
  readonly synonyms: readonly { readonly name: string; readonly value: string; readonly source: number }[];
  readonly configType: number;
  readonly documentation: string;
}

const NO_EFFECT = 'A setting of the disks, replicas or tiers of servers. It is accepted and has no effect here.';

/** In the order of the names. */
export function topicSettings(config: Readonly<Record<TopicSettingName, DescribedSetting>>): ShownSetting[] {
  const defaults = describeTopicConfig({});
  const settings = TOPIC_SETTING_NAMES.map((name): ShownSetting => {
    const { type, brokerName, documentation } = KAFKA_SETTINGS[name];
    const { value, source } = config[name];
    const byDefault = { name: brokerName, value: settingText(defaults[name].value), source: SOURCE_DEFAULT };
    const isOwn = source === 'topic';
    return {
      name,
      value: settingText(value),
      readOnly: false,
      configSource: isOwn ? SOURCE_TOPIC : SOURCE_DEFAULT,
      isSensitive: false,
      synonyms: isOwn ? [{ name, value: settingText(value), source: SOURCE_TOPIC }, byDefault] : [byDefault],
      configType: type,
      documentation,
    };
  });
  for (const [name, { type, value }] of SETTINGS_WITHOUT_EFFECT) settings.push(fixed(name, value, type, NO_EFFECT));
  return settings.sort(byName);
}

/** The settings of this gateway, under the names of Kafka's brokers. All are given where it is started. */
export function brokerSettings({ settings, self }: Pick<Gateway, 'settings' | 'self'>): ShownSetting[] {
  const shown: ShownSetting[] = GATEWAY_SETTINGS.map(([name, key, configType, documentation]) => {
    const value = String(settings[key]);
    const byDefault = { name, value: String(DEFAULT_GATEWAY_SETTINGS[key]), source: SOURCE_DEFAULT };
    const isDefault = value === byDefault.value;
    return {
      ...fixed(name, value, configType, documentation),
      configSource: isDefault ? SOURCE_DEFAULT : SOURCE_STATIC_BROKER,
      synonyms: isDefault ? [byDefault] : [{ name, value, source: SOURCE_STATIC_BROKER }, byDefault],
    };
  });
  const defaults = describeTopicConfig({});
  for (const name of TOPIC_SETTING_NAMES) {
    const { type, brokerName, documentation } = KAFKA_SETTINGS[name];
    shown.push(fixed(brokerName, settingText(defaults[name].value), type, `The default of ${name}. ${documentation}`));
  }
  for (const name of ['broker.id', 'node.id'])
    shown.push(fixed(name, String(self.nodeId), INT, 'The number of this gateway.', SOURCE_STATIC_BROKER));
  shown.push(
    fixed('default.replication.factor', '1', INT, 'Always 1: the store replicates every record.'),
    fixed('delete.topic.enable', 'true', BOOLEAN, 'Topics can be deleted.'),
    fixed('min.insync.replicas', '1', INT, NO_EFFECT),
  );
  return shown.sort(byName);
}

type GatewaySettingName = Exclude<keyof GatewaySettings, 'clusterId'>;

const GATEWAY_SETTINGS: readonly (readonly [string, GatewaySettingName, number, string])[] = [
  ['auto.create.topics.enable', 'autoCreateTopics', BOOLEAN, 'Whether topics that clients ask for are made.'],
  ['connections.max.idle.ms', 'idleMs', LONG, 'A connection on which nothing comes for so long is closed.'],
  [
    'group.consumer.session.timeout.ms',
    'groupConsumerSessionTimeoutMs',
    INT,
    'A member of a KIP-848 group is gone after so long without a heartbeat.',
  ],
  ['group.min.session.timeout.ms', 'groupMinSessionTimeoutMs', INT, 'The shortest session in classic groups.'],
  ['max.connections', 'connectionsMax', INT, 'The connections that are accepted.'],
  ['num.partitions', 'partitionsDefault', INT, 'The partitions of a topic that is made without a number.'],
  ['queued.max.request.bytes', 'requestBytesMax', LONG, 'The bytes of all requests in work.'],
  ['socket.request.max.bytes', 'frameBytesMax', INT, 'The longest request that is accepted.'],
];

function fixed(
  name: string,
  value: string,
  configType: number,
  documentation: string,
  source: number = SOURCE_DEFAULT,
): ShownSetting {
  return {
    name,
    value,
    readOnly: true,
    configSource: source,
    isSensitive: false,
    synonyms: [{ name, value, source }],
    configType,
    documentation,
  };
}

function byName(a: ShownSetting, b: ShownSetting): number {
  return a.name < b.name ? -1 : 1;
}
