import { parseSettings } from '../../shared/aws/environment.ts';
import { parseGatewayEnvironment } from '../../shared/aws/gateway-environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';
import { weighBuffersWithHeap } from '../../shared/local/weigh-buffers.ts';
import { systemClock } from '../../shared/storage/system/clock.ts';
import { systemRandom } from '../../shared/storage/system/random.ts';
import { composeJwt } from '../lambda/access.ts';
import { logLine } from '../lambda/log-line.ts';
import { startGateway } from './start-gateway.ts';
import { stopOnSignals } from './stop-on-signals.ts';

/**
 * The Kafka gateway: the entry point of a container, because Kafka's clients hold TCP connections. The process ends with the
 * code 0 when a signal has stopped it and every request was answered, and with 1 otherwise.
 */
async function main() {
  const settings = parseSettings(process.env);
  const environment = parseGatewayEnvironment(process.env, settings);
  return startGateway({
    broker: composeBroker(settings, { lingerMs: environment.lingerMs }),
    environment,
    tableName: settings.tableName,
    jwt: composeJwt(settings),
    metadataUrl: process.env.ECS_CONTAINER_METADATA_URI_V4,
    clock: systemClock,
    random: systemRandom,
    log: logLine,
  });
}

weighBuffersWithHeap();
stopOnSignals(main(), logLine);
