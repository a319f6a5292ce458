import type { Broker } from '../broker/broker.ts';
import type { Settings } from './environment.ts';
import { SDK_PACKAGES } from './sdk-packages.ts';

/** The package's main entry: the log in a function or service of one's own, straight on S3 and DynamoDB, without HTTP. */
export type {
  AppendOutcome,
  AppendRecordsRequest,
  AppendRequest,
  RecordOutcome,
  RecordToAppend,
} from '../broker/append/outcomes.ts';
export type { Broker } from '../broker/broker.ts';
export type { ReadRequest, ReadResult } from '../broker/read/read.ts';
export type { StoredRecord } from '../log/batch/record.ts';
export { recordsOf, type StoredBatch } from '../log/batch/stored-batch.ts';
export { EventLogError } from '../log/errors.ts';
export { parseSettings, type Settings } from './environment.ts';

/**
 * Opens the log on S3 and DynamoDB, once per process. Makes no request to them: Region and credentials are those of the
 * environment, and the first operation opens the first connection. Needs the AWS SDK for JavaScript, which is an optional
 * peer dependency of this package; a bundler must find it too.
 * @throws Error if the AWS SDK is not installed, with the command that installs it
 */
export async function openEventLog(settings: Settings): Promise<Broker> {
  const { composeBroker } = await import('./open.ts').catch((error: unknown) => {
    throw missingSdk(error) ?? error;
  });
  return composeBroker(settings);
}

/** Node links imports before it runs anything, so that only an importer can say what a missing package means. */
function missingSdk(cause: unknown): Error | undefined {
  if (!(cause instanceof Error)) return undefined;
  const name = SDK_PACKAGES.find((each) => cause.message.includes(`'${each}'`));
  if (name === undefined || !('code' in cause) || cause.code !== 'ERR_MODULE_NOT_FOUND') return undefined;
  return new Error(
    `openEventLog needs the AWS SDK, and '${name}' is not installed. Run: npm install ${SDK_PACKAGES.join(' ')}`,
    { cause },
  );
}
