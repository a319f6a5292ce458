import {
  type CompleteMultipartUploadCommandInput,
  type DeleteObjectCommandInput,
  type GetObjectCommandInput,
  type ListObjectsV2CommandInput,
  NoSuchKey,
  type PutObjectCommandInput,
  type UploadPartCommandInput,
  type UploadPartCopyCommandInput,
} from '@aws-sdk/client-s3';
import { awsError, type SentCommand } from './stub-client.ts';

const PART_BYTES_MIN = 5 * 1024 * 1024;

interface Part {
  readonly etag: string;
  readonly bytes: Uint8Array;
}

/**
 * An S3 bucket in memory that is as strict as S3: a put replaces an object unless `If-None-Match` forbids it, a malformed
 * range is ignored, and no part of an upload but the last may be small.
 */
export class S3Bucket {
  readonly sent: SentCommand[] = [];
  /** Uploads that were neither completed nor aborted. */
  readonly uploads = new Map<string, Map<number, Part>>();
  readonly #objects = new Map<string, Uint8Array>();
  #names = 0;

  readonly answer = async (sent: SentCommand): Promise<object> => {
    this.sent.push(sent);
    const input: unknown = sent.input;
    switch (sent.command) {
      case 'PutObjectCommand':
        return this.#put(input as PutObjectCommandInput);
      case 'GetObjectCommand':
        return this.#get(input as GetObjectCommandInput);
      case 'DeleteObjectCommand':
        this.#objects.delete((input as DeleteObjectCommandInput).Key ?? '');
        return {};
      case 'ListObjectsV2Command':
        return this.#list(input as ListObjectsV2CommandInput);
      case 'CreateMultipartUploadCommand': {
        const UploadId = `upload-${this.#names++}`;
        this.uploads.set(UploadId, new Map());
        return { UploadId };
      }
      case 'UploadPartCommand': {
        const { Body, ContentLength, ...part } = input as UploadPartCommandInput;
        const bytes = Body as Uint8Array;
        if (ContentLength !== bytes.length) throw awsError('IncompleteBody');
        return this.#addPart(part, bytes);
      }
      case 'UploadPartCopyCommand': {
        const copy = input as UploadPartCopyCommandInput;
        return { CopyPartResult: this.#addPart(copy, this.#source(copy)) };
      }
      case 'CompleteMultipartUploadCommand':
        return this.#complete(input as CompleteMultipartUploadCommandInput);
      case 'AbortMultipartUploadCommand':
        if (!this.uploads.delete(String(sent.input.UploadId))) throw awsError('NoSuchUpload');
        return {};
      default:
        throw awsError('NotImplemented');
    }
  };

  #put({ Key = '', Body, ContentLength, IfNoneMatch }: PutObjectCommandInput): object {
    if (IfNoneMatch === '*' && this.#objects.has(Key)) throw awsError('PreconditionFailed');
    const bytes = Body as Uint8Array;
    if (ContentLength !== bytes.length) throw awsError('IncompleteBody');
    this.#objects.set(Key, new Uint8Array(bytes));
    return {};
  }

  #get({ Key = '', Range }: GetObjectCommandInput): object {
    const object = this.#object(Key);
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(Range ?? '') ?? [];
    if (first === undefined || Number(last) < Number(first)) return answerWith(object);
    if (Number(first) >= object.length) throw awsError('InvalidRange');
    const bytes = object.slice(Number(first), Number(last) + 1);
    const lastHere = Number(first) + bytes.length - 1;
    return { ...answerWith(bytes), ContentRange: `bytes ${first}-${lastHere}/${object.length}` };
  }

  #list({ Prefix = '', StartAfter = '', MaxKeys = 1_000 }: ListObjectsV2CommandInput): object {
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(Prefix) && key > StartAfter).sort();
    return { Contents: keys.slice(0, MaxKeys).map((Key) => ({ Key })), IsTruncated: keys.length > MaxKeys };
  }

  #source({ CopySource = '', CopySourceRange = '' }: UploadPartCopyCommandInput): Uint8Array {
    const object = this.#object(CopySource.slice(CopySource.indexOf('/') + 1));
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(CopySourceRange) ?? [];
    if (Number(last) >= object.length || object.length <= PART_BYTES_MIN) throw awsError('InvalidArgument');
    return object.slice(Number(first), Number(last) + 1);
  }

  #addPart(
    { UploadId, PartNumber }: Pick<UploadPartCommandInput, 'UploadId' | 'PartNumber'>,
    bytes: Uint8Array,
  ): object {
    const etag = `"part-${this.#names++}"`;
    this.#upload(UploadId).set(Number(PartNumber), { etag, bytes: new Uint8Array(bytes) });
    return { ETag: etag };
  }

  #complete({ Key = '', UploadId, MultipartUpload, IfNoneMatch }: CompleteMultipartUploadCommandInput): object {
    const upload = this.#upload(UploadId);
    if (IfNoneMatch === '*' && this.#objects.has(Key)) throw awsError('PreconditionFailed');
    const parts = (MultipartUpload?.Parts ?? []).map(({ PartNumber, ETag }) => {
      const part = upload.get(Number(PartNumber));
      if (part === undefined || part.etag !== ETag) throw awsError('InvalidPart');
      return part.bytes;
    });
    if (parts.slice(0, -1).some((bytes) => bytes.length < PART_BYTES_MIN)) throw awsError('EntityTooSmall');
    this.#objects.set(Key, new Uint8Array(Buffer.concat(parts)));
    this.uploads.delete(String(UploadId));
    return {};
  }

  #object(key: string): Uint8Array {
    const object = this.#objects.get(key);
    if (object === undefined) throw new NoSuchKey({ message: 'The key does not exist.', $metadata: {} });
    return object;
  }

  #upload(id: string | undefined): Map<number, Part> {
    const upload = this.uploads.get(String(id));
    if (upload === undefined) throw awsError('NoSuchUpload');
    return upload;
  }
}

function answerWith(bytes: Uint8Array): object {
  return { ContentLength: bytes.length, Body: { transformToByteArray: async () => new Uint8Array(bytes) } };
}
