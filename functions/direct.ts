/** The package's main entry: the log in a function or service of one's own, straight on S3 and DynamoDB, without HTTP. */
export type { Broker } from '../shared/broker/broker.ts';
export { EventLogError } from '../shared/log/errors.ts';
export { parseSettings, type Settings } from '../shared/settings.ts';
export { composeBroker as openEventLog } from './compose.ts';
