import {
  GatewayVpcEndpointAwsService,
  type ISecurityGroup,
  type IVpc,
  Peer,
  Port,
  SecurityGroup,
  type SubnetSelection,
  SubnetType,
  Vpc,
} from 'aws-cdk-lib/aws-ec2';
import type { Construct } from 'constructs';
import { acknowledge } from '../acknowledge.ts';

/**
 * Two zones with public subnets only: no NAT, which would cost more than the gateway. What goes to S3 and DynamoDB takes
 * gateway endpoints, which are free and stay in the network of AWS. Tasks have public addresses only to reach ECR and
 * CloudWatch; security groups let nobody in but the load balancer.
 */
export function makeVpc(scope: Construct): IVpc {
  const vpc = new Vpc(scope, 'Vpc', {
    maxAzs: 2,
    natGateways: 0,
    subnetConfiguration: [{ name: 'Public', subnetType: SubnetType.PUBLIC, mapPublicIpOnLaunch: false }],
    gatewayEndpoints: {
      S3: { service: GatewayVpcEndpointAwsService.S3 },
      DynamoDb: { service: GatewayVpcEndpointAwsService.DYNAMODB },
    },
  });
  acknowledge(vpc, {
    'AwsSolutions-VPC7':
      'Flow logs would cost about as much as what they tell of. They can be turned on for the VPC where and while they are needed.',
  });
  // Under `exactOptionalPropertyTypes` the CDK's classes do not match its own interfaces.
  return vpc as IVpc;
}

/** Subnets that reach S3, DynamoDB, ECR and CloudWatch: private ones with a way out if the VPC has any, else public ones. */
export function defaultSubnets(vpc: IVpc): SubnetSelection {
  return { subnetType: vpc.privateSubnets.length > 0 ? SubnetType.PRIVATE_WITH_EGRESS : SubnetType.PUBLIC };
}

export interface GatewayPorts {
  /** Where the load balancer listens. */
  readonly listener: number;
  /** Where tasks listen for Kafka's clients. */
  readonly kafka: number;
  readonly health: number;
}

/** Clients reach the listener alone, and only the load balancer reaches the tasks, which begin only HTTPS connections. */
export function makeSecurityGroups(
  scope: Construct,
  vpc: IVpc,
  ports: GatewayPorts,
  clientCidrs: readonly string[],
): { readonly balancer: ISecurityGroup; readonly tasks: ISecurityGroup } {
  const balancer = new SecurityGroup(scope, 'BalancerGroup', {
    vpc,
    description: 'Tailrace: the load balancer of Kafka gateways',
    allowAllOutbound: false,
  });
  const tasks = new SecurityGroup(scope, 'TaskGroup', {
    vpc,
    description: 'Tailrace: Kafka gateways',
    allowAllOutbound: false,
  });
  for (const cidr of clientCidrs)
    balancer.addIngressRule(Peer.ipv4(cidr), Port.tcp(ports.listener), 'Kafka clients, over TLS');
  for (const [port, what] of [
    [ports.kafka, 'Kafka clients'],
    [ports.health, 'health checks'],
  ] as const) {
    balancer.addEgressRule(tasks, Port.tcp(port), what);
    tasks.addIngressRule(balancer, Port.tcp(port), what);
  }
  tasks.addEgressRule(Peer.anyIpv4(), Port.tcp(443), 'DynamoDB, S3, ECR, CloudWatch, and issuers of tokens');
  if (clientCidrs.includes(EVERYWHERE))
    acknowledge(balancer, {
      'AwsSolutions-EC23':
        'Clients are anywhere, as with the Function URLs. They need TLS, and an API key or token before anything else is read of them.',
    });
  return { balancer, tasks };
}

export const EVERYWHERE = '0.0.0.0/0';
