import { concatBytes } from '../../log/bytes.ts';
import { EventLogError } from '../../log/errors.ts';
import type { UrlSigner } from '../file/url-signer.ts';
import { checkByteRange, checkObjectKey, checkPresignedRange } from '../object-checks.ts';
import type { ByteRange, ObjectStore, SignedUrl } from '../ports.ts';

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
}
