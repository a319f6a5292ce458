import { CfnParameter, Stack } from 'aws-cdk-lib';
import { describe, expect, it } from 'vitest';
import { CORS_ANSWER_HEADERS, CORS_REQUEST_HEADERS } from '../../../shared/http/request/cors.ts';
import { eventLog, resourcesOf } from '../../support/synthesize.ts';

describe('EventLog with allowedOrigins', () => {
  const ORIGINS = ['https://a.example', 'http://localhost:5173'];

  it.each(['iam', 'bearer', 'none'] as const)('lets AWS answer browsers at every address: auth %s', (auth) => {
    const { template } = eventLog({ allowedOrigins: ORIGINS, httpApi: true, auth });
    const made = template();
    const rules = [
      ...Object.values(resourcesOf(made, 'AWS::Lambda::Url')).map(({ Properties }) => Properties.Cors),
      ...Object.values(resourcesOf(made, 'AWS::ApiGatewayV2::Api')).map(
        ({ Properties }) => Properties.CorsConfiguration,
      ),
    ] as Record<string, unknown>[];
    expect(rules).toHaveLength(3);
    for (const rule of rules) {
      expect(rule).toMatchObject({ AllowOrigins: ORIGINS, MaxAge: 600 });
      // CloudFormation takes methods of up to six letters.
      expect(rule.AllowMethods).toEqual(['GET', 'HEAD', 'PUT', 'POST', 'DELETE']);
      expect(rule.AllowHeaders).toEqual(
        expect.arrayContaining([...CORS_REQUEST_HEADERS, 'X-Amz-Date', 'X-Amz-Security-Token', 'X-Amz-Content-Sha256']),
      );
      expect(rule.ExposeHeaders).toEqual(expect.arrayContaining([...CORS_ANSWER_HEADERS]));
    }
  });

  it('lets preflights pass API Gateway unsigned, and nothing else', () => {
    const routes = Object.values(
      resourcesOf(eventLog({ allowedOrigins: ORIGINS, httpApi: true }).template(), 'AWS::ApiGatewayV2::Route'),
    ).map(({ Properties }) => [Properties.RouteKey, Properties.AuthorizationType]);
    expect(routes.sort()).toEqual([
      ['$default', 'AWS_IAM'],
      ['OPTIONS /{proxy+}', 'NONE'],
    ]);
    eventLog({ httpApi: true }).template().resourceCountIs('AWS::ApiGatewayV2::Route', 1);
  });

  it('refuses origins that no browser sends, and all of them where everybody may do everything', () => {
    expect(() => eventLog({ allowedOrigins: ['https://a.example/'] })).toThrow("Write 'https://a.example'");
    expect(() => eventLog({ allowedOrigins: ['*'], auth: 'none' })).toThrow('any web page could use it');
    eventLog({ allowedOrigins: ['*'] })
      .template()
      .hasResourceProperties('AWS::Lambda::Url', { Cors: { AllowOrigins: ['*'] } });
  });

  it('takes an origin that is known only when it is deployed', () => {
    const domain = new CfnParameter(new Stack(), 'Domain').valueAsString;
    expect(() => eventLog({ allowedOrigins: [`https://${domain}`] })).not.toThrow();
  });

  it('says nothing to browsers without it', () => {
    const urls = Object.values(resourcesOf(eventLog().template(), 'AWS::Lambda::Url'));
    expect(urls.map(({ Properties }) => Properties.Cors)).toEqual([undefined, undefined]);
  });
});
