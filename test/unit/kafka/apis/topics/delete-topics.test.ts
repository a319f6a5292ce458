import { describe, expect, it, vi } from 'vitest';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DELETE_TOPICS } from '../../../../../shared/kafka/protocol/messages/topics/delete-topics.ts';
import { ZERO_UUID } from '../../../../../shared/kafka/protocol/types.ts';
import { kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { codeOf } from '../../../../support/memory-broker.ts';

const NEWEST = 6;
const OTHER_ID = Buffer.alloc(16, 7).toString('base64url');

describe('DeleteTopics', () => {
  it.each(versionsOf(DELETE_TOPICS))('deletes topics by name in version %i', async (version) => {
    const { broker, client } = await kafkaLog();
    const { topic } = await broker.putTopic({ name: 'a' });
    await broker.putTopic({ name: 'b' });
    const names = ['a', 'missing', '..'];
    const { responses } = await client.request(DELETE_TOPICS, version, {
      topics: names.map((name) => ({ name, topicId: ZERO_UUID })),
      topicNames: names,
      timeoutMs: 1_000,
    });
    expect(responses.map(({ name, errorCode }) => [name, errorCode])).toEqual([
      ['a', 0],
      ['missing', KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION],
      ['..', KAFKA_ERRORS.UNKNOWN_TOPIC_OR_PARTITION],
    ]);
    expect(responses[0]?.topicId).toBe(version >= 6 ? topic.topicId : ZERO_UUID);
    expect(responses[0]?.errorMessage).toBeNull();
    if (version >= 5) expect(responses[1]?.errorMessage).toContain('missing');
    expect(await codeOf(broker.describeTopic('a'))).toBe('unknown_topic');
    await broker.describeTopic('b');
  });

  it('deletes topics by id, and not a newer topic of the same name', async () => {
    const { broker, client } = await kafkaLog();
    const { topic: old } = await broker.putTopic({ name: 'a' });
    const ask = (topicId: string) =>
      client.request(DELETE_TOPICS, NEWEST, { topics: [{ name: null, topicId }], topicNames: [], timeoutMs: 0 });
    expect((await ask(old.topicId)).responses).toMatchObject([{ name: 'a', topicId: old.topicId, errorCode: 0 }]);
    const { topic: made } = await broker.putTopic({ name: 'a' });
    for (const topicId of [old.topicId, OTHER_ID])
      expect((await ask(topicId)).responses).toMatchObject([
        { name: null, topicId, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID, errorMessage: expect.any(String) },
      ]);
    expect((await ask(ZERO_UUID)).responses).toMatchObject([{ errorCode: KAFKA_ERRORS.INVALID_REQUEST }]);
    expect((await broker.describeTopic('a')).topicId).toBe(made.topicId);
  });

  it('does not delete another topic that has got the name meanwhile', async () => {
    const { broker, client } = await kafkaLog();
    await broker.putTopic({ name: 'a' });
    const old = await broker.knownTopic('a');
    await broker.deleteTopic('a');
    const { topic: made } = await broker.putTopic({ name: 'a' });
    vi.spyOn(broker, 'topicById').mockResolvedValue(old);
    const topics = [{ name: null, topicId: old.topicId }];
    const { responses } = await client.request(DELETE_TOPICS, NEWEST, { topics, topicNames: [], timeoutMs: 0 });
    expect(responses).toMatchObject([{ name: null, errorCode: KAFKA_ERRORS.UNKNOWN_TOPIC_ID }]);
    expect((await broker.describeTopic('a')).topicId).toBe(made.topicId);
  });

  it('refuses a topic that is named by both, or twice', async () => {
    const { broker, client } = await kafkaLog();
    const { topic } = await broker.putTopic({ name: 'a' });
    await broker.putTopic({ name: 'b' });
    const { responses } = await client.request(DELETE_TOPICS, NEWEST, {
      topics: [
        { name: 'a', topicId: topic.topicId },
        { name: 'b', topicId: ZERO_UUID },
        { name: 'b', topicId: ZERO_UUID },
      ],
      topicNames: [],
      timeoutMs: 0,
    });
    expect(responses.map(({ name, errorCode }) => [name, errorCode])).toEqual([
      ['a', KAFKA_ERRORS.INVALID_REQUEST],
      ['b', KAFKA_ERRORS.INVALID_REQUEST],
    ]);
    await broker.describeTopic('a');
    await broker.describeTopic('b');
  });
});
