import type { Settings } from '../../shared/aws/environment.ts';
import type { Broker } from '../../shared/broker/broker.ts';
import { createHttpApp } from '../../shared/http/app.ts';
import type { Tag } from '../../shared/http/operation.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { VERSION } from '../../shared/version.ts';
import { composeAccess } from './access.ts';
import { logLine } from './log-line.ts';

/**
 * The HTTP API over a broker. The Function URL's IAM authorization decides who may call it, unless the settings name
 * other means of authentication.
 */
export function composeHttp(
  broker: Broker,
  settings: Settings,
  tags?: readonly Tag[],
): (request: Request) => Response | Promise<Response> {
  const { allowedOrigins } = settings;
  const app = createHttpApp({
    broker,
    clock: systemClock,
    random: systemRandom,
    access: composeAccess(settings),
    tags,
    settings: {
      // The construct configures the same origins on the Function URL and on API Gateway.
      corsInFront: true,
      ...(allowedOrigins === undefined ? {} : { allowedOrigins }),
      version: VERSION,
    },
    onError: (error, requestId) => {
      const why = error instanceof Error ? (error.stack ?? error.message) : String(error);
      logLine('ERROR', 'Unexpected error.', { requestId, why });
    },
  });
  return (request) => app.fetch(request);
}
