import { parseSettings } from '../../shared/settings.ts';
import { composeBroker } from '../compose.ts';
import { composeHttp } from '../compose-http.ts';
import { lambdaHandlers } from '../lambda-edge.ts';

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
