import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import { lambdaHandlers } from '../lambda/edge.ts';
import { composeHttp } from '../lambda/http.ts';

/**
 * The operations that append, and those that describe the server, at an address of their own. Its role can't read records,
 * and its environments are its own, so that readers who wait never keep producers from being served.
 */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);
const handlers = lambdaHandlers({
  fetch: composeHttp(broker, settings, ['append', 'service']),
  idle: () => broker.idle(),
  streaming: globalThis.awslambda,
});

export const handler = handlers.handler;
export const streamHandler = handlers.streamHandler;
