import type { ListObjectsV2CommandInput } from '@aws-sdk/client-s3';
import { S3Bucket } from './s3-bucket.ts';
import { awsError, type SentCommand } from './stub-client.ts';

/** A real page has up to 1,000 names. Smaller pages show what a reader of pages misses. */
const NAMES_PER_PAGE = 7;

/**
 * A directory bucket in memory (S3 Express One Zone): an `S3Bucket` that lists as a directory bucket does, by AWS's
 * documents. It lists in no order, and not from a key on. A prefix ends with the delimiter, which is `/`. The folders of
 * uploads that are not complete are listed too. Every request but CreateSession needs a session, which the SDK makes.
 */
export class DirectoryBucket {
  readonly sent: SentCommand[] = [];
  readonly #bucket = new S3Bucket();
  /** The keys of uploads that are not complete, by their ids. */
  readonly #uploads = new Map<string, string>();

  readonly answer = async (sent: SentCommand): Promise<object> => {
    this.sent.push(sent);
    if (sent.command === 'ListObjectsV2Command') return this.#list(sent.input as unknown as ListObjectsV2CommandInput);
    if (sent.command === 'CreateSessionCommand') {
      const Expiration = new Date(Date.now() + 300_000);
      return { Credentials: { AccessKeyId: 'c', SecretAccessKey: 'd', SessionToken: 'session', Expiration } };
    }
    const answer = await this.#bucket.answer(sent);
    if ('UploadId' in answer) this.#uploads.set(String(answer.UploadId), String(sent.input.Key));
    if (/^(Complete|Abort)MultipartUpload/.test(sent.command)) this.#uploads.delete(String(sent.input.UploadId));
    return answer;
  };

  async #list(input: ListObjectsV2CommandInput): Promise<object> {
    const { Prefix = '', StartAfter, Delimiter, ContinuationToken = '', MaxKeys = 1_000 } = input;
    if (StartAfter !== undefined) throw awsError('InvalidRequest');
    if (Prefix !== '' && !Prefix.endsWith('/')) throw awsError('InvalidRequest');
    if (Delimiter !== '/') throw awsError('InvalidRequest');
    const all = (await this.#bucket.answer({
      command: 'ListObjectsV2Command',
      input: { Prefix, MaxKeys: Number.MAX_SAFE_INTEGER },
    })) as { readonly Contents: readonly { readonly Key: string }[] };
    const names = new Set(all.Contents.map(({ Key }) => nameIn(Prefix, Key)));
    for (const key of this.#uploads.values()) {
      const name = nameIn(Prefix, key);
      if (key.startsWith(Prefix) && name.endsWith('/')) names.add(name);
    }
    const rest = [...names].map((name) => `${disorder(name)} ${name}`).filter((entry) => entry > ContinuationToken);
    const page = rest.sort().slice(0, Math.min(MaxKeys, NAMES_PER_PAGE));
    const listed = page.map((entry) => entry.slice(entry.indexOf(' ') + 1));
    return {
      Contents: listed.filter((name) => !name.endsWith('/')).map((Key) => ({ Key })),
      CommonPrefixes: listed.filter((name) => name.endsWith('/')).map((each) => ({ Prefix: each })),
      IsTruncated: rest.length > page.length,
      ...(rest.length > page.length ? { NextContinuationToken: page.at(-1) } : {}),
    };
  }
}

/** The key, or the folder directly below the prefix that holds it. */
function nameIn(prefix: string, key: string): string {
  const end = key.indexOf('/', prefix.length);
  return end === -1 ? key : key.slice(0, end + 1);
}

/** Eight hex digits: an order that has nothing to do with that of the names. */
function disorder(name: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, '0');
}
