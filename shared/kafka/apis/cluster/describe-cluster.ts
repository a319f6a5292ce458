import { KAFKA_ERRORS, type KafkaErrorNumber } from '../../error-codes.ts';
import { handler } from '../../handler.ts';
import { DESCRIBE_CLUSTER } from '../../protocol/messages/cluster/describe-cluster.ts';

const BROKERS = 1;
const CONTROLLERS = 2;

/** The gateways of this log. */
export const describeCluster = handler(DESCRIBE_CLUSTER, 'authentication', async ({ gateway }, { endpointType }) => {
  const { settings, self } = gateway;
  if (endpointType !== BROKERS) return { ...wrongEndpoint(endpointType), clusterId: settings.clusterId, brokers: [] };
  return {
    errorCode: KAFKA_ERRORS.NONE,
    endpointType,
    clusterId: settings.clusterId,
    controllerId: self.nodeId,
    brokers: gateway.nodes().map(({ nodeId, host, port }) => ({ brokerId: nodeId, host, port, isFenced: false })),
  };
});

function wrongEndpoint(endpointType: number): { errorCode: KafkaErrorNumber; errorMessage: string } {
  if (endpointType === CONTROLLERS)
    return {
      errorCode: KAFKA_ERRORS.MISMATCHED_ENDPOINT_TYPE,
      errorMessage: 'This is a broker. There are no controllers to ask: every gateway does what a controller does.',
    };
  return {
    errorCode: KAFKA_ERRORS.UNSUPPORTED_ENDPOINT_TYPE,
    errorMessage: `The endpoint type ${endpointType} is not known: it is ${BROKERS} for brokers.`,
  };
}
