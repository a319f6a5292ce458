import { eachOf } from '../../../broker/topics/each-head.ts';
import { EventLogError } from '../../../log/errors.ts';
import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import type { Gateway } from '../../gateway.ts';
import { handler } from '../../handler.ts';
import { leaderOf } from '../../nodes/leaders.ts';
import type { RequestOf, ResponseOf } from '../../protocol/api.ts';
import { DESCRIBE_LOG_DIRS } from '../../protocol/messages/cluster/describe-log-dirs.ts';
import { allTopics } from '../all-topics.ts';
import { answeringTopic } from '../topic-errors.ts';

type Response = ResponseOf<typeof DESCRIBE_LOG_DIRS>;
type DescribedTopic = Response['results'][number]['topics'][number];
/** Partitions by the name of their topic; `undefined`: all that it has. */
type Asked = ReadonlyMap<string, ReadonlySet<number> | undefined>;

/** The log has no folders of its own. Tools need one to show. */
const LOG_DIR = '/tailrace';

/**
 * The size of partitions. Clients ask every gateway and add up what they get, so each tells only of the partitions that it
 * leads. Topics and partitions that are not there are left out, as by Kafka.
 */
export const describeLogDirs = handler(
  DESCRIBE_LOG_DIRS,
  [{ action: 'any', on: 'topic' }],
  ({ gateway, rights }, request) =>
    answeringTopic<Response>(
      async () => {
        const asked = await askedPartitions(gateway, request);
        const described = await eachOf(
          [...asked].filter(([name]) => rights.onTopic('any', name)),
          ([name, partitions]) => describe(gateway, name, partitions),
        );
        return answer(
          KAFKA_ERRORS.NONE,
          described.filter(({ partitions }) => partitions.length > 0),
        );
      },
      (errorCode) => answer(errorCode, []),
    ),
);

function answer(errorCode: KafkaErrorNumber, topics: DescribedTopic[]): Response {
  return { errorCode, results: [{ errorCode, logDir: LOG_DIR, topics }] };
}

async function askedPartitions(
  gateway: Gateway,
  { topics }: Pick<RequestOf<typeof DESCRIBE_LOG_DIRS>, 'topics'>,
): Promise<Asked> {
  const asked = new Map<string, Set<number> | undefined>();
  if (topics === null) for await (const { name } of allTopics(gateway)) asked.set(name, undefined);
  else
    for (const { topic, partitions } of topics) asked.set(topic, new Set([...(asked.get(topic) ?? []), ...partitions]));
  return asked;
}

async function describe(
  gateway: Gateway,
  name: string,
  asked: ReadonlySet<number> | undefined,
): Promise<DescribedTopic> {
  const { broker, self } = gateway;
  try {
    const { topicId } = await broker.knownTopic(name);
    const partitions = (await broker.describePartitions(name))
      .filter(({ partition }) => asked === undefined || asked.has(partition))
      .filter(({ partition }) => leaderOf(gateway, topicId, partition).nodeId === self.nodeId)
      .map(({ partition, bytes }) => ({
        partitionIndex: partition,
        partitionSize: bytes,
        offsetLag: 0,
        isFutureKey: false,
      }));
    return { name, partitions };
  } catch (error) {
    const isMissing = error instanceof EventLogError && ['unknown_topic', 'invalid_request'].includes(error.code);
    if (isMissing) return { name, partitions: [] };
    throw error;
  }
}
