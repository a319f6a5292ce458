import { choiceSetting, type TopicConfig } from '../../../log/topic/topic-config.ts';
import { handler } from '../../handler.ts';
import type { RequestOf } from '../../protocol/api.ts';
import { INCREMENTAL_ALTER_CONFIGS } from '../../protocol/messages/topics/incremental-alter-configs.ts';
import { TopicRefusal } from '../topic-errors.ts';
import { type Change, changeSettings } from './change-settings.ts';
import { isListSetting, isSetting, isTopicSetting, listEntries, settingsFromText } from './topic-settings.ts';

type Asked = RequestOf<typeof INCREMENTAL_ALTER_CONFIGS>['resources'][number];
type AskedSetting = Asked['configs'][number];

const SET = 0;
const DELETE = 1;
const APPEND = 2;
const SUBTRACT = 3;

/** Changes single settings of topics. All others stay, also those that another request changes at the same time. */
export const incrementalAlterConfigs = handler(
  INCREMENTAL_ALTER_CONFIGS,
  [{ action: 'admin', on: 'topic' }],
  async (call, { resources, validateOnly }) => ({
    responses: await changeSettings(call, resources, validateOnly, changeOf),
  }),
);

function changeOf({ configs }: Asked): Change {
  // A setting that there is none of has its default already.
  const known = configs.filter(({ name, configOperation }) => configOperation !== DELETE || isSetting(name));
  for (const setting of known) checkSetting(setting);
  return (current) => settingsFromText(new Map(known.map((setting) => [setting.name, wantedValue(setting, current)])));
}

/** @throws TopicRefusal, EventLogError */
function checkSetting({ name, configOperation, value }: AskedSetting): void {
  if (configOperation < SET || configOperation > SUBTRACT)
    throw new TopicRefusal('INVALID_REQUEST', `The operation ${configOperation} is not known: it is from 0 to 3.`);
  if (configOperation !== DELETE && value === null)
    throw new TopicRefusal('INVALID_REQUEST', `The setting ${name} has no value.`);
  const isForLists = configOperation === APPEND || configOperation === SUBTRACT;
  if (isForLists && !isListSetting(name))
    throw new TopicRefusal('INVALID_CONFIG', `${name} is not a list: nothing can be added to it or taken from it.`);
}

/** `null`: the default. */
function wantedValue({ name, configOperation, value }: AskedSetting, current: TopicConfig): string | null {
  if (configOperation === DELETE) return null;
  if (configOperation === SET || !isTopicSetting(name)) return value;
  const entries = listEntries(choiceSetting(current, name));
  const given = listEntries(value ?? '');
  const wanted =
    configOperation === APPEND ? [...entries, ...given] : entries.filter((entry) => !given.includes(entry));
  return wanted.join(',');
}
