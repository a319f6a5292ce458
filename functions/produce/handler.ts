import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import { lambdaHandlers } from '../lambda/edge.ts';
import { composeHttp } from '../lambda/http.ts';

/**
 * Serves the operations that append, and those that describe the server, at a separate address. The function's role cannot
 * read records. Its environments are separate, so that waiting readers never keep producers from being served.
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
