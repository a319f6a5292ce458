import { eachOf } from '../../../broker/topics/each-head.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import { type Call, handler } from '../../handler.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_CONFIGS } from '../../protocol/messages/topics/describe-configs.ts';
import { eachOnce } from '../each-once.ts';
import { answeringTopic, checkRight, TopicRefusal } from '../topic-errors.ts';
import { BROKER_RESOURCE, TOPIC_RESOURCE } from './config-types.ts';
import { brokerSettings, type ShownSetting, topicSettings } from './describe-settings.ts';

type Asked = RequestOf<typeof DESCRIBE_CONFIGS>['resources'][number];
type Result = ResponseOf<typeof DESCRIBE_CONFIGS>['results'][number];

/** The settings of topics, and of this gateway. */
export const describeConfigs = handler(DESCRIBE_CONFIGS, [{ action: 'any', on: 'topic' }], async (call, request) => {
  const { resources, includeSynonyms, includeDocumentation } = request;
  const named = eachOnce(resources, ({ resourceType, resourceName }) => `${resourceType} ${resourceName}`);
  const results = await eachOf(named, ({ resourceType, resourceName, configurationKeys }) =>
    answeringTopic<Result>(
      async () => {
        const shown = await settingsOf(call, resourceType, resourceName);
        // Kafka's older clients ask for all with an empty list.
        const isForAll = configurationKeys === null || configurationKeys.length === 0;
        const names = new Set(configurationKeys);
        return {
          errorCode: KAFKA_ERRORS.NONE,
          errorMessage: null,
          resourceType,
          resourceName,
          configs: shown
            .filter(({ name }) => isForAll || names.has(name))
            .map((setting) => ({
              ...setting,
              synonyms: includeSynonyms ? setting.synonyms : [],
              documentation: includeDocumentation ? setting.documentation : null,
            })),
        };
      },
      (errorCode, errorMessage) => ({ errorCode, errorMessage, resourceType, resourceName, configs: [] }),
    ),
  );
  return { results };
});

/** @throws TopicRefusal, EventLogError */
async function settingsOf(call: Call, type: Asked['resourceType'], name: string): Promise<ShownSetting[]> {
  const { gateway } = call;
  if (type === TOPIC_RESOURCE) {
    checkRight(call, 'any', name);
    return topicSettings((await gateway.broker.describeTopic(name)).config);
  }
  if (type !== BROKER_RESOURCE)
    throw new TopicRefusal(
      'INVALID_REQUEST',
      `Resources of type ${type} have no settings here: topics (${TOPIC_RESOURCE}) and brokers (${BROKER_RESOURCE}) have.`,
    );
  // What was set for all brokers at once: nothing can be.
  if (name === '') return [];
  const { nodeId } = gateway.self;
  if (name !== String(nodeId))
    throw new TopicRefusal('INVALID_REQUEST', `This is the broker ${nodeId}, which knows no settings of '${name}'.`);
  return brokerSettings(gateway);
}
