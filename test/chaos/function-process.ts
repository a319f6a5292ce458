import { createAdaptorServer } from '@hono/node-server';
import { composeHttp } from '../../functions/lambda/http.ts';
import { parseSettings } from '../../shared/aws/environment.ts';
import { composeBroker } from '../../shared/aws/open.ts';

/**
 * The HTTP API as a function has it, on S3 and DynamoDB, served by a process of its own, which can be killed between any
 * two requests to them. Prints its URL on the first line, and ends when its standard input does.
 */
const settings = parseSettings(process.env);
const server = createAdaptorServer({ fetch: composeHttp(composeBroker(settings), settings) });
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server has no port.');
  process.stdout.write(`http://127.0.0.1:${address.port}\n`);
});
process.stdin.resume().once('end', () => process.exit());
