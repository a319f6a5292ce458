import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  NoSuchKey,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { getSignedUrl } from '@aws-sdk/s3-request-presigner';
import { concatBytes } from '../../log/bytes.ts';
import { EventLogError, invalidField } from '../../log/errors.ts';
import { type AwsAdapterOptions, toEventLogError, withRetries } from '../aws-errors.ts';
import type {
  ByteRange,
  ConcatResult,
  ListOptions,
  ObjectPage,
  ObjectSource,
  ObjectStore,
  SignedUrl,
} from '../ports.ts';
import {
  checkByteRange,
  checkList,
  checkObjectKey,
  checkPresignedRange,
  checkSources,
  missingSource,
} from '../rules/object-checks.ts';
import { bytesOf, PART_BYTES_MIN, planParts } from './concat-parts.ts';
import { MultipartUpload } from './multipart-upload.ts';

export interface S3ObjectStoreOptions extends AwsAdapterOptions {
  /** A client with `maxAttempts: 1` and a request timeout: this adapter retries itself. */
  readonly client: S3Client;
  readonly bucketName: string;
}

/** Signature Version 4 allows a week. */
const EXPIRES_S_MAX = 7 * 24 * 3_600;
/** S3's limit for one upload. */
const PARTS_MAX = 10_000;

/** Objects in an S3 bucket. A URL is valid for at most a week, and no longer than the credentials are. */
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

  async delete(key: string): Promise<void> {
    checkObjectKey(key);
    const command = { Bucket: this.#options.bucketName, Key: key };
    await this.#retrying('DeleteObject', () => this.#options.client.send(new DeleteObjectCommand(command)));
  }

  async list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    checkList(prefix, options);
    const { after, limit } = options;
    return this.#retrying('ListObjectsV2', async () => {
      const answer = await this.#options.client.send(
        new ListObjectsV2Command({
          Bucket: this.#options.bucketName,
          Prefix: prefix,
          MaxKeys: limit,
          ...(after === undefined ? {} : { StartAfter: after }),
        }),
      );
      const keys = (answer.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key]));
      const more = answer.IsTruncated === true;
      // A caller could not go on after such a page, and must not take it for the last.
      if (more && keys.length === 0)
        throw new EventLogError('storage_unavailable', 'ListObjectsV2 sent an empty page.');
      return { keys, more };
    });
  }

  async concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult> {
    checkObjectKey(key);
    checkSources(sources);
    const endBytes = end.reduce((total, chunk) => total + chunk.length, 0);
    const bytes = sources.reduce((total, source) => total + bytesOf(source), endBytes);
    if (bytes < PART_BYTES_MIN || sources.length === 0) {
      const result = await this.put(key, [...(await this.#readSources(sources)), ...end]);
      return { result, puts: 1, gets: sources.length, bytesRead: bytes - endBytes, bytesWritten: bytes };
    }
    const parts = planParts(sources, endBytes);
    if (parts.length > PARTS_MAX) {
      throw invalidField('sources', `${parts.length} parts are more than the ${PARTS_MAX} that S3 allows.`);
    }
    const { client, bucketName } = this.#options;
    const retrying = <T>(request: string, run: () => Promise<T>): Promise<T> => this.#retrying(request, run);
    const upload = await notYetApplied(MultipartUpload.begin({ client, bucketName, key, retrying }));
    const counts = { puts: 2 + parts.length, gets: 0, bytesRead: 0, bytesWritten: 0 };
    let result: 'created' | 'exists' | undefined;
    try {
      for (const part of parts) {
        if (part.do === 'copy') {
          const { key: sourceKey, range } = part.source;
          const isThere = async (): Promise<boolean> => {
            const last = await this.get(sourceKey, { start: range.end - 1, end: range.end });
            return last?.length === 1;
          };
          await notYetApplied(upload.copy(part.source, isThere));
          continue;
        }
        const read = await notYetApplied(this.#readSources(part.sources));
        const body = concatBytes(part.isEnd ? [...read, ...end] : read);
        await notYetApplied(upload.upload(body));
        counts.gets += read.length;
        counts.bytesRead += part.isEnd ? body.length - endBytes : body.length;
        counts.bytesWritten += body.length;
      }
      result = await upload.complete(async () => (await this.get(key, { start: 0, end: 1 })) !== undefined);
    } finally {
      // If it is not known whether the upload was completed, this settles it: what is aborted first can't be completed.
      if (result !== 'created') await upload.abort();
    }
    return { result, ...counts };
  }

  /** @throws EventLogError `corrupt_data` if one does not exist or ends too early. */
  #readSources(sources: readonly ObjectSource[]): Promise<Uint8Array[]> {
    return Promise.all(
      sources.map(async (source) => {
        const bytes = await this.get(source.key, source.range);
        if (bytes === undefined || bytes.length < bytesOf(source)) throw missingSource(source);
        return bytes;
      }),
    );
  }

  #retrying<T>(request: string, run: () => Promise<T>): Promise<T> {
    return withRetries(this.#options, `${request} of bucket '${this.#options.bucketName}'`, run);
  }
}

/** Nothing of an upload is visible before it is completed, whatever became of its parts. */
async function notYetApplied<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (!(error instanceof EventLogError) || error.outcome === 'not_applied') throw error;
    const { code, message, details, retry } = error;
    throw new EventLogError(code, message, { cause: error, details, retry, outcome: 'not_applied' });
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
