import { TOPIC_SETTING_NAMES } from '../../../log/topic/topic-config.ts';
import { handler } from '../../handler.ts';
import type { RequestOf } from '../../protocol/api.ts';
import { ALTER_CONFIGS } from '../../protocol/messages/topics/alter-configs.ts';
import { TopicRefusal } from '../topic-errors.ts';
import { type Change, changeSettings } from './change-settings.ts';
import { settingsFromText } from './topic-settings.ts';

type Asked = RequestOf<typeof ALTER_CONFIGS>['resources'][number];

/** Replaces all settings of topics: those that are not named get their defaults. */
export const alterConfigs = handler(
  ALTER_CONFIGS,
  [{ action: 'admin', on: 'topic' }],
  async (call, { resources, validateOnly }) => ({
    responses: await changeSettings(call, resources, validateOnly, replacement),
  }),
);

function replacement({ configs }: Asked): Change {
  const settings = settingsFromText(
    new Map(
      configs.map(({ name, value }) => {
        if (value === null) throw new TopicRefusal('INVALID_REQUEST', `The setting ${name} has no value.`);
        return [name, value];
      }),
    ),
  );
  const all = { ...Object.fromEntries(TOPIC_SETTING_NAMES.map((name) => [name, null])), ...settings };
  return () => all;
}
