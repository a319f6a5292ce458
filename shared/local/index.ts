export { Broker } from '../broker/broker.ts';
export { EventLogError } from '../log/errors.ts';
export { startTailrace, type Tailrace, type TailraceOptions } from './start.ts';
