import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import { lambdaHandlers } from '../lambda/edge.ts';
import { composeHttp } from '../lambda/http.ts';
import { only } from '../lambda/only.ts';

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
