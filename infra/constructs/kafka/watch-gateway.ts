import { Duration } from 'aws-cdk-lib';
import { Metric, Stats } from 'aws-cdk-lib/aws-cloudwatch';
import type { NetworkTargetGroup } from 'aws-cdk-lib/aws-elasticloadbalancingv2';
import type { LogTable } from '../access.ts';
import { METRIC_NAMESPACE, type Watched } from '../jobs/watched.ts';

const PERIOD = Duration.minutes(5);

export function watchedGateway({ tableName: table }: LogTable, { metrics }: NetworkTargetGroup): Watched[] {
  const ofGateways = (metricName: string): Metric => gatewayMetric(table, metricName, Stats.SUM, PERIOD);
  return [
    {
      id: 'NoneHealthy',
      metric: metrics.healthyHostCount({ period: Duration.minutes(1), statistic: Stats.MAXIMUM }),
      what: "No Kafka gateway serves clients. Read the service's events and the gateways' log.",
      threshold: 1,
      periods: 3,
      below: true,
    },
    {
      id: 'Unhealthy',
      // Each zone counts for itself, so the minimum would be that of the other zone.
      metric: metrics.unHealthyHostCount({ period: Duration.minutes(1), statistic: Stats.MAXIMUM }),
      what: 'A Kafka gateway does not become healthy. ECS replaces it; read why it ended.',
      threshold: 1,
      periods: 10,
    },
    {
      id: 'Errors',
      metric: ofGateways('KafkaErrors'),
      what: 'Requests of Kafka clients that failed unexpectedly, so that their connections were closed. The log says why.',
      threshold: 1,
    },
    {
      id: 'TableUnreached',
      metric: ofGateways('KafkaTableUnreached'),
      what: 'Kafka gateways that could not reach the table. They stay healthy, as others would reach it no better.',
      threshold: 2,
      periods: 2,
    },
  ];
}

/** The metrics that `functions/gateway/traffic-log.ts` writes each minute, for all gateways of a log. */
export function gatewayMetric(table: string, metricName: string, statistic: string, period: Duration): Metric {
  return new Metric({ namespace: METRIC_NAMESPACE, metricName, statistic, period, dimensionsMap: { table } });
}
