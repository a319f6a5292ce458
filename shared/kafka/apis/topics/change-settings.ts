import { eachOf } from '../../../broker/topics/each-head.ts';
import type { TopicConfig } from '../../../log/topic/topic-config.ts';
import { KAFKA_ERRORS } from '../../error-codes.ts';
import type { Call } from '../../handler.ts';
import { answeringTopic, checkRight, repeated, TopicRefusal } from '../topic-errors.ts';
import { BROKER_RESOURCE, TOPIC_RESOURCE } from './config-types.ts';

interface AskedChange {
  readonly resourceType: number;
  readonly resourceName: string;
  readonly configs: readonly { readonly name: string }[];
}

interface ChangeResult {
  readonly errorCode: number;
  readonly errorMessage: string | null;
  readonly resourceType: number;
  readonly resourceName: string;
}

/** What `putTopic` takes, from the settings that the topic itself has. @throws TopicRefusal, EventLogError */
export type Change = (current: TopicConfig) => Readonly<Record<string, unknown>>;

/** Changes the settings of topics, each topic as a whole and by itself. `changeOf` checks a change and makes it. */
export function changeSettings<Asked extends AskedChange>(
  call: Call,
  resources: readonly Asked[],
  validateOnly: boolean,
  changeOf: (asked: Asked) => Change,
): Promise<ChangeResult[]> {
  const twice = repeated(resources.map(keyOf));
  return eachOf(resources, (asked) => {
    const { resourceType, resourceName } = asked;
    return answeringTopic<ChangeResult>(
      async () => {
        if (twice.has(keyOf(asked)))
          throw new TopicRefusal('INVALID_REQUEST', 'Each resource must appear at most once.');
        checkChangeable(resourceType);
        checkRight(call, 'admin', resourceName);
        const [doubled] = repeated(asked.configs.map(({ name }) => name));
        if (doubled !== undefined) throw new TopicRefusal('INVALID_REQUEST', `The setting ${doubled} is named twice.`);
        const configFrom = changeOf(asked);
        await call.gateway.broker.putTopic({ name: resourceName, configFrom, expect: 'present', validateOnly });
        return { errorCode: KAFKA_ERRORS.NONE, errorMessage: null, resourceType, resourceName };
      },
      (errorCode, errorMessage) => ({ errorCode, errorMessage, resourceType, resourceName }),
    );
  });
}

function keyOf({ resourceType, resourceName }: AskedChange): string {
  return `${resourceType} ${resourceName}`;
}

/** @throws TopicRefusal */
function checkChangeable(resourceType: number): void {
  if (resourceType === TOPIC_RESOURCE) return;
  throw new TopicRefusal(
    'INVALID_REQUEST',
    resourceType === BROKER_RESOURCE
      ? 'The settings of a gateway are given where it is started. They cannot be changed while it runs.'
      : `The settings of resources of type ${resourceType} cannot be changed: those of topics (${TOPIC_RESOURCE}) can.`,
  );
}
