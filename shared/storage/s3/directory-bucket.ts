import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3';
import { EventLogError } from '../../log/errors.ts';
import { type AwsAdapterOptions, withRetries } from '../aws-errors.ts';
import type {
  ByteRange,
  ConcatResult,
  ListOptions,
  ObjectPage,
  ObjectSource,
  ObjectStore,
  SignedUrl,
} from '../ports.ts';
import { checkList } from '../rules/object-checks.ts';
import { S3ObjectStore } from './object-store.ts';

export interface DirectoryBucketOptions extends AwsAdapterOptions {
  /** A client with `maxAttempts: 1` and a request timeout. Its requests use sessions of the bucket (CreateSession). */
  readonly client: S3Client;
  /**
   * A client with `disableS3ExpressSessionAuth`, which signs URLs. A URL that a session has signed would be valid only until
   * the session ends, which is at most five minutes later and can be at once.
   */
  readonly signingClient: S3Client;
  /** `<name>--<zone id>--x-s3`. The SDK knows by the end of the name that this is a directory bucket. */
  readonly bucketName: string;
}

/**
 * Objects in a directory bucket of S3 (S3 Express One Zone), which keeps them in one Availability Zone.
 *
 * It differs from `S3ObjectStore` in `list`. A directory bucket lists in no order, not from a key on, and only whole
 * directories. So `list` reads the directories that can hold the next keys and sorts what it finds: one ListObjectsV2 for
 * each 1,000 objects of these directories, however few keys are asked for. In memory it holds at most 2 `limit` + 1,000
 * names of each directory on the way.
 */
export class DirectoryBucketObjectStore implements ObjectStore {
  readonly #options: DirectoryBucketOptions;
  readonly #bucket: S3ObjectStore;
  readonly #signing: S3ObjectStore;

  constructor(options: DirectoryBucketOptions) {
    this.#options = options;
    this.#bucket = new S3ObjectStore(options);
    this.#signing = new S3ObjectStore({ ...options, client: options.signingClient });
  }

  put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return this.#bucket.put(key, chunks);
  }

  get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    return this.#bucket.get(key, range);
  }

  presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    return this.#signing.presign(key, range, expiresAtMs);
  }

  delete(key: string): Promise<void> {
    return this.#bucket.delete(key);
  }

  concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult> {
    return this.#bucket.concat(key, sources, end);
  }

  async list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    checkList(prefix, options);
    const { after = '', limit } = options;
    // One key more than the limit shows whether there are others.
    const keys = await this.#keysBelow(folderOf(prefix), { prefix, after, count: limit + 1 });
    return { keys: keys.slice(0, limit), more: keys.length > limit };
  }

  /** The first keys below the folder, in order. */
  async #keysBelow(folder: string, wanted: Wanted): Promise<string[]> {
    const keys: string[] = [];
    let last = '';
    // More than once only if folders turn out to be empty: an upload that is not complete shows the folder of its key.
    for (;;) {
      const names = await this.#namesIn(folder, wanted, last);
      for (const name of names) {
        const count = wanted.count - keys.length;
        if (count === 0) return keys;
        if (name.endsWith('/')) keys.push(...(await this.#keysBelow(name, { ...wanted, count })));
        else keys.push(name);
      }
      if (names.length < wanted.count || keys.length === wanted.count) return keys;
      last = names.at(-1) as string;
    }
  }

  /** The first names directly in the folder that come after `last`, in order: keys, and folders with a slash at the end. */
  async #namesIn(folder: string, { prefix, after, count }: Wanted, last: string): Promise<string[]> {
    let names: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.#listPage(folder, token);
      names.push(...page.names.filter((name) => name > last && name.startsWith(prefix) && isAfter(name, after)));
      if (names.length > 2 * count) names = firstOf(names, count);
      token = page.token;
    } while (token !== undefined);
    return firstOf(names, count);
  }

  #listPage(folder: string, startToken: string | undefined): Promise<{ names: string[]; token: string | undefined }> {
    const { client, bucketName } = this.#options;
    return withRetries(this.#options, `ListObjectsV2 of bucket '${bucketName}'`, async () => {
      const answer = await client.send(
        new ListObjectsV2Command({
          Bucket: bucketName,
          Delimiter: '/',
          ...(folder === '' ? {} : { Prefix: folder }),
          ...(startToken === undefined ? {} : { ContinuationToken: startToken }),
        }),
      );
      const keys = (answer.Contents ?? []).flatMap(({ Key }) => (Key === undefined ? [] : [Key]));
      const folders = (answer.CommonPrefixes ?? []).flatMap(({ Prefix }) => (Prefix === undefined ? [] : [Prefix]));
      const token = answer.IsTruncated === true ? answer.NextContinuationToken : undefined;
      // What comes after such a page would be missing from the list.
      if (answer.IsTruncated === true && token === undefined)
        throw new EventLogError('storage_unavailable', 'ListObjectsV2 sent a page without the token of the next.');
      return { names: [...keys, ...folders], token };
    });
  }
}

/** The first `count` keys that begin with `prefix` and come after `after`. */
interface Wanted {
  readonly prefix: string;
  readonly after: string;
  readonly count: number;
}

/** The deepest folder that holds all keys with this prefix. */
function folderOf(prefix: string): string {
  return prefix.slice(0, prefix.lastIndexOf('/') + 1);
}

/** Whether the name is, or the folder can hold, a key that comes after `after`. */
function isAfter(name: string, after: string): boolean {
  return name > after || (name.endsWith('/') && after.startsWith(name));
}

/** Keys consist of ASCII, so the order of UTF-16 is that of UTF-8. */
function firstOf(names: string[], count: number): string[] {
  return names.sort().slice(0, count);
}
