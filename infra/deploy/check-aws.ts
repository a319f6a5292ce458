import { S3Client } from '@aws-sdk/client-s3';

/** What the AWS SDK finds in the environment, in the files of the AWS CLI, or in the machine's role. */
export interface AwsEnvironment {
  region(): Promise<string>;
  credentials(): Promise<unknown>;
}

/**
 * What is missing for a deployment, and what to do; `undefined` if nothing is. Without a Region the CDK would deploy to
 * us-east-1, and without credentials it would say so only after it has bundled and synthesized everything.
 */
export async function missingForDeployment(
  { region, credentials }: AwsEnvironment = new S3Client({}).config,
): Promise<string | undefined> {
  if ((await region().catch(() => '')) === '')
    return 'There is no AWS Region. Set AWS_REGION, such as AWS_REGION=us-east-1, or AWS_PROFILE to a profile that has one.';
  try {
    await credentials();
    return undefined;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return `There are no AWS credentials (${why.replace(/\.$/, '')}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for single sign-on, run: aws sso login`;
  }
}
