import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
} from '@aws-sdk/client-s3';
import { EventLogError } from '../../log/errors.ts';
import type { ObjectSource } from '../ports.ts';
import { missingSource } from '../rules/object-checks.ts';

export interface UploadOptions {
  readonly client: S3Client;
  readonly bucketName: string;
  readonly key: string;
  /** Runs one request under its name until it succeeds or fails for good. */
  readonly retrying: <T>(request: string, run: () => Promise<T>) => Promise<T>;
}

/**
 * One multipart upload. Nothing is visible before `complete`. Whoever gives it up calls `abort`; what is never aborted is
 * removed by the bucket's lifecycle rule.
 */
export class MultipartUpload {
  readonly #options: UploadOptions;
  readonly #uploadId: string;
  readonly #parts: CompletedPart[] = [];

  static async begin(options: UploadOptions): Promise<MultipartUpload> {
    const { client, bucketName, key, retrying } = options;
    const { UploadId } = await retrying('CreateMultipartUpload', () =>
      client.send(new CreateMultipartUploadCommand({ Bucket: bucketName, Key: key, ChecksumAlgorithm: 'CRC32' })),
    );
    if (UploadId === undefined) throw noAnswer('CreateMultipartUpload');
    return new MultipartUpload(options, UploadId);
  }

  private constructor(options: UploadOptions, uploadId: string) {
    this.#options = options;
    this.#uploadId = uploadId;
  }

  async upload(body: Uint8Array): Promise<void> {
    const PartNumber = this.#parts.length + 1;
    await this.#add('UploadPart', async () => {
      const input = { ...this.#target(), PartNumber, Body: body, ContentLength: body.length };
      return this.#options.client.send(new UploadPartCommand({ ...input, ChecksumAlgorithm: 'CRC32' }));
    });
  }

  /**
   * Has S3 copy the bytes of the source. `isThere` tells whether they exist: S3 has several words for where they don't.
   * @throws EventLogError `corrupt_data` if the source does not exist or ends too early.
   */
  async copy(source: ObjectSource, isThere: () => Promise<boolean>): Promise<void> {
    const { client, bucketName } = this.#options;
    const PartNumber = this.#parts.length + 1;
    await this.#add('UploadPartCopy', async () => {
      try {
        const answer = await client.send(
          new UploadPartCopyCommand({
            ...this.#target(),
            PartNumber,
            CopySource: `${bucketName}/${source.key}`,
            CopySourceRange: `bytes=${source.range.start}-${source.range.end - 1}`,
          }),
        );
        return answer.CopyPartResult;
      } catch (error) {
        const isRefused = error instanceof Error && SOURCE_ERRORS.has(error.name);
        if (isRefused && !(await isThere())) throw missingSource(source);
        throw error;
      }
    });
  }

  /** Makes the object visible if its key is free. `isThere` tells whether an object has the key. */
  complete(isThere: () => Promise<boolean>): Promise<'created' | 'exists'> {
    return this.#options.retrying('CompleteMultipartUpload', async () => {
      try {
        await this.#options.client.send(
          new CompleteMultipartUploadCommand({
            ...this.#target(),
            MultipartUpload: { Parts: this.#parts },
            IfNoneMatch: '*',
          }),
        );
        return 'created';
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        if (error.name === 'PreconditionFailed') return 'exists';
        // An earlier try may have completed the upload and its answer was lost, as with a put.
        if (error.name === 'NoSuchUpload' && (await isThere())) return 'exists';
        throw error;
      }
    });
  }

  /** Tries once. */
  async abort(): Promise<void> {
    await this.#options.client.send(new AbortMultipartUploadCommand(this.#target())).catch(() => undefined);
  }

  #target() {
    return { Bucket: this.#options.bucketName, Key: this.#options.key, UploadId: this.#uploadId };
  }

  async #add(request: string, send: () => Promise<SentPart | undefined>): Promise<void> {
    const part = await this.#options.retrying(request, async () => {
      const answer = await send();
      if (answer?.ETag === undefined) throw noAnswer(request);
      return answer;
    });
    this.#parts.push({
      PartNumber: this.#parts.length + 1,
      ETag: part.ETag,
      // S3 demands the checksum of a part where it has computed one.
      ...(part.ChecksumCRC32 === undefined ? {} : { ChecksumCRC32: part.ChecksumCRC32 }),
    });
  }
}

interface SentPart {
  readonly ETag?: string | undefined;
  readonly ChecksumCRC32?: string | undefined;
}

/** How S3 and its emulators refuse a source that is missing or too short, but also other requests. */
const SOURCE_ERRORS: ReadonlySet<string> = new Set(['NoSuchKey', 'InvalidRange', 'InvalidArgument', 'InvalidRequest']);

function noAnswer(request: string): EventLogError {
  return new EventLogError('storage_unavailable', `${request} was answered without what it is for.`);
}
