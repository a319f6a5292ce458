import { PARTITIONS_PER_HEAD_DEFAULT } from '../../../../shared/log/limits.ts';
import type { World } from '../../world/world.ts';
import type { TransactionBook } from './transaction-book.ts';

export interface TopicPlace {
  readonly topic: string;
  readonly partition: number;
}

/** Topics that stay, of three heads together. */
export const STAYING = [
  { name: 'a', partitions: PARTITIONS_PER_HEAD_DEFAULT + 1 },
  { name: 'b', partitions: 1 },
] as const;
/** One that is deleted, and made again. */
export const PASSING = 'c';
export const MAKE_PASSING = { name: PASSING, partitions: 1, config: { 'retention.ms': -1 } } as const;

export const PLACES: readonly TopicPlace[] = [
  { topic: 'a', partition: 0 },
  { topic: 'a', partition: 0 },
  { topic: 'a', partition: 1 },
  { topic: 'a', partition: PARTITIONS_PER_HEAD_DEFAULT },
  { topic: 'b', partition: 0 },
];

const BOOKS = new WeakMap<World, TransactionBook>();

export function keepBook(world: World, book: TransactionBook): void {
  BOOKS.set(world, book);
}

export function bookOf(world: World): TransactionBook {
  const book = BOOKS.get(world);
  if (book === undefined) throw new Error('This is no run of transactions.');
  return book;
}
