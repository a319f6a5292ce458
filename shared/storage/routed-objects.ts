import { invalidField } from '../log/errors.ts';
import type {
  ByteRange,
  ConcatResult,
  ListOptions,
  ObjectPage,
  ObjectSource,
  ObjectStore,
  SignedUrl,
} from './ports.ts';
import { checkList, checkObjectKey } from './rules/object-checks.ts';

export interface RoutedObjectsOptions {
  /** The beginning of the keys of the objects in `routed`. */
  readonly prefix: string;
  readonly routed: ObjectStore;
  /** All other objects. */
  readonly others: ObjectStore;
}

/**
 * One object store over two: keys that begin with `prefix` are in one of them, all other keys in the other. An object never
 * moves from one store to the other.
 *
 * Each call costs what it costs in its store. A `list` whose prefix does not say which store it means lists both. `concat`
 * makes an object of objects of the same store, and rejects others with `invalid_request`: no store can copy from another.
 */
export class RoutedObjectStore implements ObjectStore {
  readonly #prefix: string;
  readonly #routed: ObjectStore;
  readonly #others: ObjectStore;

  constructor({ prefix, routed, others }: RoutedObjectsOptions) {
    this.#prefix = prefix;
    this.#routed = routed;
    this.#others = others;
  }

  async put(key: string, chunks: readonly Uint8Array[]): Promise<'created' | 'exists'> {
    return this.#storeOf(key).put(key, chunks);
  }

  async get(key: string, range: ByteRange): Promise<Uint8Array | undefined> {
    return this.#storeOf(key).get(key, range);
  }

  async presign(key: string, range: ByteRange, expiresAtMs: number): Promise<SignedUrl> {
    return this.#storeOf(key).presign(key, range, expiresAtMs);
  }

  async delete(key: string): Promise<void> {
    return this.#storeOf(key).delete(key);
  }

  async list(prefix: string, options: ListOptions): Promise<ObjectPage> {
    checkList(prefix, options);
    if (prefix.startsWith(this.#prefix)) return this.#routed.list(prefix, options);
    if (!this.#prefix.startsWith(prefix)) return this.#others.list(prefix, options);
    const [routed, others] = await Promise.all([
      this.#routed.list(this.#prefix, options),
      this.#others.list(prefix, options),
    ]);
    return mergePages([routed, others], options.limit);
  }

  async concat(key: string, sources: readonly ObjectSource[], end: readonly Uint8Array[]): Promise<ConcatResult> {
    checkObjectKey(key);
    const store = this.#storeOf(key);
    for (const source of sources) {
      if (this.#storeOf(source.key) === store) continue;
      throw invalidField(
        'sources',
        `${source.key} and ${key} are in different buckets, and no object can be made across buckets. Read the source, and put what it holds.`,
      );
    }
    return store.concat(key, sources, end);
  }

  #storeOf(key: string): ObjectStore {
    return key.startsWith(this.#prefix) ? this.#routed : this.#others;
  }
}

/** The first `limit` keys of two lists, up to where both of them are complete. */
function mergePages(pages: readonly [ObjectPage, ObjectPage], limit: number): ObjectPage {
  // Keys consist of ASCII, so the order of UTF-16 is that of UTF-8.
  const keys = pages.flatMap((page) => page.keys).sort();
  const ends = pages.flatMap(({ keys: listed, more }) => (more ? [listed.at(-1) as string] : [])).sort();
  const known = ends[0] === undefined ? keys : keys.slice(0, keys.indexOf(ends[0]) + 1);
  return { keys: known.slice(0, limit), more: ends[0] !== undefined || known.length > limit };
}
