import { GetObjectCommand, NoSuchKey, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { concatBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import { type AwsAdapterOptions, withRetries } from '../aws-errors.ts';
import { checkByteRange, checkObjectKey } from '../object-checks.ts';
import type { ByteRange, ObjectStore, SignedUrl } from '../ports.ts';

export interface S3ObjectStoreOptions extends AwsAdapterOptions {
  /** With `maxAttempts: 1` and a request time-out: retries are this adapter's. */
  readonly client: S3Client;
  readonly bucketName: string;
}

/** Objects in an S3 bucket. Never lists. */
export class S3ObjectStore implements ObjectStore {
  private readonly options: S3ObjectStoreOptions;

  constructor(options: S3ObjectStoreOptions) {
    this.options = options;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    checkObjectKey(key);
    const body = concatBytes(chunks);
    return this.retrying('PutObject', async () => {
      try {
        await this.options.client.send(
          new PutObjectCommand({
            Bucket: this.options.bucketName,
            Key: key,
            Body: body,
            ContentLength: body.length,
            IfNoneMatch: '*',
          }),
        );
        return 'created';
      } catch (error) {
        if (error instanceof Error && error.name === 'PreconditionFailed') return 'exists';
        throw error;
      }
    });
  }

  async get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    checkObjectKey(key);
    checkByteRange(range);
    // HTTP knows no empty range: one byte is asked for, to learn whether the object is there.
    const end = Math.max(range.end, range.start + 1);
    return this.retrying('GetObject', async () => {
      try {
        const answer = await this.options.client.send(
          new GetObjectCommand({ Bucket: this.options.bucketName, Key: key, Range: `bytes=${range.start}-${end - 1}` }),
        );
        const bytes = (await answer.Body?.transformToByteArray()) ?? new Uint8Array(0);
        if (answer.ContentLength !== undefined && bytes.length !== answer.ContentLength) {
          throw new EventLogError('storage_unavailable', 'GetObject broke off before its end.', {
            outcome: 'not_applied',
          });
        }
        return range.end === range.start ? new Uint8Array(0) : bytes;
      } catch (error) {
        if (error instanceof NoSuchKey || (error instanceof Error && error.name === 'NoSuchKey')) return undefined;
        if (error instanceof Error && error.name === 'InvalidRange') return new Uint8Array(0);
        throw error;
      }
    });
  }

  async presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    checkObjectKey(key);
    checkByteRange(range);
    const header = `bytes=${range.start}-${range.end - 1}`;
    const expiresIn = Math.max(1, Math.floor((expiresAtMs - this.options.clock.nowMs()) / 1_000));
    const command = new GetObjectCommand({ Bucket: this.options.bucketName, Key: key, Range: header });
    // The range is under the signature, so the URL opens these bytes and no others.
    const url = await getSignedUrl(this.options.client, command, {
      expiresIn,
      signingDate: new Date(this.options.clock.nowMs()),
      signableHeaders: new Set(['host', 'range']),
      unhoistableHeaders: new Set(['range']),
    });
    return { url, headers: { range: header } };
  }

  private retrying<T>(request: string, run: () => Promise<T>): Promise<T> {
    return withRetries(this.options, `${request} of bucket '${this.options.bucketName}'`, run);
  }
}
