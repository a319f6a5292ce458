import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import { lambdaHandlers } from '../lambda/edge.ts';
import { composeHttp } from '../lambda/http.ts';

/** The whole HTTP API. */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);
const handlers = lambdaHandlers({
  fetch: composeHttp(broker, settings),
  idle: () => broker.idle(),
  streaming: globalThis.awslambda,
});

export const handler = handlers.handler;
export const streamHandler = handlers.streamHandler;
