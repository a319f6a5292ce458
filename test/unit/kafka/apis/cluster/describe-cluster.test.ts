import { describe, expect, it } from 'vitest';
import { describeCluster } from '../../../../../shared/kafka/apis/cluster/describe-cluster.ts';
import { KAFKA_ERRORS } from '../../../../../shared/kafka/error-codes.ts';
import { DESCRIBE_CLUSTER } from '../../../../../shared/kafka/protocol/messages/cluster/describe-cluster.ts';
import { callOf, kafkaLog, versionsOf } from '../../../../support/kafka-log.ts';
import { memoryBroker } from '../../../../support/memory-broker.ts';

describe('DescribeCluster', () => {
  it.each(versionsOf(DESCRIBE_CLUSTER))('tells of the gateways in version %i', async (version) => {
    const { log, broker, client } = await kafkaLog();
    const [host, port] = (log.bootstrapServers as string).split(':');
    expect(
      await client.request(DESCRIBE_CLUSTER, version, {
        includeClusterAuthorizedOperations: true,
        includeFencedBrokers: true,
      }),
    ).toEqual({
      throttleTimeMs: 0,
      errorCode: 0,
      errorMessage: null,
      endpointType: 1,
      clusterId: await broker.clusterId(),
      controllerId: 1,
      brokers: [{ brokerId: 1, host, port: Number(port), rack: null, isFenced: false }],
      clusterAuthorizedOperations: -(2 ** 31),
    });
  });

  it('tells of all gateways, and names itself as the controller', async () => {
    const request = { includeClusterAuthorizedOperations: false, endpointType: 1, includeFencedBrokers: false };
    expect(await describeCluster.handle(callOf(memoryBroker(), 2, 3), request)).toMatchObject({
      controllerId: 1,
      brokers: [1, 2, 3].map((brokerId) => ({ brokerId, host: `gateway-${brokerId}`, port: 9_092 })),
    });
  });

  it('has no other kind of endpoint', async () => {
    const { client } = await kafkaLog();
    for (const [endpointType, errorCode] of [
      [2, KAFKA_ERRORS.MISMATCHED_ENDPOINT_TYPE],
      [3, KAFKA_ERRORS.UNSUPPORTED_ENDPOINT_TYPE],
    ] as const)
      expect(
        await client.request(DESCRIBE_CLUSTER, 1, {
          includeClusterAuthorizedOperations: false,
          endpointType,
          includeFencedBrokers: false,
        }),
      ).toMatchObject({ errorCode, errorMessage: expect.stringMatching(/\w/), brokers: [] });
  });
});
