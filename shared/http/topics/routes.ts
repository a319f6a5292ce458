import { visibleTopics } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import { MEDIA } from '../contract.ts';
import { abortedWith, type Handlers, type HttpContext } from '../handler.ts';
import { jsonOf, readBody } from '../request/body.ts';
import { check } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import {
  type DeletedRecordsOutput,
  type TopicDetail,
  type TopicInput,
  type TopicOutput,
  type TopicPage,
  topicInput,
  type VerificationOutput,
} from './contract.ts';
import type { topicOperations } from './operations.ts';

export function topicHandlers({ broker, stopping }: HttpContext): Handlers<typeof topicOperations> {
  return {
    async listTopics(call) {
      const page: TopicPage = await broker.listTopics({ ...call.query, visible: visibleTopics(call.principal.scopes) });
      return json(call, 200, page);
    },

    async putTopic(call) {
      const { partitions, config } = await topicInputOf(call.request);
      const result = await broker.putTopic({
        name: call.params.topic,
        partitions: partitions ?? undefined,
        config: config ?? undefined,
      });
      const output: TopicOutput = result.topic;
      return json(call, result.created ? 201 : 200, output);
    },

    async getTopic(call) {
      const { topic } = call.params;
      const description = await broker.describeTopic(topic);
      const detail: TopicDetail = { ...description, partitionStates: await broker.describePartitions(topic) };
      return json(call, 200, detail);
    },

    async deleteTopic(call) {
      await broker.deleteTopic(call.params.topic);
      return empty(call, 204);
    },

    async deleteRecords(call) {
      const { topic, partition } = call.params;
      const output: DeletedRecordsOutput = await broker.deleteRecords({ topic, partition, before: call.query.before });
      return json(call, 200, output);
    },

    async verifyTopic(call) {
      const stop = abortedWith(call.request.signal, stopping);
      try {
        const { signal } = stop;
        const page: VerificationOutput = await broker.verifyTopic(call.params.topic, { ...call.query, signal });
        return json(call, 200, page);
      } finally {
        stop.abort();
      }
    },
  };
}

/** Without a body: a topic with the defaults. */
async function topicInputOf(request: Request): Promise<TopicInput> {
  const contentType = request.headers.get('content-type');
  const body = await readBody(request);
  if (body.length === 0) return {};
  requireMediaType(contentType, [MEDIA.json]);
  return check(topicInput, jsonOf(body));
}
