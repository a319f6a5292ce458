import { RemovalPolicy } from 'aws-cdk-lib';
import {
  type CfnStage,
  HttpApi as GatewayApi,
  HttpMethod,
  HttpNoneAuthorizer,
  type IHttpRouteAuthorizer,
} from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpIamAuthorizer } from 'aws-cdk-lib/aws-apigatewayv2-authorizers';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import type { IFunction } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';
import { acknowledge } from './acknowledge.ts';
import { httpApiCors } from './cors.ts';

export interface HttpApiProps {
  readonly handler: IFunction;
  /** `iam`: requests are signed (SigV4). `bearer`: the function checks them. `none`: every caller may do everything. */
  readonly auth: 'iam' | 'bearer' | 'none';
  readonly logRetention?: RetentionDays | undefined;
  /** Origins whose pages may use the API. @default - none */
  readonly allowedOrigins?: readonly string[] | undefined;
  /** The maximum number of requests a second, over all callers. @default 1000 */
  readonly requestsPerSecondMax?: number | undefined;
}

const REQUESTS_PER_SECOND_MAX = 1_000;

/**
 * An API Gateway HTTP API in front of the function, for custom domains and throttling. Unlike a Function URL, it buffers
 * answers, ends requests after 30 seconds, and costs $1.00 a million requests.
 */
export class HttpApi extends Construct {
  readonly api: GatewayApi;

  constructor(scope: Construct, id: string, props: HttpApiProps) {
    super(scope, id);
    const authorizer: IHttpRouteAuthorizer | undefined = props.auth === 'iam' ? new HttpIamAuthorizer() : undefined;
    const { allowedOrigins = [] } = props;
    const integration = new HttpLambdaIntegration('Function', props.handler);
    this.api = new GatewayApi(this, 'Api', {
      description: 'Tailrace',
      defaultIntegration: integration,
      ...(authorizer === undefined ? {} : { defaultAuthorizer: authorizer }),
      ...(allowedOrigins.length === 0 ? {} : { corsPreflight: httpApiCors(allowedOrigins) }),
    });
    if (authorizer !== undefined && allowedOrigins.length > 0) {
      // The default route also matches OPTIONS, and would require a signature of preflights, which never have one.
      const routes = this.api.addRoutes({
        path: '/{proxy+}',
        methods: [HttpMethod.OPTIONS],
        integration,
        authorizer: new HttpNoneAuthorizer(),
      });
      for (const route of routes) {
        acknowledge(route, {
          'AwsSolutions-APIG4': 'Preflights of browsers are never signed, and no operation of the API is an OPTIONS.',
        });
      }
    }
    const logs = new LogGroup(this, 'AccessLog', {
      retention: props.logRetention ?? RetentionDays.TWO_WEEKS,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    const requestsPerSecond = props.requestsPerSecondMax ?? REQUESTS_PER_SECOND_MAX;
    const stage = this.api.defaultStage?.node.defaultChild as CfnStage;
    stage.defaultRouteSettings = { throttlingRateLimit: requestsPerSecond, throttlingBurstLimit: requestsPerSecond };
    stage.accessLogSettings = {
      destinationArn: logs.logGroupArn,
      format: JSON.stringify({
        requestId: '$context.requestId',
        time: '$context.requestTime',
        method: '$context.httpMethod',
        path: '$context.path',
        status: '$context.status',
        bytes: '$context.responseLength',
        milliseconds: '$context.responseLatency',
      }),
    };
    if (props.auth !== 'iam') {
      acknowledge(this.api, {
        'AwsSolutions-APIG4':
          props.auth === 'bearer'
            ? 'Asked for by `auth: bearer`: the function itself checks the API key or token of every request.'
            : 'Asked for by `auth: none`: whoever deploys so has put something else before it.',
      });
    }
  }
}
