import { type GetObjectCommandInput, NoSuchKey, type PutObjectCommandInput } from '@aws-sdk/client-s3';
import { awsError, type SentCommand } from './stub-client.ts';

/**
 * An S3 bucket in memory that is as strict as S3: a put replaces an object unless `If-None-Match` forbids it, and a
 * malformed range is ignored.
 */
export class S3Bucket {
  readonly sent: SentCommand[] = [];
  readonly #objects = new Map<string, Uint8Array>();

  readonly answer = async (sent: SentCommand): Promise<object> => {
    this.sent.push(sent);
    switch (sent.command) {
      case 'PutObjectCommand':
        return this.#put(sent.input as unknown as PutObjectCommandInput);
      case 'GetObjectCommand':
        return this.#get(sent.input as unknown as GetObjectCommandInput);
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
    const object = this.#objects.get(Key);
    if (object === undefined) throw new NoSuchKey({ message: 'The key does not exist.', $metadata: {} });
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(Range ?? '') ?? [];
    if (first === undefined || Number(last) < Number(first)) return answerWith(object);
    if (Number(first) >= object.length) throw awsError('InvalidRange');
    const bytes = object.slice(Number(first), Number(last) + 1);
    const lastHere = Number(first) + bytes.length - 1;
    return { ...answerWith(bytes), ContentRange: `bytes ${first}-${lastHere}/${object.length}` };
  }
}

function answerWith(bytes: Uint8Array): object {
  return { ContentLength: bytes.length, Body: { transformToByteArray: async () => new Uint8Array(bytes) } };
}
