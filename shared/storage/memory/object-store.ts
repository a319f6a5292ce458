import { concatBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import type { UrlSigner } from '../file/url-signer.ts';
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
import { compareUtf8 } from '../utf8.ts';

/**
 * An `ObjectStore` in this process's memory, for tests and short-lived logs. Nothing of it is durable.
 *
 * Each operation takes effect when it is called and is answered on a later microtask. Bytes are copied in and out, so
 * nothing a caller does to its buffers reaches a stored object.
 */
export class MemoryObjectStore implements ObjectStore {
  readonly #objects = new Map<string, Uint8Array>();
  readonly #signer: UrlSigner | undefined;

  /** Without a `signer` nothing can be presigned. */
  constructor(options: { readonly signer?: UrlSigner } = {}) {
    this.#signer = options.signer;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    checkObjectKey(key);
    if (this.#objects.has(key)) return 'exists';
    this.#objects.set(key, concatBytes(chunks));
    return 'created';
  }

  async get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    checkObjectKey(key);
    checkByteRange(range);
    return this.#objects.get(key)?.slice(range.start, range.end);
  }

  async presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    checkObjectKey(key);
    checkPresignedRange(range);
    if (this.#signer === undefined) {
      throw new EventLogError('internal', 'This object store was made without a signer.', { outcome: 'not_applied' });
    }
    return this.#signer.sign(key, range, expiresAtMs);
  }

  async delete(key: string): Promise<void> {
    checkObjectKey(key);
    this.#objects.delete(key);
  }

  async list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    checkList(prefix, options);
    const { after = '', limit } = options;
    const keys = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix) && compareUtf8(key, after) > 0)
      .sort(compareUtf8);
    return { keys: keys.slice(0, limit), more: keys.length > limit };
  }

  async concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult> {
    checkObjectKey(key);
    checkSources(sources);
    const chunks = sources.map((source) => {
      const object = this.#objects.get(source.key);
      if (object === undefined || object.length < source.range.end) throw missingSource(source);
      return object.subarray(source.range.start, source.range.end);
    });
    const content = concatBytes([...chunks, ...end]);
    const bytesRead = chunks.reduce((total, chunk) => total + chunk.length, 0);
    const isFree = !this.#objects.has(key);
    if (isFree) this.#objects.set(key, content);
    const result = isFree ? 'created' : 'exists';
    return { result, puts: 1, gets: chunks.length, bytesRead, bytesWritten: content.length };
  }
}
