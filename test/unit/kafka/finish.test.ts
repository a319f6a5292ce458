import { connect } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { FETCH } from '../../../shared/kafka/protocol/messages/records/fetch.ts';
import { ZERO_UUID } from '../../../shared/kafka/protocol/types.ts';
import { KafkaConnection } from '../../support/kafka-gateway.ts';
import { runGateway } from '../../support/memory-gateway.ts';

it('lets a client that still sends have its answer, and hang up', async () => {
  await using gateway = await runGateway();
  const { broker, server, bootstrapServers } = gateway;
  await broker.putTopic({ name: 't', partitions: 1 });
  const client = new KafkaConnection(connect(Number(bootstrapServers.split(':')[1]), '127.0.0.1'));
  await client.opened;
  const partitions = [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000 }];
  const answer = client.send(FETCH, 12, {
    maxWaitMs: 300,
    minBytes: 1,
    topics: [{ topic: 't', topicId: ZERO_UUID, partitions: partitions as never }],
    forgottenTopicsData: [],
  });
  // While the fetch waits, more comes than is ever read.
  void client.sendFrame(new Uint8Array(4 * 1024 * 1024));
  while (server.traffic().bytesRead === 0) await setTimeout(5);
  await server.finish();
  // With the bytes unread, the end of the client would not be seen, and a cut would reset the connection.
  await server.closed();
  expect(await answer).toMatchObject({ responses: [{ topic: 't' }] });
  expect(server.traffic()).toMatchObject({ connections: 0, accepted: 1 });
});
