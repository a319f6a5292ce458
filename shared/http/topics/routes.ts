import { allowsAllTopics, allowsTopic } from '../../log/scopes.ts';
import { empty, json } from '../answer/respond.ts';
import { MEDIA, type TopicDetail, type TopicInput, type TopicOutput, type TopicPage, topicInput } from '../contract.ts';
import type { Handler, HttpContext } from '../handler.ts';
import { OPERATIONS } from '../operation.ts';
import { jsonOf, readBody } from '../request/body.ts';
import { check, parseParams, parseQuery } from '../request/input.ts';
import { requireMediaType } from '../request/media-type.ts';
import type { Principal } from '../request/principal.ts';

export function topicHandlers({
  broker,
}: HttpContext): Record<'listTopics' | 'putTopic' | 'getTopic' | 'deleteTopic', Handler> {
  return {
    async listTopics(call) {
      const page: TopicPage = mutable(
        await broker.listTopics({
          ...parseQuery(OPERATIONS.listTopics.query, call.request.url),
          visible: visibleTo(call.principal),
        }),
      );
      return json(call, 200, page);
    },

    async putTopic(call) {
      const { topic } = parseParams(OPERATIONS.putTopic.params, call.params);
      parseQuery(OPERATIONS.putTopic.query, call.request.url);
      const { partitions, config } = await topicInputOf(call.request);
      const result = await broker.putTopic({ name: topic, partitions, config });
      const output: TopicOutput = result.topic;
      return json(call, result.created ? 201 : 200, output);
    },

    async getTopic(call) {
      const { topic } = parseParams(OPERATIONS.getTopic.params, call.params);
      parseQuery(OPERATIONS.getTopic.query, call.request.url);
      const description = await broker.describeTopic(topic);
      const detail: TopicDetail = { ...description, partitionStates: await broker.describePartitions(topic) };
      return json(call, 200, detail);
    },

    async deleteTopic(call) {
      const { topic } = parseParams(OPERATIONS.deleteTopic.params, call.params);
      parseQuery(OPERATIONS.deleteTopic.query, call.request.url);
      await broker.deleteTopic(topic);
      return empty(call, 204);
    },
  };
}

/** `undefined` where that is all of them. */
function visibleTo({ scopes }: Principal): ((name: string) => boolean) | undefined {
  return allowsAllTopics(scopes, 'any') ? undefined : (name) => allowsTopic(scopes, 'any', name);
}

/** Without a body: a topic as it comes. */
async function topicInputOf(request: Request): Promise<TopicInput> {
  const contentType = request.headers.get('content-type');
  const body = await readBody(request);
  if (body.length === 0) return {};
  requireMediaType(contentType, [MEDIA.json]);
  return check(topicInput, jsonOf(body));
}

function mutable<T>(page: { readonly items: readonly T[]; readonly nextPageToken?: string }): {
  items: T[];
  nextPageToken?: string;
} {
  return { ...page, items: [...page.items] };
}
