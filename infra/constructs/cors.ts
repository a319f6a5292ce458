import { Duration, Token } from 'aws-cdk-lib';
import { CorsHttpMethod, type CorsPreflightOptions } from 'aws-cdk-lib/aws-apigatewayv2';
import { type FunctionUrlCorsOptions, HttpMethod } from 'aws-cdk-lib/aws-lambda';
import {
  CORS_ANSWER_HEADERS,
  CORS_MAX_AGE_S,
  CORS_REQUEST_HEADERS,
  checkAllowedOrigins,
} from '../../shared/http/request/cors.ts';

/**
 * On AWS the Function URLs and the HTTP API answer browsers' preflights and add the CORS headers, whatever `auth` is: a
 * preflight is never signed, so with IAM it would not reach the function; and a Function URL adds its headers to those of
 * the function, of which browsers refuse doubles. The functions only check the origin.
 */

/** What signed requests have besides: by SigV4 itself, and by the AWS SDK for browsers. */
const SIGNED_REQUEST_HEADERS = [
  'X-Amz-Date',
  'X-Amz-Security-Token',
  'X-Amz-Content-Sha256',
  'X-Amz-User-Agent',
  'Amz-Sdk-Invocation-Id',
  'Amz-Sdk-Request',
];
/** Of AWS's own answers: the id of the request, and why it was refused. */
const AWS_ANSWER_HEADERS = ['X-Amzn-RequestId', 'X-Amzn-ErrorType'];

/** @throws EventLogError where an origin isn't one, or all are allowed where everybody may do everything */
export function checkOrigins(origins: readonly string[], auth: 'iam' | 'bearer' | 'none'): void {
  const known = origins.filter((origin) => !Token.isUnresolved(origin));
  checkAllowedOrigins(known, 'allowedOrigins', { needCredentials: auth !== 'none' });
}

export function functionUrlCors(origins: readonly string[]): FunctionUrlCorsOptions {
  return {
    allowedOrigins: [...origins],
    // OPTIONS is not among them: CloudFormation takes no name of more than six letters, and a preflight needs no leave.
    allowedMethods: [HttpMethod.GET, HttpMethod.HEAD, HttpMethod.PUT, HttpMethod.POST, HttpMethod.DELETE],
    allowedHeaders: [...CORS_REQUEST_HEADERS, ...SIGNED_REQUEST_HEADERS],
    exposedHeaders: [...CORS_ANSWER_HEADERS, ...AWS_ANSWER_HEADERS],
    maxAge: Duration.seconds(CORS_MAX_AGE_S),
  };
}

export function httpApiCors(origins: readonly string[]): CorsPreflightOptions {
  return {
    allowOrigins: [...origins],
    allowMethods: [
      CorsHttpMethod.GET,
      CorsHttpMethod.HEAD,
      CorsHttpMethod.PUT,
      CorsHttpMethod.POST,
      CorsHttpMethod.DELETE,
    ],
    allowHeaders: [...CORS_REQUEST_HEADERS, ...SIGNED_REQUEST_HEADERS],
    exposeHeaders: [...CORS_ANSWER_HEADERS, ...AWS_ANSWER_HEADERS],
    maxAge: Duration.seconds(CORS_MAX_AGE_S),
  };
}
