/**
 * What `shared/client` may import besides the root of the log. It runs in browsers: nothing of Node, and of the HTTP API only
 * types. `test/unit/client/browser.test.ts` looks into the bundle.
 */
export const CLIENT_IMPORTS: readonly string[] = [
  'shared/client/',
  'shared/log/batch/codecs.ts',
  'shared/log/batch/record.ts',
  'shared/log/batch/write-batch.ts',
  'shared/log/head/producer.ts',
  'shared/log/topic/partitioner.ts',
  'shared/storage/ports.ts',
  'shared/storage/system/clock.ts',
  'shared/storage/system/web-random.ts',
  'shared/http/contract.ts',
  'shared/http/append/contract.ts',
  'shared/http/groups/contract.ts',
  'shared/http/read/contract.ts',
  'shared/http/topics/contract.ts',
  'shared/http/transactions/contract.ts',
];
