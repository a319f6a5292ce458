import {
  DeleteObjectsCommand,
  GetBucketTaggingCommand,
  ListBucketsCommand,
  ListObjectsV2Command,
  S3Client,
} from '@aws-sdk/client-s3';

/** The length of the stack's name that a bucket's name always begins with: CloudFormation may cut off the rest. */
const PREFIX_LENGTH = 20;

/**
 * Deletes everything in the buckets of an ephemeral deployment. The buckets' tags must confirm that the deployment is
 * ephemeral; the names are not enough. Nothing may write to the buckets at the same time. Returns the number of deleted
 * objects.
 */
export async function emptyEphemeralBuckets(
  name: string,
  stackName: string,
  client: Pick<S3Client, 'send'> = new S3Client({}),
): Promise<number> {
  const prefix = stackName.toLowerCase().slice(0, PREFIX_LENGTH);
  let deleted = 0;
  for (const bucket of await bucketNames(client, prefix)) {
    const tags = await tagsOf(client, bucket);
    if (tags.get('tailrace') !== name || tags.get('tailrace:ephemeral') !== 'true') continue;
    deleted += await empty(client, bucket);
  }
  return deleted;
}

async function bucketNames(client: Pick<S3Client, 'send'>, prefix: string): Promise<string[]> {
  const names: string[] = [];
  let ContinuationToken: string | undefined;
  do {
    const page = await client.send(
      new ListBucketsCommand({ Prefix: prefix, ...(ContinuationToken === undefined ? {} : { ContinuationToken }) }),
    );
    for (const { Name } of page.Buckets ?? []) if (Name?.startsWith(prefix)) names.push(Name);
    ContinuationToken = page.ContinuationToken;
  } while (ContinuationToken !== undefined);
  return names;
}

async function tagsOf(
  client: Pick<S3Client, 'send'>,
  Bucket: string,
): Promise<Map<string | undefined, string | undefined>> {
  try {
    const { TagSet = [] } = await client.send(new GetBucketTaggingCommand({ Bucket }));
    return new Map(TagSet.map(({ Key, Value }) => [Key, Value]));
  } catch (error) {
    if (error instanceof Error && error.name === 'NoSuchTagSet') return new Map();
    throw error;
  }
}

async function empty(client: Pick<S3Client, 'send'>, Bucket: string): Promise<number> {
  let deleted = 0;
  for (;;) {
    // Each listing starts from the beginning, because the objects of the previous listing are gone.
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }));
    const Objects = Contents.flatMap(({ Key }) => (Key === undefined ? [] : [{ Key }]));
    if (Objects.length === 0) return deleted;
    const { Errors = [] } = await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects, Quiet: true } }));
    if (Errors.length > 0)
      throw new Error(
        `${Errors.length} objects of '${Bucket}' cannot be deleted: ${Errors[0]?.Code} for '${Errors[0]?.Key}'.`,
      );
    deleted += Objects.length;
  }
}
