/** The package's main entry: the log in a function or service of one's own, straight on S3 and DynamoDB, without HTTP. */
export type { Broker } from '../broker/broker.ts';
export { EventLogError } from '../log/errors.ts';
export { parseSettings, type Settings } from './environment.ts';
export { composeBroker as openEventLog } from './open.ts';
