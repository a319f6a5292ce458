import { parseSettings } from '../../shared/settings.ts';
import { composeBroker } from '../compose.ts';
import { composeHttp } from '../compose-http.ts';
import { lambdaHandlers } from '../lambda-edge.ts';
import { only } from '../only.ts';

/**
 * The operations that append, and nothing else, at an address of their own: its role can't read records, and its
 * environments are its own, so that readers who wait never keep producers from being served.
 */
const settings = parseSettings(process.env);
const broker = composeBroker(settings);
const handlers = lambdaHandlers({
  fetch: only('append', composeHttp(broker, settings)),
  idle: () => broker.idle(),
  streaming: globalThis.awslambda,
});

export const handler = handlers.handler;
export const streamHandler = handlers.streamHandler;
