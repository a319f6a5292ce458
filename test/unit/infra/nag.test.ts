import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Validations } from 'aws-cdk-lib';
import { Bucket } from 'aws-cdk-lib/aws-s3';
import { AwsSolutionsChecks, ServerlessChecks } from 'cdk-nag';
import { expect, it } from 'vitest';
import { KAFKA_CONTEXT, testApp } from '../../support/synthesize.ts';

interface Report {
  readonly pluginReports: readonly { readonly violations: readonly { readonly ruleName: string }[] }[];
}

/** What cdk-nag, and the CDK's own rules, find; synthesis fails where there is anything. */
function findings({ app }: ReturnType<typeof testApp>): string[] {
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app), new ServerlessChecks(app));
  try {
    app.synth();
    return [];
  } catch (error) {
    if (!(error instanceof Error) || !error.message.includes('validation-report.json')) throw error;
    const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')) as Report;
    return report.pluginReports.flatMap(({ violations }) => violations.map(({ ruleName }) => ruleName));
  }
}

it.each([
  {},
  { ephemeral: 'true', auth: 'none', httpApi: 'true', bucketRequestMetrics: 'true' },
  { httpApi: 'true', streaming: 'false', alarms: 'false', dashboard: 'false' },
  {
    encryptionKeyArn: 'arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef',
    httpApi: 'true',
  },
  { httpApi: 'true', allowedOrigins: 'https://a.example,https://b.example' },
  KAFKA_CONTEXT,
])('finds nothing that is not argued: %j', (context) => {
  expect(findings(testApp(context))).toEqual([]);
});

it('would find what is wrong', () => {
  const made = testApp();
  new Bucket(made.stateful, 'Careless');
  expect(findings(made)).toEqual(expect.arrayContaining(['AwsSolutions-S1', 'AwsSolutions-S10']));
});

it('argues every acknowledgement', () => {
  const { app } = testApp({ httpApi: 'true', auth: 'none', ephemeral: 'true', ...KAFKA_CONTEXT });
  const reasons = app.node
    .findAll()
    .flatMap((construct) => construct.node.metadata)
    .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
    .flatMap(({ data }) => Object.entries(data as Record<string, string>));
  expect(reasons.length).toBeGreaterThan(5);
  for (const [, reason] of reasons) expect(reason.length).toBeGreaterThan(40);
});
