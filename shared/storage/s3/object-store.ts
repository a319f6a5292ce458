import { GetObjectCommand, NoSuchKey, PutObjectCommand, type S3Client } from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { concatBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import { type AwsAdapterOptions, toEventLogError, withRetries } from '../aws-errors.ts';
import { checkByteRange, checkObjectKey, checkPresignedRange } from '../object-checks.ts';
import type { ByteRange, ObjectStore, SignedUrl } from '../ports.ts';

export interface S3ObjectStoreOptions extends AwsAdapterOptions {
  /** A client with `maxAttempts: 1` and a request timeout: this adapter retries itself. */
  readonly client: S3Client;
  readonly bucketName: string;
}

/** Signature Version 4 allows a week. */
const EXPIRES_S_MAX = 7 * 24 * 3_600;

/** Objects in an S3 bucket. Never lists. A URL is valid for at most a week, and no longer than the credentials are. */
export class S3ObjectStore implements ObjectStore {
  readonly #options: S3ObjectStoreOptions;

  constructor(options: S3ObjectStoreOptions) {
    this.#options = options;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    checkObjectKey(key);
    const body = concatBytes(chunks);
    return this.#retrying('PutObject', async () => {
      try {
        await this.#options.client.send(
          new PutObjectCommand({
            Bucket: this.#options.bucketName,
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
    // HTTP has no empty range, so an empty one asks for one byte, to learn whether the object exists.
    const wanted = { start: range.start, end: Math.max(range.end, range.start + 1) };
    return this.#retrying('GetObject', async () => {
      try {
        const answer = await this.#options.client.send(
          new GetObjectCommand({ Bucket: this.#options.bucketName, Key: key, Range: rangeHeader(wanted) }),
        );
        const bytes = (await answer.Body?.transformToByteArray()) ?? new Uint8Array(0);
        checkAnswer(wanted, answer.ContentRange, bytes.length);
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
    checkPresignedRange(range);
    const header = rangeHeader(range);
    const nowMs = this.#options.clock.nowMs();
    const command = new GetObjectCommand({ Bucket: this.#options.bucketName, Key: key, Range: header });
    try {
      // The signature covers the range, so the URL opens these bytes and no others.
      const url = await getSignedUrl(this.#options.client, command, {
        expiresIn: Math.min(EXPIRES_S_MAX, Math.max(1, Math.floor((expiresAtMs - nowMs) / 1_000))),
        signingDate: new Date(nowMs),
        signableHeaders: new Set(['host', 'range']),
        unhoistableHeaders: new Set(['range']),
      });
      return { url, headers: { range: header } };
    } catch (error) {
      throw toEventLogError(error, `Signing a URL of bucket '${this.#options.bucketName}'`);
    }
  }

  #retrying<T>(request: string, run: () => Promise<T>): Promise<T> {
    return withRetries(this.#options, `${request} of bucket '${this.#options.bucketName}'`, run);
  }
}

/** The last position of HTTP's ranges is included. */
function rangeHeader({ start, end }: ByteRange): string {
  return `bytes=${start}-${end - 1}`;
}

/**
 * Compares what came with what was asked for: a body may break off, and a proxy may serve another range or the whole
 * object. A range that ends past the object's end comes short.
 * @throws EventLogError `storage_unavailable`, so that the request is repeated.
 */
function checkAnswer({ start, end }: ByteRange, contentRange: string | undefined, bytes: number): void {
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(contentRange ?? '') ?? [];
  const endHere = Math.min(end, Number(size));
  if (Number(first) === start && Number(last) === endHere - 1 && bytes === endHere - start) return;
  throw new EventLogError(
    'storage_unavailable',
    `GetObject sent ${bytes} bytes as '${contentRange}' for ${rangeHeader({ start, end })}.`,
    { outcome: 'not_applied' },
  );
}
