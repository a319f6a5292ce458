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
 * On AWS the Function URLs and the HTTP API answer browsers' preflights and add the CORS headers, whatever `auth` is.
 * There are two reasons. A preflight is never signed, so with IAM it would not reach the function. A Function URL adds its
 * headers to those of the function, and browsers reject duplicate CORS headers. The functions only check the origin.
 */

/** Additional headers of signed requests: from SigV4 itself, and from the AWS SDK for browsers. */
const SIGNED_REQUEST_HEADERS = [
  'X-Amz-Date',
  'X-Amz-Security-Token',
  'X-Amz-Content-Sha256',
  'X-Amz-User-Agent',
  'Amz-Sdk-Invocation-Id',
  'Amz-Sdk-Request',
];
/** Headers of AWS's own answers: the id of the request, and why the request was rejected. */
const AWS_ANSWER_HEADERS = ['X-Amzn-RequestId', 'X-Amzn-ErrorType'];

/** @throws EventLogError if an origin is malformed, or if all origins are allowed although requests need no credentials */
export function checkOrigins(origins: readonly string[], auth: 'iam' | 'bearer' | 'none'): void {
  const known = origins.filter((origin) => !Token.isUnresolved(origin));
  checkAllowedOrigins(known, 'allowedOrigins', { needCredentials: auth !== 'none' });
}

export function functionUrlCors(origins: readonly string[]): FunctionUrlCorsOptions {
  return {
    allowedOrigins: [...origins],
    // OPTIONS is not listed: CloudFormation accepts names of up to six letters, and preflights need no permission.
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
