import type { PlantedBug } from './planted-bug.ts';

const PUT = 'shared/broker/topics/put-topic.ts';
const DELETE = 'shared/broker/topics/delete-topic.ts';

/** Of topics: their deletion, their growth and their settings. */
export const TOPIC_BUGS: readonly PlantedBug[] = [
  {
    name: 'heads-left-open',
    why: 'A topic is deleted without closing its heads: a process that remembers it goes on appending to it.',
    edits: [
      {
        file: DELETE,
        from: "items.update(headKey(topic.topicId, headNumber), [{ do: 'set', name: HEAD.closed, value: 1 }]),",
        to: 'Promise.resolve(headNumber),',
      },
    ],
  },
  {
    name: 'heads-of-an-earlier-count-closed',
    why: 'A deletion closes the heads of the partitions that it read before the topic was marked.',
    edits: [
      {
        file: DELETE,
        from: 'const marked = topicFromAttributes(topic.name, attributes);',
        to: 'const marked = topic;',
      },
    ],
  },
  {
    name: 'last-head-of-33-missed',
    why: 'What is done for each head is not done for the last one where it is alone in its round of 32.',
    edits: [
      {
        file: 'shared/broker/topics/each-head.ts',
        from: 'start < all.length; start',
        to: 'start === 0 || start + 1 < all.length; start',
      },
    ],
  },
  {
    name: 'topic-brought-back',
    why: 'The item of a topic is gone once it is deleted: a request to make the topic that arrives late brings it back.',
    edits: [
      {
        file: DELETE,
        from: 'context.topics.forget(topic.name);',
        to: "await items.delete(topicKey(topic.name), [{ if: 'equals', name: TOPIC.topicId, value: topic.topicId }]); context.topics.forget(topic.name);",
      },
    ],
  },
  {
    name: 'ends-of-a-deleted-topic',
    why: 'The ends of partitions are returned from closed heads, because the topic is still cached.',
    edits: [
      {
        file: 'shared/broker/topics/describe.ts',
        from: 'if (heads.some(({ head }) => head.closed)) {',
        to: 'if (heads.length === 0) {',
      },
    ],
  },
  {
    name: 'setting-lost',
    why: 'Of two changes of settings at once one is lost.',
    edits: [
      { file: PUT, from: "{ if: 'equals', name: TOPIC.config, value: String(attributes[TOPIC.config]) },", to: '' },
    ],
  },
  {
    name: 'partitions-lost',
    why: 'A change of settings takes back the partitions that were added at the same time.',
    edits: [{ file: PUT, from: "{ if: 'equals', name: TOPIC.partitions, value: topic.partitions },", to: '' }],
  },
  {
    name: 'deleted-topic-grows',
    why: 'A topic that is marked as being deleted loses its mark when it is given more partitions.',
    edits: [{ file: PUT, from: "{ if: 'absent', name: TOPIC.deleting },", to: '' }],
  },
];
