/** What the AWS adapters need of the AWS SDK for JavaScript: the optional peers of `package.json`, which a test compares. */
export const SDK_PACKAGES = [
  '@aws-sdk/client-dynamodb',
  '@aws-sdk/client-s3',
  '@aws-sdk/s3-request-presigner',
] as const;
